package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
)

// Inbox implements audit.Ledger. It takes what was written and not what stands there, as far
// back as etcd remembers: an entry that its writer took back is taken all the same.
func (t Trail) Inbox(ctx context.Context, after int64, take func([]audit.Waiting) error) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	entries, rev, err := t.s.list(ctx, t.s.keys.inboxes())
	if err != nil {
		return err
	}
	if after > rev {
		after = 0 // etcd was put back from an older copy, or filled anew
	}
	from := after + 1
	if after == 0 {
		from = rev + 1
	}
	// What stands there from before is not taken yet, or it would be gone.
	old := slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return e.mod >= from })
	if err := t.take(old, take); err != nil {
		return err
	}
	err = t.watch(ctx, from, take)
	if !errors.Is(err, rpctypes.ErrCompacted) {
		return err
	}
	// etcd has forgotten what was written since: what stands there is all that there is.
	if entries, rev, err = t.s.list(ctx, t.s.keys.inboxes()); err != nil {
		return err
	}
	if err := t.take(entries, take); err != nil {
		return err
	}
	return t.watch(ctx, rev+1, take)
}

// watch takes what is written from a revision on, until something fails.
func (t Trail) watch(ctx context.Context, from int64, take func([]audit.Waiting) error) error {
	sp := t.s.keys.inboxes()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var seen atomic.Int64
	seen.Store(from - 1)
	go t.s.noticePutBack(ctx, sp, &seen, cancel)
	// From the revision before, as in followOnce: a watch that begins at one that is yet to
	// come keeps every view on this connection from catching up.
	begin := clientv3.WithRev(max(from-1, 1))
	for resp := range t.s.client.Watch(ctx, sp.from, clientv3.WithRange(sp.to), begin, clientv3.WithFilterDelete()) {
		if err := resp.Err(); errors.Is(err, rpctypes.ErrCompacted) {
			return err
		} else if err != nil {
			return t.s.failed(ctx, err, "watch %s in etcd", sp.from)
		}
		var entries []entry
		for _, ev := range resp.Events {
			if ev.Kv.ModRevision < from {
				continue // it was taken
			}
			entries = append(entries, entry{key: string(ev.Kv.Key), value: ev.Kv.Value, mod: ev.Kv.ModRevision})
		}
		// How far etcd is, is told to all watches of a connection when one asks, and the client
		// resumes from there.
		now := resp.Header.GetRevision()
		if n := len(resp.Events); n > 0 {
			now = resp.Events[n-1].Kv.ModRevision
		}
		seen.Store(max(seen.Load(), now))
		if err := t.take(entries, take); err != nil {
			return err
		}
	}
	return fault.Wrap(fault.Unavailable, errors.Join(ctx.Err(), errors.New("the watch ended")), "watch %s in etcd", sp.from)
}

// take hands entries on, in the order in which they were written.
func (t Trail) take(entries []entry, take func([]audit.Waiting) error) error {
	if len(entries) == 0 {
		return nil
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Or(cmp.Compare(a.mod, b.mod), cmp.Compare(a.key, b.key)) })
	out := make([]audit.Waiting, len(entries))
	for i, e := range entries {
		writer, _, _ := strings.Cut(strings.TrimPrefix(e.key, t.s.keys.inboxes().from), "/")
		out[i] = audit.Waiting{Key: e.key, Writer: writer, Value: e.value, Revision: e.mod}
	}
	return take(out)
}

// Untaken says whether entries of inboxes that were written up to a revision wait still.
func (t Trail) Untaken(ctx context.Context, upTo int64) (bool, error) {
	sp := t.s.keys.inboxes()
	resp, err := t.s.get(ctx, sp.from, clientv3.WithRange(sp.to), clientv3.WithKeysOnly(), clientv3.WithLimit(1),
		clientv3.WithMaxModRev(upTo), clientv3.WithMinModRev(1))
	if err != nil {
		return false, t.s.failed(ctx, err, "read the inboxes in etcd")
	}
	return len(resp.Kvs) > 0, nil
}

// Now is etcd's present revision.
func (t Trail) Now(ctx context.Context) (int64, error) {
	resp, err := t.s.get(ctx, t.s.keys.head(), clientv3.WithKeysOnly())
	if err != nil {
		return 0, t.s.failed(ctx, err, "ask etcd for its revision")
	}
	return resp.Header.GetRevision(), nil
}
