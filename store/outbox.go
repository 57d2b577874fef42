package store

import (
	"context"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
)

// Document is one key of the outbox, below its folder, and what stands there: it is for
// package notify to read.
type Document struct {
	Key   string
	Value []byte
}

// outboxHead guards the outbox: who changes what was told writes it as well.
const outboxHead = "head"

// Outbox is what notifications keep: what was told, and what waits to be sent, in the
// order of its keys, as it was at one revision. guard is for WriteOutbox.
func (s *Store) Outbox(ctx context.Context) (documents []Document, guard int64, err error) {
	sp := s.keys.outbox()
	entries, _, err := s.list(ctx, sp)
	if err != nil {
		return nil, 0, err
	}
	for _, e := range entries {
		key := strings.TrimPrefix(e.key, sp.from)
		if key == outboxHead {
			guard = e.mod
		}
		documents = append(documents, Document{Key: key, Value: e.value})
	}
	return documents, guard, nil
}

// OutboxChange is what WriteOutbox does at once: about two thousand documents fit.
type OutboxChange struct {
	// Head takes the place of the head, if there is nothing else there than what Guard
	// names; nil leaves it alone and asks for no guard.
	Head  []byte
	Guard int64
	// Put and Delete must not name one key twice.
	Put     []Document
	Delete  []string
	Records []audit.Record
}

// WriteOutbox changes the outbox in one transaction and gives the next guard. Faults:
// Stale when the head is another one, Invalid for what does not fit.
func (s *Store) WriteOutbox(ctx context.Context, c OutboxChange) (guard int64, err error) {
	folder := s.keys.outbox().from
	trail, err := s.note(c.Records)
	if err != nil {
		return 0, fault.Wrap(fault.Invalid, err, "write the outbox")
	}
	var guards []clientv3.Cmp
	var ops []clientv3.Op
	if c.Head != nil {
		guards = append(guards, at(folder+outboxHead, c.Guard))
		ops = append(ops, clientv3.OpPut(folder+outboxHead, string(c.Head)))
	}
	for _, d := range c.Put {
		ops = append(ops, clientv3.OpPut(folder+d.Key, string(d.Value)))
	}
	for _, k := range c.Delete {
		ops = append(ops, clientv3.OpDelete(folder+k))
	}
	ops = append(ops, s.inbox(trail)...)
	if len(ops) > maxNested {
		return 0, fault.New(fault.Invalid, "write the outbox: %d changes do not fit into one transaction", len(ops))
	}
	held, rev, err := s.transact(ctx, guards, ops...)
	switch {
	case err != nil:
		return 0, s.failed(ctx, err, "write the outbox to etcd")
	case !held:
		return 0, fault.New(fault.Stale, "write the outbox: another worker has written it meanwhile")
	}
	return rev, nil
}
