// Package keychain is the vocabulary that every part of keyorch shares: how
// links, nodes and sites are named, how a key is named without being one, and
// the numbers that order keys (Epoch) and orders (Turn).
//
// It holds no key bytes and does no work. Key bytes live in package secret.
package keychain

import (
	"encoding/hex"
	"fmt"
	"regexp"
)

// LinkID names a link: a directed connection, or a segment, that has one key
// of its own.
type LinkID string

// NodeID names a node: one device, at one site, that sends or accepts.
type NodeID string

// SiteID names a site: the nodes that one agent serves.
type SiteID string

// MaxName is the longest name of a link, node or site, in bytes: that of a
// DNS label (RFC 1123).
const MaxName = 63

var nameForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// ValidName reports why name cannot name a link, a node or a site, or nil. The
// form is that of a DNS label (RFC 1123), so that a name fits unescaped into an
// etcd key, a Vault path, a workflow ID and a Kubernetes object.
func ValidName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the name is empty")
	case len(name) > MaxName:
		return fmt.Errorf("the name has %d characters, at most %d fit", len(name), MaxName)
	case !nameForm.MatchString(name):
		return fmt.Errorf("%q is not a name: use lower-case letters, digits and '-', with a letter or digit at both ends", name)
	}
	return nil
}

// Epoch is the generation of a link's key. It only rises, it is burned even
// when its rotation is aborted, and it is never used for two keys. Zero means
// no key.
type Epoch uint64

// Turn is the fencing token of orders: it rises on every phase that a link
// enters, and a node never obeys a Turn below one that it has obeyed.
type Turn uint64

// KCV is a key check value: ten lower-case hexadecimal digits, five bytes that
// secret.Key.Check derives. It tells two keys apart and reveals neither. Empty
// means not known yet.
type KCV string

// kcvBytes is the length of a KCV before it is written in hexadecimal.
const kcvBytes = 5

// ParseKCV reads the ten lower-case hexadecimal digits of a KCV. It does not
// echo what it was given, which may be a key.
func ParseKCV(s string) (KCV, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != kcvBytes || hex.EncodeToString(b) != s {
		return "", fmt.Errorf("a KCV is %d lower-case hexadecimal digits", 2*kcvBytes)
	}
	return KCV(s), nil
}

// KCVOf writes five check bytes as a KCV.
func KCVOf(check [kcvBytes]byte) KCV { return KCV(hex.EncodeToString(check[:])) }

// Ref names a key without being one. The Epoch is its identity; the KCV is
// unknown until the first node that unwraps the key has reported it, is then
// written once, and every other node must report the same.
type Ref struct {
	Epoch Epoch `json:"epoch"`
	KCV   KCV   `json:"kcv,omitempty"`
}

// IsZero reports whether r names no key.
func (r Ref) IsZero() bool { return r.Epoch == 0 }

// Agrees reports whether r and o may be the same key: one epoch, and the same
// KCV as far as both are known.
func (r Ref) Agrees(o Ref) bool {
	return r.Epoch == o.Epoch && (r.KCV == "" || o.KCV == "" || r.KCV == o.KCV)
}

// String writes a Ref as operators see it: "4 (a1b2c3d4e5)", or "none".
func (r Ref) String() string {
	switch {
	case r.IsZero():
		return "none"
	case r.KCV == "":
		return fmt.Sprintf("%d", r.Epoch)
	}
	return fmt.Sprintf("%d (%s)", r.Epoch, r.KCV)
}

// Wrapped is a key that only Vault can open. It is safe in etcd; it is kept out
// of logs and of Temporal all the same.
type Wrapped struct {
	// KEK is the name of the key-encryption key in Vault Transit.
	KEK string `json:"kek"`
	// Ciphertext is in the form that Vault Transit gives it ("vault:v1:…").
	Ciphertext string `json:"ciphertext"`
}

// IsZero reports whether there is no wrapped key.
func (w Wrapped) IsZero() bool { return w == Wrapped{} }

// SA names the security association that a device is asked to set up, to use
// or to drop: one key of one link, with the numbers that go on the wire.
type SA struct {
	Link LinkID `json:"link"`
	Ref
	Serial Serial `json:"serial"`
	Turn   Turn   `json:"turn"`
}
