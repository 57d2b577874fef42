package store

import (
	"context"
	"errors"
	"slices"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// Key is a wrapped key as it is stored.
type Key struct {
	Link    keychain.LinkID
	Epoch   keychain.Epoch
	Wrapped keychain.Wrapped
}

// Keys gives every wrapped key that is stored, of all links. A broken record is left
// out and named by a Mismatch error, which comes with the rest.
func (s *Store) Keys(ctx context.Context) ([]Key, error) {
	docs, err := readAll(ctx, s, s.keys.links(), s.document)
	var all []Key
	for _, d := range docs {
		all = append(all, d.keys()...)
	}
	return all, err
}

func (d document) keys() []Key {
	var all []Key
	for _, epoch := range []keychain.Epoch{d.Record.State.From.Epoch, d.Record.State.To.Epoch} {
		if w, ok := d.Keys[epoch]; ok && !w.IsZero() {
			all = append(all, Key{d.Record.Link, epoch, w})
		}
	}
	return slices.CompactFunc(all, func(a, b Key) bool { return a.Epoch == b.Epoch })
}

// Minting is the revision at which KEKs were last rotated; zero: never. Whoever mints
// keys reads it first, and gives it with them.
func (s *Store) Minting(ctx context.Context) (int64, error) {
	found, err := s.read(ctx, []string{s.keys.keks()})
	return found[s.keys.keks()].mod, err
}

// rewrapTries is how often a link is looked at again that somebody changed while its
// keys were being wrapped anew.
const rewrapTries = 20

// rewrapAtOnce is how many links have their keys wrapped anew side by side in one
// call of rewrap.
const rewrapAtOnce = 64

// Rewrapping wraps keys anew, all under kek, and gives them back in their order. One
// that comes back as it was is left alone.
type Rewrapping func(ctx context.Context, kek string, keys []Key) ([]keychain.Wrapped, error)

// Rewrap wraps every stored key under keks anew, in the records and in the orders,
// after the KEKs were rotated. It gives the number of keys that changed, KEK by KEK.
//
// First it writes down that KEKs were rotated: what was minted before cannot be
// committed any more. So nothing under an older version is left when it returns, and
// nothing comes later. Whoever drives a link meanwhile is not disturbed: its record
// has not changed, and each link is written under the guard of what was read. Faults:
// those of rewrap, Unavailable, Refused, Mismatch for a record that cannot be read.
func (s *Store) Rewrap(ctx context.Context, keks []string, rewrap Rewrapping) ([]int, error) {
	if _, _, err := s.transact(ctx, nil, clientv3.OpPut(s.keys.keks(), "")); err != nil {
		return nil, s.failed(ctx, err, "write down that KEKs were rotated")
	}
	entries, err := s.linkEntries(ctx, nil)
	if err != nil {
		return nil, err
	}
	under := map[string][]entry{}
	var unread []error
	for _, e := range entries {
		d, err := s.document(e)
		if err != nil {
			unread = append(unread, err)
			continue
		}
		for _, k := range d.keys() {
			if own := under[k.Wrapped.KEK]; len(own) == 0 || own[len(own)-1].key != e.key {
				under[k.Wrapped.KEK] = append(own, e)
			}
		}
	}
	done := make([]int, len(keks))
	for i, kek := range keks {
		for part := range slices.Chunk(under[kek], rewrapAtOnce) {
			n, err := s.rewrapSome(ctx, kek, part, rewrap)
			if done[i] += n; err != nil {
				return done, err
			}
		}
	}
	return done, errors.Join(unread...)
}

func (s *Store) rewrapSome(ctx context.Context, kek string, entries []entry, rewrap Rewrapping) (int, error) {
	done := 0
	for range rewrapTries {
		units, changed, err := s.rewrapped(ctx, kek, entries, rewrap)
		if err != nil || len(units) == 0 {
			return done, err
		}
		missed, n, err := s.writeRewrapped(ctx, units, changed)
		if done += n; err != nil || len(missed) == 0 {
			return done, err
		}
		found, err := s.read(ctx, missed)
		if err != nil {
			return done, err
		}
		entries = entries[:0:0]
		for _, e := range found {
			entries = append(entries, e)
		}
	}
	return done, fault.New(fault.Unavailable, "wrap keys under %s anew: %d links change all the time", kek, len(entries))
}

// writeRewrapped writes units, and gives the keys of those that somebody has changed
// meanwhile, or of which nobody knows. Each link is written by itself: those in flight
// change.
func (s *Store) writeRewrapped(ctx context.Context, units []unit, changed []int) (missed []string, done int, err error) {
	var mu sync.Mutex
	each(len(units), func(i int) {
		held, _, tried := s.try(ctx, units[i:i+1])
		mu.Lock()
		defer mu.Unlock()
		switch {
		case held:
			done += changed[i]
		case tried != nil && fault.Is(s.failed(ctx, tried, "write %s to etcd", units[i].key), fault.Refused):
			err = s.failed(ctx, tried, "write %s to etcd", units[i].key)
		default:
			missed = append(missed, units[i].key)
		}
	})
	return missed, done, err
}

// rewrapped makes the units of those entries that have a key under kek, and says how
// many keys change in each.
func (s *Store) rewrapped(ctx context.Context, kek string, entries []entry, rewrap Rewrapping) (units []unit, changed []int, err error) {
	var docs []document
	var bases []entry
	var keys []Key
	for _, e := range entries {
		d, err := s.document(e)
		if err != nil {
			return nil, nil, err
		}
		own := slices.DeleteFunc(d.keys(), func(k Key) bool { return k.Wrapped.KEK != kek })
		if len(own) > 0 {
			docs, bases, keys = append(docs, d), append(bases, e), append(keys, own...)
		}
	}
	if len(keys) == 0 {
		return nil, nil, nil
	}
	anew, err := rewrap(ctx, kek, keys)
	if err != nil {
		return nil, nil, err
	}
	if len(anew) != len(keys) {
		return nil, nil, fault.New(fault.Invalid, "wrap keys under %s anew: %d came back of %d", kek, len(anew), len(keys))
	}
	for i, d := range docs {
		n := 0
		for k, key := range keys {
			if key.Link == d.Record.Link && anew[k] != key.Wrapped {
				d.Keys[key.Epoch] = anew[k]
				n++
			}
		}
		if n == 0 {
			continue
		}
		u := unit{key: bases[i].key, base: bases[i].mod, doc: d}
		if err := s.putRewrapped(&u); err != nil {
			return nil, nil, err
		}
		units, changed = append(units, u), append(changed, n)
	}
	return units, changed, nil
}

// putRewrapped puts the record of u as it was, and all its orders, with the keys of
// u.doc.
func (s *Store) putRewrapped(u *unit) error {
	d := u.doc
	if err := u.put(u.key, document{Record: d.unrevised(), Keys: d.Keys, Sites: d.Sites, Changed: d.Record.Revision}); err != nil {
		return err
	}
	for _, o := range link.Orders(d.Record.State) {
		if err := u.put(s.keys.order(d.Sites[o.Node], o.Node, d.Record.Link), d.order(o)); err != nil {
			return err
		}
	}
	return nil
}

// order is o as it stands in etcd.
func (d document) order(o link.Order) Order {
	wanted := func(k link.Key) Wanted {
		if k.IsZero() {
			return Wanted{}
		}
		return Wanted{Ref: k.Ref, Serial: k.Serial, Wrapped: d.Keys[k.Epoch]}
	}
	order := Order{Site: d.Sites[o.Node], Node: o.Node, Link: d.Record.Link, Turn: o.Turn, Send: wanted(o.Send)}
	for _, k := range o.Accept {
		order.Accept = append(order.Accept, wanted(k))
	}
	return order
}
