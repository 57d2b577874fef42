package haproxy

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"slices"

	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

const (
	// slots is how many keys HAProxy holds (TLS_TICKETS_NO).
	slots = 3
	// nameSize is how many of the bytes of a key are its public name.
	nameSize = 16
	// keySize is the length of a key with its name: 16 bytes of name, 32 for the
	// HMAC, 32 for AES-256.
	keySize = 80
	// shortSize is that of a key for AES-128, which HAProxy takes as well.
	shortSize = 48
)

// name is the public name of a ticket key, which every ticket begins with.
type name [nameSize]byte

func nameOf(r keychain.Ref) name { return name(keying.Name(r)) }

// ref is the key that the name is of; zero for a stranger's.
func (n name) ref() keychain.Ref {
	r, _ := keying.ParseName(n[:])
	return r
}

// ring is the names of the keys that HAProxy holds, as it lists them: the oldest,
// the one that seals tickets, the newest.
type ring [slots]name

// sealing is where the key stands that seals.
const sealing = 1

// sends is the key that tickets are sealed with; zero for a stranger's.
func (r ring) sends() keychain.Ref { return r[sealing].ref() }

// accepts are our keys that open tickets, by epoch.
func (r ring) accepts() []keychain.Ref {
	var refs []keychain.Ref
	for _, n := range r {
		if ref := n.ref(); !ref.IsZero() {
			refs = append(refs, ref)
		}
	}
	return sorted(refs)
}

// pushed is the ring after a push.
func (r ring) pushed(n name) ring { return ring{r[1], r[2], n} }

func sorted(refs []keychain.Ref) []keychain.Ref {
	slices.SortFunc(refs, func(a, b keychain.Ref) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.KCV, b.KCV))
	})
	return slices.Compact(refs)
}

// keys are the keys of a ring: 80 bytes each, beginning with the name. Whoever got
// them wipes them.
type keys [slots]secret.Key

func (k keys) wipe() {
	for _, one := range k {
		one.Wipe()
	}
}

// names are the public part.
func (k keys) names() ring {
	var r ring
	for i, one := range k {
		_ = one.Use(func(b []byte) error { copy(r[i][:], b); return nil })
	}
	return r
}

// find is the key of that name; more are looked at first.
func (k keys) find(n name, more ...secret.Key) (secret.Key, bool) {
	for _, one := range append(more, k[:]...) {
		var is bool
		_ = one.Use(func(b []byte) error { is = bytes.HasPrefix(b, n[:]); return nil })
		if is {
			return one, true
		}
	}
	return secret.Key{}, false
}

// arrange puts keys in the order of a ring, whose names they have. They stay those
// of k and more: nothing of them is wiped on its own.
func (k keys) arrange(r ring, more ...secret.Key) (keys, bool) {
	var to keys
	for i, n := range r {
		one, ok := k.find(n, more...)
		if !ok {
			return keys{}, false
		}
		to[i] = one
	}
	return to, true
}

// errShort is about a ring for AES-128: HAProxy takes no longer key into it.
var errShort = errors.New("its keys have 48 bytes: begin with a key file whose keys have 80")

// parseKey reads a key in base64, and clears nothing of what it was given.
func parseKey(text []byte) (secret.Key, error) {
	b := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	defer clear(b[:cap(b)])
	n, err := base64.StdEncoding.Decode(b, text)
	switch {
	case err != nil:
		return secret.Key{}, errors.New("a key is not in base64")
	case n == shortSize:
		return secret.Key{}, errShort
	case n != keySize:
		return secret.Key{}, errors.New("a key has not 80 bytes")
	}
	return secret.New(b[:n]), nil
}

// appendKey writes a key in base64.
func appendKey(to []byte, k secret.Key) []byte {
	_ = k.Use(func(b []byte) error { to = base64.StdEncoding.AppendEncode(to, b); return nil })
	return to
}
