package frr

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// chain is a key chain: as ospf6d has it, or as it is to become. Its keys are
// sorted by their numbers, as FRR goes through them.
type chain struct {
	name string
	keys []key
}

// key is one key of a chain.
type key struct {
	id        int
	ref       keychain.Ref // zero for a key that keyorch did not put there
	text      []byte       // the key-string; secret
	algorithm string
	send      lifetime
	accept    lifetime
}

// usable reports whether FRR can compute anything with the key.
func (k key) usable() bool { return len(k.text) > 0 && k.algorithm != "" }

// same reports whether a and b are one key in one state.
func (k key) same(o key) bool {
	return k.id == o.id && k.sameMaterial(o) && k.send == o.send
}

// sameMaterial leaves out whether the key is sent with.
func (k key) sameMaterial(o key) bool {
	return bytes.Equal(k.text, o.text) && k.algorithm == o.algorithm && k.accept == o.accept
}

func (c chain) same(o chain) bool { return slices.EqualFunc(c.keys, o.keys, key.same) }

func (c chain) find(id int) (key, bool) {
	i := slices.IndexFunc(c.keys, func(k key) bool { return k.id == id })
	if i < 0 {
		return key{}, false
	}
	return c.keys[i], true
}

// accepts are our keys that are accepted now, by epoch. An epoch that stands
// there twice is shown once.
func (c chain) accepts(now time.Time) []keychain.Ref {
	var refs []keychain.Ref
	for _, k := range c.keys {
		if !k.ref.IsZero() && k.usable() && k.accept.covers(now) {
			refs = append(refs, k.ref)
		}
	}
	slices.SortFunc(refs, func(a, b keychain.Ref) int { return cmp.Compare(a.Epoch, b.Epoch) })
	return slices.CompactFunc(refs, func(a, b keychain.Ref) bool { return a.Epoch == b.Epoch })
}

// holds are all of ours, whatever their lifetimes say.
func (c chain) holds() []keychain.Ref {
	var refs []keychain.Ref
	for _, k := range c.keys {
		if !k.ref.IsZero() {
			refs = append(refs, k.ref)
		}
	}
	slices.SortFunc(refs, func(a, b keychain.Ref) int { return cmp.Compare(a.Epoch, b.Epoch) })
	return slices.Compact(refs)
}

// sender is the key that FRR sends with: the first whose send-lifetime is valid,
// whether it is usable or not.
func (c chain) sender(now time.Time) (key, bool) {
	i := slices.IndexFunc(c.keys, func(k key) bool { return k.send.covers(now) })
	if i < 0 {
		return key{}, false
	}
	return c.keys[i], true
}

// sends names the key that is sent with; zero when there is none, or not ours.
func (c chain) sends(now time.Time) keychain.Ref {
	if k, ok := c.sender(now); ok && k.usable() {
		return k.ref
	}
	return keychain.Ref{}
}

// with is c with k in the place of what had its number.
func (c chain) with(k key) chain {
	keys := slices.DeleteFunc(slices.Clone(c.keys), func(o key) bool { return o.id == k.id })
	keys = append(keys, k)
	slices.SortFunc(keys, func(a, b key) int { return cmp.Compare(a.id, b.id) })
	return chain{name: c.name, keys: keys}
}

// install is c with k accepted and, unless it is there already, not sent with.
func (c chain) install(k key) (chain, error) {
	if err := c.roomFor(k); err != nil {
		return c, err
	}
	k.send = never
	if old, ok := c.find(k.id); ok && old.ref == k.ref {
		k.send = old.send
		if old.algorithm != "" { // both ends have it so: another one is for the next key
			k.algorithm = old.algorithm
		}
	}
	return c.with(k), nil
}

// roomFor refuses a number that is taken by a key which is not ours to replace.
// Ours is what has no key-string yet, left by a run that was broken off, and a key
// of an earlier epoch: the numbers of keys that are in use at the same time
// differ, so that one came back with an old configuration.
func (c chain) roomFor(k key) error {
	for _, old := range c.keys {
		switch {
		case old.ref.Epoch == k.ref.Epoch && old.ref != k.ref:
			return fault.New(fault.Mismatch, "key %d of key chain %s is another key under epoch %d: its KCV is %s, not %s", old.id, c.name, k.ref.Epoch, old.ref.KCV, k.ref.KCV)
		case old.ref == k.ref && old.id != k.id:
			return fault.New(fault.Unavailable, "epoch %d is key %d of key chain %s and should be key %d: take it out (no key %d)", k.ref.Epoch, old.id, c.name, k.id, old.id)
		case old.id != k.id:
		case old.ref.IsZero() && len(old.text) > 0:
			return fault.New(fault.Unavailable, "key %d of key chain %s was not put there by keyorch, which needs the number for epoch %d: give that key another number, or take it out (no key %d)", old.id, c.name, k.ref.Epoch, old.id)
		case old.ref.Epoch > k.ref.Epoch:
			return fault.New(fault.Unavailable, "key %d of key chain %s is epoch %d, and epoch %d needs the number: take it out (no key %d)", old.id, c.name, old.ref.Epoch, k.ref.Epoch, old.id)
		}
	}
	return nil
}

// switchTo is c with k sent with and no other, now and later. The others are
// accepted as before.
func (c chain) switchTo(k key, now time.Time) (chain, error) {
	next, err := c.install(k)
	if err != nil {
		return c, err
	}
	for i := range next.keys {
		switch o := &next.keys[i]; {
		case o.id == k.id:
			o.send = always
		case !o.send.over(now):
			o.send = never
		}
	}
	return next, nil
}

// remove is c without the keys of an epoch.
func (c chain) remove(epoch keychain.Epoch, now time.Time) (chain, error) {
	of := func(k key) bool { return k.ref.Epoch == epoch }
	if !slices.ContainsFunc(c.keys, of) {
		return c, nil
	}
	left := chain{name: c.name, keys: slices.DeleteFunc(slices.Clone(c.keys), of)}
	if len(left.accepts(now)) == 0 {
		return c, fault.New(fault.Refused, "it is the last key of key chain %s", c.name)
	}
	if k, ok := c.sender(now); ok && of(k) {
		return c, fault.New(fault.Unavailable, "key %d of key chain %s is still sent with", k.id, c.name)
	}
	return left, nil
}
