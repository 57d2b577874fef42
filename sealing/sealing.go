// Package sealing encrypts what keyorch hands to Temporal, for operators who want not
// even the names of links and sites to be read there. There is no link key in those
// payloads, sealed or not.
//
// A payload is sealed with AES-256-GCM under a random nonce, and names the key that
// it was sealed with. Payloads in clear are read as they are, so that sealing can be
// switched on while histories in clear are still under way.
package sealing

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"

	"github.com/keyorch/keyorch/fault"
)

const (
	// encoding marks a payload as sealed.
	encoding = "binary/keyorch-sealed"
	// keyField has the ID of the key that a payload was sealed with.
	keyField = "keyorch-key"
	keySize  = 32
	idSize   = 8
)

// Keys seal and open payloads. The first one seals, all of them open. Nil and empty
// Keys seal nothing, and say so when they meet something sealed.
//
// Nonces are random, which is sound for 2^32 payloads under one key: tens of years of
// ten thousand links every night.
type Keys struct{ keys []key }

var _ converter.PayloadCodec = (*Keys)(nil)

type key struct {
	id    string
	aead  cipher.AEAD
	names []byte // the key of Name
}

// newKey derives from one secret what is needed of it, so that the ID and the names
// that are given away tell nothing of what seals.
func newKey(secret []byte) (key, error) {
	derive := func(what string, size int) ([]byte, error) {
		return hkdf.Key(sha256.New, secret, nil, "keyorch sealing "+what, size)
	}
	id, err := derive("id", idSize)
	if err != nil {
		return key{}, err
	}
	names, err := derive("names", keySize)
	if err != nil {
		return key{}, err
	}
	seals, err := derive("payloads", keySize)
	if err != nil {
		return key{}, err
	}
	block, err := aes.NewCipher(seals)
	if err != nil {
		return key{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return key{id: hex.EncodeToString(id), aead: aead, names: names}, err
}

// Seals reports whether there is a key to seal with.
func (k *Keys) Seals() bool { return k != nil && len(k.keys) > 0 }

// IDs are the public names of the keys, in their order.
func (k *Keys) IDs() (ids []string) {
	if k != nil {
		for _, one := range k.keys {
			ids = append(ids, one.id)
		}
	}
	return ids
}

// Name is a name that tells nothing of s, the same for the same s and first key.
func (k *Keys) Name(s string) string {
	if !k.Seals() {
		return s
	}
	h := hmac.New(sha256.New, k.keys[0].names)
	h.Write([]byte(s))
	return hex.EncodeToString(h.Sum(nil)[:idSize])
}

// Encode implements converter.PayloadCodec.
func (k *Keys) Encode(in []*commonpb.Payload) ([]*commonpb.Payload, error) {
	if !k.Seals() {
		return in, nil
	}
	first := k.keys[0]
	out := make([]*commonpb.Payload, len(in))
	for i, p := range in {
		clear, err := proto.Marshal(p)
		if err != nil {
			return nil, fault.New(fault.Invalid, "seal a payload: it is malformed")
		}
		out[i] = &commonpb.Payload{
			Metadata: map[string][]byte{converter.MetadataEncoding: []byte(encoding), keyField: []byte(first.id)},
			Data:     first.aead.Seal(nil, nil, clear, []byte(encoding+first.id)),
		}
	}
	return out, nil
}

// Decode implements converter.PayloadCodec. Faults: Refused for a payload whose key
// is missing, Mismatch for one that was changed.
func (k *Keys) Decode(in []*commonpb.Payload) ([]*commonpb.Payload, error) {
	out := make([]*commonpb.Payload, len(in))
	for i, p := range in {
		if string(p.GetMetadata()[converter.MetadataEncoding]) != encoding {
			out[i] = p
			continue
		}
		opened, err := k.open(p)
		if err != nil {
			return nil, err
		}
		out[i] = opened
	}
	return out, nil
}

func (k *Keys) open(p *commonpb.Payload) (*commonpb.Payload, error) {
	id := string(p.GetMetadata()[keyField])
	if len(id) != 2*idSize || !isHex(id) {
		return nil, fault.New(fault.Mismatch, "open a payload of temporal: it names no key")
	}
	if !k.Seals() {
		return nil, fault.New(fault.Refused, "open a payload of temporal: it is sealed with key %s, and there is no key here: set KEYORCH_TEMPORAL_CODEC", id)
	}
	for _, one := range k.keys {
		if one.id != id {
			continue
		}
		clear, err := one.aead.Open(nil, nil, p.GetData(), []byte(encoding+id))
		out := &commonpb.Payload{}
		if err != nil || proto.Unmarshal(clear, out) != nil {
			return nil, fault.New(fault.Mismatch, "open a payload of temporal: it is not what was sealed with key %s", id)
		}
		return out, nil
	}
	return nil, fault.New(fault.Refused, "open a payload of temporal: key %s is missing in the file that KEYORCH_TEMPORAL_CODEC names: put it back below the first key", id)
}

func isHex(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil
}
