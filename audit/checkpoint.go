package audit

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/fault"
)

// Checkpoint says with a signature which hash the chain had after a record.
type Checkpoint struct {
	// Number counts checkpoints from 1, without a gap.
	Number uint64 `json:"number"`
	// Segment is the ID of the one that the record belongs to.
	Segment string `json:"segment"`
	Seq     uint64 `json:"seq"`
	Hash    Hash   `json:"hash"`
	// At is when it was signed, by the clock of the worker.
	At time.Time `json:"at"`
	// Key and Version name the key in Vault Transit.
	Key     string `json:"key"`
	Version int    `json:"version"`
	// Signature is over Statement.
	Signature []byte `json:"signature"`
}

// Statement is what is signed: lines that a person can read.
func (c Checkpoint) Statement() []byte {
	return fmt.Appendf(nil, "keyorch audit checkpoint v1\nnumber: %d\nsegment: %q\nrecord: %d\nhash: %s\nat: %s\nkey: %q\n",
		c.Number, c.Segment, c.Seq, c.Hash, c.At.UTC().Format(time.RFC3339Nano), c.Key)
}

// Keys are public keys that checkpoints may be signed with, by their version in Vault.
type Keys map[int]ed25519.PublicKey

// Check reports with Mismatch why c is not signed with the key of its version.
func (k Keys) Check(c Checkpoint) error {
	key, ok := k[c.Version]
	switch {
	case !ok:
		return fault.New(fault.Mismatch, "checkpoint %d (record %d): it is signed with version %d of the key, which is not among those given", c.Number, c.Seq, c.Version)
	case !ed25519.Verify(key, c.Statement(), c.Signature):
		return fault.New(fault.Mismatch, "checkpoint %d (record %d): the signature is not that of version %d of the key", c.Number, c.Seq, c.Version)
	}
	return nil
}

// versionHeader is the header of a PEM block that says which version a key is.
const versionHeader = "Version"

// PEM writes the keys, each with its version.
func (k Keys) PEM() ([]byte, error) {
	var out []byte
	for _, version := range slices.Sorted(maps.Keys(k)) {
		der, err := x509.MarshalPKIXPublicKey(k[version])
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "audit: write version %d of the public key", version)
		}
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Headers: map[string]string{versionHeader: fmt.Sprint(version)}, Bytes: der})...)
	}
	return out, nil
}

// ParseKeys reads what PEM wrote. A key without a version is version 1. Faults: Invalid.
func ParseKeys(data []byte) (Keys, error) {
	keys := Keys{}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		key, ok := parsed.(ed25519.PublicKey)
		if block.Type != "PUBLIC KEY" || err != nil || !ok {
			return nil, fault.New(fault.Invalid, "audit: read public keys: a block of type %q is no public key for ed25519: give what keyorch audit key prints", block.Type)
		}
		version := 1
		if text, ok := block.Headers[versionHeader]; ok {
			if _, err := fmt.Sscanf(text, "%d", &version); err != nil || version < 1 || fmt.Sprint(version) != text {
				return nil, fault.New(fault.Invalid, "audit: read public keys: %q is no version", text)
			}
		}
		if _, twice := keys[version]; twice {
			return nil, fault.New(fault.Invalid, "audit: read public keys: version %d is there twice", version)
		}
		keys[version] = key
	}
	if len(keys) == 0 {
		return nil, fault.New(fault.Invalid, "audit: read public keys: there is none: give what keyorch audit key prints")
	}
	return keys, nil
}

// Fingerprints names each key in a few characters, as in "v1 SHA256:9f86d081884c7d65", for
// people to compare.
func (k Keys) Fingerprints() string {
	var all []string
	for _, version := range slices.Sorted(maps.Keys(k)) {
		sum := sha256.Sum256(k[version])
		all = append(all, fmt.Sprintf("v%d SHA256:%s", version, hex.EncodeToString(sum[:8])))
	}
	return strings.Join(all, ", ")
}

// Signature is what a Signer gives.
type Signature struct {
	Key     string
	Version int
	Value   []byte
}

// Signer signs statements. Faults: Unavailable, Refused.
type Signer interface {
	// Name is that of the key.
	Name() string
	Sign(ctx context.Context, statement []byte) (Signature, error)
}

// sign makes the checkpoint of what the head is at.
func sign(ctx context.Context, by Signer, h Head, now time.Time) (Checkpoint, error) {
	c := Checkpoint{Number: h.Checkpoint + 1, Segment: h.Segment.ID, Seq: h.Seq, Hash: h.Hash, At: now.UTC(), Key: by.Name()}
	if h.Signed == h.Seq && h.Checkpoint > 0 {
		c.Number = h.Checkpoint // the same, later
	}
	s, err := by.Sign(ctx, c.Statement())
	if err != nil {
		return Checkpoint{}, err
	}
	c.Version, c.Signature = s.Version, s.Value
	return c, nil
}
