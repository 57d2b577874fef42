// Package secret holds key bytes that cannot be printed, logged, compared with
// == or serialised by accident.
//
// The bytes sit behind a closure. Reflection sees a func and cannot look into
// it, so fmt, json, gob and the diff of a failing test have nothing to print,
// even where the Key is in somebody's unexported field (fmt calls no method
// there). It does not protect from code that keeps the slice given to Use, from
// unsafe, from core dumps, or from copies that a cipher makes.
package secret

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
)

// Size is the length of a link key in bytes.
const Size = 32

// CheckSize is the length of a key check value in bytes.
const CheckSize = 5

const redacted = "[redacted]"

// checkLabel keeps the check value apart from every key that a device derives.
// The classic check value, the encryption of a zero block, would for AES-GCM
// publish part of the hash subkey H (NIST SP 800-38D, section 6.4).
const checkLabel = "keyorch/v1 key check value"

// ErrSealed is what every marshaller answers: a Key leaves the process through
// Use and in no other way.
var ErrSealed = errors.New("secret: a key does not serialise")

// Key is symmetric key material. The zero Key is empty. Copies share the bytes,
// and Wipe clears them for all copies. A Key is safe for concurrent use.
type Key struct{ open func(func([]byte)) }

// New copies b into a Key and clears b.
func New(b []byte) Key {
	own := bytes.Clone(b)
	clear(b)
	var mu sync.Mutex
	return Key{open: func(f func([]byte)) {
		mu.Lock()
		defer mu.Unlock()
		f(own)
	}}
}

// Use calls f with the key bytes. f must neither keep nor change them, and must
// not use the same Key again. Every reader of key bytes is a call of Use, and
// so can be searched for.
func (k Key) Use(f func(b []byte) error) error {
	var err error
	k.with(func(b []byte) { err = f(b) })
	return err
}

// Len is the length in bytes.
func (k Key) Len() int {
	var n int
	k.with(func(b []byte) { n = len(b) })
	return n
}

// Wipe overwrites the bytes for every copy of k, as well as the language lets
// it.
func (k Key) Wipe() {
	k.with(func(b []byte) {
		clear(b)
		runtime.KeepAlive(b)
	})
}

// Equal reports, in constant time, whether k and o hold the same bytes.
func (k Key) Equal(o Key) bool {
	var mine []byte
	k.with(func(b []byte) { mine = bytes.Clone(b) })
	defer clear(mine)
	same := false
	o.with(func(b []byte) { same = subtle.ConstantTimeCompare(mine, b) == 1 })
	return same
}

// Derive makes a key of n bytes with HKDF-SHA256 (RFC 5869), bound to label.
// Each use of a link key has a label of its own, so that no two uses share
// bytes and the link key itself never leaves the host.
func (k Key) Derive(label string, n int) (Key, error) {
	out, err := k.expand(label, n)
	if err != nil {
		return Key{}, err
	}
	return New(out), nil
}

// Check is the key check value: five bytes of HKDF-SHA256 under a label that
// nothing else uses.
func (k Key) Check() ([CheckSize]byte, error) {
	var check [CheckSize]byte
	out, err := k.expand(checkLabel, CheckSize)
	copy(check[:], out)
	return check, err
}

func (k Key) expand(label string, n int) ([]byte, error) {
	var out []byte
	err := k.Use(func(b []byte) (err error) {
		if len(b) == 0 {
			return errors.New("secret: an empty key derives nothing")
		}
		out, err = hkdf.Key(sha256.New, b, nil, label, n)
		return err
	})
	return out, err
}

func (k Key) with(f func([]byte)) {
	if k.open == nil {
		f(nil)
		return
	}
	k.open(f)
}

// Format implements fmt.Formatter for every verb.
func (Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// String implements fmt.Stringer.
func (Key) String() string { return redacted }

// LogValue implements slog.LogValuer.
func (Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON fails with ErrSealed.
func (Key) MarshalJSON() ([]byte, error) { return nil, ErrSealed }

// MarshalText fails with ErrSealed.
func (Key) MarshalText() ([]byte, error) { return nil, ErrSealed }

// MarshalBinary fails with ErrSealed, also for gob.
func (Key) MarshalBinary() ([]byte, error) { return nil, ErrSealed }
