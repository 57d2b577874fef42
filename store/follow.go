package store

import (
	"context"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/fault"
)

// change is what happened to one key.
type change struct {
	entry
	deleted bool
}

// follower is told what stands in a span, and then everything that happens to
// it, one call after the other.
type follower interface {
	// load replaces everything: the span as it was at revision rev.
	load(entries []entry, rev int64)
	// apply gives what happened up to revision rev, in order; often nothing.
	apply(changes []change, rev int64)
}

// follow keeps f told until ctx ends: it reads the span at one revision and
// watches from the next. After a compaction, a cancelled watch, or a partition,
// it reads the span anew. It waits while etcd is away, and gives up only when
// etcd denies the permission (Refused).
func (s *Store) follow(ctx context.Context, sp span, f follower) error {
	wait := backoff{}
	for {
		err := s.followOnce(ctx, sp, f, &wait)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case fault.Is(err, fault.Refused):
			return err
		}
		if !wait.sleep(ctx) {
			return ctx.Err()
		}
	}
}

// followOnce lists and watches until the watch breaks. The client's own watch
// comes back by itself from a lost connection; RequireLeader breaks it when the
// server at the other end is cut off from the rest.
func (s *Store) followOnce(ctx context.Context, sp span, f follower, wait *backoff) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	entries, rev, err := s.list(ctx, sp)
	if err != nil {
		return err
	}
	f.load(entries, rev)
	if a, ok := f.(asker); ok {
		ctx = s.ownStream(ctx)
		a.watchesOn(ctx)
	}
	var seen atomic.Int64
	seen.Store(rev)
	go s.noticePutBack(ctx, sp, &seen, cancel)
	// From rev on, and not from the next: etcd answers nobody on a connection how far it is
	// while one of its watches begins at a revision that is yet to come, and in a quiet
	// fleet it does not come.
	opts := []clientv3.OpOption{clientv3.WithRange(sp.to), clientv3.WithRev(rev), clientv3.WithProgressNotify()}
	for resp := range s.client.Watch(ctx, sp.from, opts...) {
		if err := resp.Err(); err != nil {
			return s.failed(ctx, err, "watch %s in etcd", sp.from)
		}
		now := resp.Header.GetRevision()
		if now < rev {
			// An etcd that was put back from an older copy: what was seen after that
			// never happened.
			return fault.New(fault.Unavailable, "watch %s in etcd: revision %d is followed by %d", sp.from, rev, now)
		}
		var changes []change
		for _, ev := range resp.Events {
			if ev.Kv.ModRevision <= rev {
				now = rev // it was read; what else there is may come with the next part
				continue
			}
			changes = append(changes, change{
				entry:   entry{key: string(ev.Kv.Key), value: ev.Kv.Value, mod: ev.Kv.ModRevision},
				deleted: ev.Type == clientv3.EventTypeDelete,
			})
			// A watch that is catching up is told the newest revision with every part.
			now = ev.Kv.ModRevision
		}
		rev = max(rev, now)
		seen.Store(rev)
		f.apply(changes, rev)
		wait.reset()
	}
	return fault.New(fault.Unavailable, "watch %s in etcd: the watch ended", sp.from)
}
