package store

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/fault"
)

// share puts units together that fit into one transaction, with what they have to say in
// the trail, in their order.
func share(units []unit) [][]unit {
	var groups [][]unit
	ops, size := 0, 0
	for _, u := range units {
		if len(groups) == 0 || ops+len(u.ops) >= maxOps || size+u.size > maxBytes {
			groups, ops, size = append(groups, nil), 0, 0
		}
		last := len(groups) - 1
		groups[last] = append(groups[last], u)
		ops, size = ops+len(u.ops), size+u.size
	}
	return groups
}

const (
	// attempts is how often a write with an unknown outcome is looked into before
	// the call gives up.
	attempts = 3
	// touches is how often a write may find that its record was touched, in a way that
	// does not make it stale, before the call gives up: each time it is prepared again.
	touches = 100
)

// write writes a group of units in one transaction. When that does not go
// through, it reads back what became of them and goes on with those that nobody
// has touched, so that only those that are stale themselves are told so. They are
// written under the same guard, which holds at most once: a first attempt whose
// answer was lost cannot happen twice. An error says that etcd is away.
func (s *Store) write(ctx context.Context, group []unit, out []Committed) error {
	for unknown, lost := 0, 0; unknown < attempts && lost < touches; {
		held, rev, err := s.try(ctx, group)
		if held {
			for _, u := range group {
				out[u.index].Revision = rev
			}
			return nil
		}
		if err == nil {
			lost++
		} else {
			unknown++
		}
		err = s.failed(ctx, err, "write %s to etcd", group[0].key)
		switch {
		case fault.Is(err, fault.Refused):
			return err
		case fault.Is(err, fault.Invalid) && len(group) > 1:
			return s.separately(ctx, group, out)
		case fault.Is(err, fault.Invalid):
			out[group[0].index].Err = err
			return nil
		}
		if group, err = s.settle(ctx, group, out); err != nil || len(group) == 0 {
			return err
		}
		if len(group) > 1 && unknown+lost >= attempts {
			return s.separately(ctx, group, out)
		}
	}
	return fault.New(fault.Unavailable, "write %s to etcd: it does not say whether it happened", group[0].key)
}

func (s *Store) separately(ctx context.Context, group []unit, out []Committed) error {
	for i := range group {
		if err := s.write(ctx, group[i:i+1], out); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) try(ctx context.Context, group []unit) (held bool, rev int64, err error) {
	var guards []clientv3.Cmp
	if seen := group[0].seen; seen.at > 0 {
		guards = append(guards, seen.stillTrue(s.keys))
	}
	var ops []clientv3.Op
	var trail notes
	for _, u := range group {
		guards = append(guards, at(u.key, u.base))
		if !u.change.Minted.IsZero() {
			guards = append(guards, at(s.keys.keks(), u.change.MintedAt))
		}
		ops, trail = append(ops, u.ops...), trail.and(u.notes)
	}
	return s.transact(ctx, guards, append(ops, s.inbox(trail)...)...)
}

// settle reads back what became of the units: what it finds written is
// committed, what has moved on is Stale, and the rest, which nobody has touched,
// it returns. They are prepared again: keys may have been wrapped anew meanwhile, and
// somebody excluded.
func (s *Store) settle(ctx context.Context, group []unit, out []Committed) ([]unit, error) {
	keys := []string{s.keys.keks()}
	for _, u := range group {
		keys = append(keys, u.key)
	}
	found, err := s.read(ctx, keys)
	if err != nil {
		return nil, err
	}
	shut, err := s.excluded(ctx)
	if err != nil {
		return nil, err
	}
	var open []unit
	for _, u := range group {
		again, rev, err := s.prepare(u.change, u.given, found[u.key], shut)
		if again.index = u.index; err != nil || rev != 0 {
			out[u.index].Revision, out[u.index].Err = rev, err
			continue
		}
		if !u.change.Minted.IsZero() && found[s.keys.keks()].mod != u.change.MintedAt {
			out[u.index].Err = fault.New(fault.Stale, "commit %s: KEKs were rotated since its key was minted", u.doc.Record.Link)
			continue
		}
		open = append(open, again)
	}
	return open, nil
}
