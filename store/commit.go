package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// Commit writes new versions of links. Nobody who is excluded is given a key that is
// new to it: such a change is Stale, since whoever made it had not heard of the
// exclusion. For each link the record, its wrapped
// keys, the orders that follow from its State, and its entry in the link's
// history when it enters a new Turn, are written in one transaction, guarded by
// the revision that the change was made from. The keys
// kept are those of State.From and State.To: one that is retired is gone with
// the change that retires it.
//
// There is one Committed for each change, in their order, and one link's
// trouble is in its Err alone. The call itself fails only when etcd is away
// (Unavailable) or denies the permission (Refused). Then some changes may have
// happened, and repeating the call is safe: a change whose content is already
// there counts as committed.
func (s *Store) Commit(ctx context.Context, changes []Change) ([]Committed, error) {
	return s.commit(ctx, changes, nil)
}

// commit is Commit. Given, unless it is nil, is what a recovery brings along, by change.
func (s *Store) commit(ctx context.Context, changes []Change, given []brought) ([]Committed, error) {
	out := make([]Committed, len(changes))
	units, err := s.plan(ctx, changes, given, out)
	if err != nil {
		return nil, err
	}
	groups := share(units)
	var mu sync.Mutex
	var away error
	each(len(groups), func(i int) {
		if err := s.write(ctx, groups[i], out); err != nil {
			mu.Lock()
			defer mu.Unlock()
			away = err
		}
	})
	if away != nil {
		return nil, away
	}
	return out, nil
}

// unit is one change, ready to be written.
type unit struct {
	index  int // in the call
	change Change
	given  brought
	seen   excluded // when it was prepared; zero: it gives nobody a key
	key    string
	base   int64 // the revision in etcd, which Record.Revision need not be
	doc    document
	ops    []clientv3.Op
	size   int
	notes  notes // for the trail: those of a group are written together
}

// plan reads what is there and prepares every change. What can be told without
// writing is put into out at once.
func (s *Store) plan(ctx context.Context, changes []Change, given []brought, out []Committed) ([]unit, error) {
	keys := make([]string, len(changes))
	for i, c := range changes {
		keys[i] = s.keys.link(c.Record.Link)
	}
	unique := slices.Compact(slices.Sorted(slices.Values(keys)))
	stored, err := s.read(ctx, unique)
	if err != nil {
		return nil, err
	}
	shut, err := s.excluded(ctx)
	if err != nil {
		return nil, err
	}
	var units []unit
	seen := make(map[string]bool, len(changes))
	for i, c := range changes {
		out[i].Link = c.Record.Link
		if seen[keys[i]] {
			out[i].Err = fault.New(fault.Invalid, "commit %s: the call changes it twice", c.Record.Link)
			continue
		}
		seen[keys[i]] = true
		var own brought
		if given != nil {
			own = given[i]
		}
		u, rev, err := s.prepare(c, own, stored[keys[i]], shut)
		u.index = i
		switch {
		case err != nil:
			out[i].Err = err
		case rev != 0:
			out[i].Revision = rev
		default:
			units = append(units, u)
		}
	}
	return units, nil
}

// prepare makes the unit of c, given what is stored. A revision says that c is
// there already.
func (s *Store) prepare(c Change, given brought, e entry, shut excluded) (unit, int64, error) {
	id := c.Record.Link
	if err := c.check(); err != nil {
		return unit{}, 0, err
	}
	var old document
	if e.mod != 0 {
		var err error
		if old, err = s.document(e); err != nil {
			return unit{}, 0, err
		}
	}
	doc := document{Record: c.Record, Sites: c.sites()}
	if old.Record.Revision != c.Record.Revision {
		if e.mod != 0 && old.sameAs(doc) {
			return unit{}, old.Record.Revision, nil // our own change, repeated
		}
		return unit{}, 0, fault.New(fault.Stale, "commit %s: somebody else changed it meanwhile", id)
	}
	if doc.Record.State.Turn < old.Record.State.Turn || doc.Record.State.Highest < old.Record.State.Highest {
		return unit{}, 0, fault.New(fault.Refused, "commit %s: turn and epoch never fall, and it is at turn %d, epoch %d",
			id, old.Record.State.Turn, old.Record.State.Highest)
	}
	keys, err := c.keysFrom(old.Keys, given.keys)
	if err != nil {
		return unit{}, 0, err
	}
	doc.Keys = keys
	u := unit{change: c, given: given, seen: shut, key: s.keys.link(id), base: e.mod, doc: doc}
	if err := u.put(u.key, document{Record: doc.unrevised(), Keys: doc.Keys, Sites: doc.Sites}); err != nil {
		return unit{}, 0, err
	}
	err = s.addOrders(&u, old)
	if err == nil {
		err = s.addPast(&u, c, old)
	}
	if err == nil {
		err = s.addNotes(&u, c, old)
	}
	if err == nil {
		err = s.addBrought(&u, given)
	}
	if err == nil && (len(u.ops) >= maxNested || u.size > maxBytes) {
		err = fault.New(fault.Invalid, "commit %s: the orders of its %d nodes do not fit into one transaction", id, len(doc.Sites))
	}
	return u, 0, err
}

// check refuses a change that could not be written where it belongs.
func (c Change) check() error {
	id, st := c.Record.Link, c.Record.State
	if err := validNames(id); err != nil {
		return fault.Wrap(fault.Invalid, err, "commit %q", id)
	}
	if !c.Minted.IsZero() && st.To.IsZero() {
		return fault.New(fault.Invalid, "commit %s: a key was minted, and the link goes to none", id)
	}
	for _, n := range st.Nodes() {
		site, ok := c.Sites[n]
		if !ok {
			return fault.New(fault.Refused, "commit %s: node %s has no site: declare it", id, n)
		}
		if err := validNames(string(n), string(site)); err != nil {
			return fault.Wrap(fault.Invalid, err, "commit %s", id)
		}
	}
	return nil
}

// sites are those of the link's own nodes.
func (c Change) sites() map[keychain.NodeID]keychain.SiteID {
	sites := make(map[keychain.NodeID]keychain.SiteID)
	for _, n := range c.Record.State.Nodes() {
		sites[n] = c.Sites[n]
	}
	return sites
}

// keysFrom gives exactly the wrapped keys that the new State names. An epoch
// never gets a second key: nodes that hold the first would no longer understand
// those that hold the other.
func (c Change) keysFrom(stored, given Keys) (map[keychain.Epoch]keychain.Wrapped, error) {
	keys := make(map[keychain.Epoch]keychain.Wrapped, 2)
	st := c.Record.State
	for _, k := range []link.Key{st.From, st.To} {
		if k.IsZero() {
			continue
		}
		w := stored[k.Epoch]
		if given != nil { // a recovery knows those that were stored, and which of them are worth something
			w = given[k.Epoch]
		}
		if k.Epoch == st.To.Epoch && !c.Minted.IsZero() {
			if !w.IsZero() && w != c.Minted {
				return nil, fault.New(fault.Refused, "commit %s: epoch %d has a key already", c.Record.Link, k.Epoch)
			}
			w = c.Minted
		}
		if w.IsZero() && k.Bare {
			continue
		}
		if w.IsZero() {
			return nil, fault.New(fault.Refused, "commit %s: the key of epoch %d was never minted", c.Record.Link, k.Epoch)
		}
		keys[k.Epoch] = w
	}
	return keys, nil
}

// reordered reports whether the order of a node has to be written again. A KCV
// that was learned within a Turn is no reason.
func reordered(old, now link.Order) bool {
	return old.Turn != now.Turn || epochs(old) != epochs(now)
}

// epochs is what an order asks for, without the KCVs.
func epochs(o link.Order) string {
	s := fmt.Sprint(o.Send.Epoch)
	for _, k := range o.Accept {
		s += fmt.Sprint(" ", k.Epoch)
	}
	return s
}

// addOrders puts the orders that have changed, and deletes those that stand where
// no node of the link is any more.
func (s *Store) addOrders(u *unit, old document) error {
	id, sites := u.doc.Record.Link, u.doc.Sites
	before := link.Orders(old.Record.State)
	for _, o := range link.Orders(u.doc.Record.State) {
		var had *link.Order
		if i := slices.IndexFunc(before, func(b link.Order) bool { return b.Node == o.Node }); i >= 0 && old.Sites[o.Node] == sites[o.Node] {
			had = &before[i]
		}
		if had != nil && !reordered(*had, o) {
			continue
		}
		if err := u.seen.permits(id, sites[o.Node], o, had); err != nil {
			return err
		}
		order := u.doc.order(o)
		if err := u.put(s.keys.order(order.Site, order.Node, id), order); err != nil {
			return err
		}
	}
	for _, n := range slices.Sorted(maps.Keys(old.Sites)) {
		if site := old.Sites[n]; sites[n] != site {
			u.ops = append(u.ops, clientv3.OpDelete(s.keys.order(site, n, id)))
		}
	}
	return nil
}

func (u *unit) put(key string, doc any) error {
	b, err := json.Marshal(doc)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "commit %s: write %s", u.doc.Record.Link, key)
	}
	u.ops = append(u.ops, clientv3.OpPut(key, string(b)))
	u.size += len(key) + len(b)
	return nil
}
