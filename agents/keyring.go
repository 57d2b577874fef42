package agents

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"sync"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/store"
)

// keyring keeps the keys that the site's orders name, opened when one is first
// needed, and wipes a key when no order names it any more. So a key that a
// device has lost is put back also while Vault is away.
//
// An epoch has one key, however it is wrapped: one that was opened stays open when
// its KEK is rotated and it is wrapped anew.
type keyring struct {
	custody Unwrapper
	mu      sync.Mutex
	keys    map[generation]*kept
}

// generation is what names a key for good.
type generation struct {
	link  keychain.LinkID
	epoch keychain.Epoch
}

// named is one key as an order names it.
type named struct {
	generation
	wrapped keychain.Wrapped
}

type kept struct {
	gone  []func()      // called, each by itself, when the key has been wiped
	holds int           // guarded by keyring.mu
	turn  chan struct{} // has a token for whoever opens or reads the rest
	key   secret.Key
	kcv   keychain.KCV // empty: not opened yet
}

func newKeyring(c Unwrapper) *keyring {
	return &keyring{custody: c, keys: make(map[generation]*kept)}
}

// hold keeps the keys that o names until release: an order holds them while it
// stands, and so does whoever uses them, since wiping clears every copy.
func (r *keyring) hold(o store.Order) []named {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []named
	for _, w := range append(o.Accept[:len(o.Accept):len(o.Accept)], o.Send) {
		if w.IsZero() {
			continue
		}
		n := named{generation{o.Link, w.Epoch}, w.Wrapped}
		names = append(names, n)
		if r.keys[n.generation] == nil {
			r.keys[n.generation] = &kept{turn: make(chan struct{}, 1)}
		}
		r.keys[n.generation].holds++
	}
	return names
}

func (r *keyring) release(names []named) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range names {
		k := r.keys[n.generation]
		if k.holds--; k.holds == 0 {
			delete(r.keys, n.generation)
			k.key.Wipe()
			for _, f := range k.gone {
				go f() // whoever releases may hold a lock that f needs
			}
		}
	}
}

// holds reports whether the key g is held for anybody. If so, f is called once it has been
// wiped.
func (r *keyring) holds(g generation, f func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.keys[g]
	if k == nil {
		return false
	}
	k.gone = append(k.gone, f)
	return true
}

// open gives the key n, which the caller holds, and checks it against want where
// that is known. Errors: Invalid (the order has no wrapped key), Mismatch, those
// of Unwrapper.
func (r *keyring) open(ctx context.Context, n named, want keychain.KCV) (secret.Key, error) {
	if n.wrapped.IsZero() {
		return secret.Key{}, fault.New(fault.Invalid, "open epoch %d of %s: the order has no wrapped key", n.epoch, n.link)
	}
	r.mu.Lock()
	k := r.keys[n.generation]
	r.mu.Unlock()
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return secret.Key{}, fault.Wrap(fault.Unavailable, ctx.Err(), "open epoch %d of %s", n.epoch, n.link)
	}
	if k.kcv == "" {
		key, err := r.custody.Unwrap(ctx, n.link, n.epoch, n.wrapped)
		if err != nil {
			return secret.Key{}, err
		}
		kcv, err := custody.KCV(key)
		if err != nil {
			return secret.Key{}, err
		}
		k.key, k.kcv = key, kcv
	}
	if want != "" && k.kcv != want {
		return secret.Key{}, fault.New(fault.Mismatch,
			"open epoch %d of %s: its KCV is %s, the link's is %s", n.epoch, n.link, k.kcv, want)
	}
	return k.key, nil
}

// withheld takes the place of a message that holds key bytes.
const withheld = "the message held key bytes and is withheld"

// scrub gives text back unless it holds bytes of the keys names, which the caller
// holds. A device's own words get into reports and logs, and a device was told
// the keys.
func (r *keyring) scrub(text string, names []named) string {
	for _, n := range names {
		r.mu.Lock()
		k := r.keys[n.generation]
		r.mu.Unlock()
		select {
		case k.turn <- struct{}{}:
		default:
			continue // being opened: nobody was told this key yet
		}
		found := false
		_ = k.key.Use(func(b []byte) error {
			found = holdsKey([]byte(text), b)
			return nil
		})
		<-k.turn
		if found {
			return withheld
		}
	}
	return text
}

// telling is how many neighbouring bytes of a key are no coincidence.
const telling = 8

// holdsKey reports whether a part of key stands in text, as it is, in hexadecimal
// or in base64.
func holdsKey(text, key []byte) bool {
	lower := bytes.ToLower(text)
	for at := range max(0, len(key)-telling) {
		// One byte more makes three whole groups of base64. Whatever stands before
		// the key, some part of it begins a group.
		part, groups := key[at:at+telling], key[at:at+telling+1]
		for _, find := range []struct{ in, form []byte }{
			{text, bytes.Clone(part)},
			{lower, hex.AppendEncode(nil, part)},
			{text, base64.StdEncoding.AppendEncode(nil, groups)},
			{text, base64.URLEncoding.AppendEncode(nil, groups)},
		} {
			found := bytes.Contains(find.in, find.form)
			clear(find.form)
			if found {
				return true
			}
		}
	}
	return false
}
