package store

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
)

// Trail is the audit trail as it stands in etcd: what audit calls a Ledger. Only a worker
// may write it.
func (s *Store) Trail() Trail { return Trail{s} }

// Trail implements audit.Ledger.
type Trail struct{ s *Store }

// trailPage is how many blocks or checkpoints are read at a time.
const trailPage = 16

// Head is the end of the chain. A head that cannot be read comes with its revision and a
// Mismatch error; a zero Revision says that there is none.
func (t Trail) Head(ctx context.Context) (audit.Head, error) {
	key := t.s.keys.head()
	found, err := t.s.read(ctx, []string{key})
	if err != nil {
		return audit.Head{}, err
	}
	e, ok := found[key]
	if !ok {
		return audit.Head{}, nil
	}
	var h audit.Head
	if err := decode(e, &h); err != nil {
		return audit.Head{Revision: e.mod}, err
	}
	h.Revision = e.mod
	return h, nil
}

// Append implements audit.Ledger.
func (t Trail) Append(ctx context.Context, h audit.Head, blocks []audit.Block, taken []string) (audit.Head, error) {
	var ops []clientv3.Op
	for _, b := range blocks {
		doc, err := b.Encode()
		if err != nil {
			return audit.Head{}, err
		}
		ops = append(ops, clientv3.OpPut(t.s.keys.block(b.First), string(doc)))
	}
	seen := make(map[string]bool, len(taken))
	for _, key := range taken {
		if !seen[key] {
			ops = append(ops, clientv3.OpDelete(key))
		}
		seen[key] = true
	}
	return t.write(ctx, h, ops)
}

// Sign implements audit.Ledger.
func (t Trail) Sign(ctx context.Context, h audit.Head, c audit.Checkpoint) (audit.Head, error) {
	doc, err := json.Marshal(c)
	if err != nil {
		return audit.Head{}, fault.Wrap(fault.Invalid, err, "write checkpoint %d of the trail", c.Number)
	}
	return t.write(ctx, h, []clientv3.Op{clientv3.OpPut(t.s.keys.checkpoint(c.Number), string(doc))})
}

// write writes a head with what comes with it.
func (t Trail) write(ctx context.Context, h audit.Head, ops []clientv3.Op) (audit.Head, error) {
	doc, err := json.Marshal(h)
	if err != nil {
		return audit.Head{}, fault.Wrap(fault.Invalid, err, "write the head of the trail")
	}
	key := t.s.keys.head()
	held, rev, err := t.s.transact(ctx, []clientv3.Cmp{at(key, h.Revision)}, append(ops, clientv3.OpPut(key, string(doc)))...)
	if err != nil {
		return audit.Head{}, t.s.failed(ctx, err, "write the trail to etcd")
	}
	if !held {
		return audit.Head{}, fault.New(fault.Stale, "write the trail to etcd: somebody else wrote its head meanwhile")
	}
	h.Revision = rev
	return h, nil
}

// Blocks implements audit.Ledger. They are read in pages, each at its own revision: what is
// written does not change.
func (t Trail) Blocks(ctx context.Context, from uint64, see func(audit.Block, error) error) error {
	sp := t.s.keys.blocks()
	return t.pages(ctx, span{t.s.keys.block(from), sp.to}, func(e entry) error {
		b, err := t.block(e)
		return see(b, err)
	})
}

// block reads a block. One that is broken has First all the same.
func (t Trail) block(e entry) (audit.Block, error) {
	first, err := strconv.ParseUint(strings.TrimPrefix(e.key, t.s.keys.blocks().from), 10, 64)
	if err != nil || t.s.keys.block(first) != e.key {
		return audit.Block{}, broken(e.key)
	}
	b, err := audit.DecodeBlock(e.value)
	if err != nil || b.First != first {
		return audit.Block{First: first}, broken(e.key)
	}
	return b, nil
}

// Checkpoints implements audit.Ledger.
func (t Trail) Checkpoints(ctx context.Context, from uint64, see func(audit.Checkpoint, error) error) error {
	sp := t.s.keys.checkpoints()
	return t.pages(ctx, span{t.s.keys.checkpoint(from), sp.to}, func(e entry) error {
		c, err := t.checkpoint(e)
		return see(c, err)
	})
}

func (t Trail) checkpoint(e entry) (audit.Checkpoint, error) {
	number, err := strconv.ParseUint(strings.TrimPrefix(e.key, t.s.keys.checkpoints().from), 10, 64)
	if err != nil || t.s.keys.checkpoint(number) != e.key {
		return audit.Checkpoint{}, broken(e.key)
	}
	var c audit.Checkpoint
	if decode(e, &c) != nil || c.Number != number {
		return audit.Checkpoint{Number: number}, broken(e.key)
	}
	return c, nil
}

// Ends implements audit.Ledger.
func (t Trail) Ends(ctx context.Context) (audit.Block, audit.Checkpoint, error) {
	var b audit.Block
	var c audit.Checkpoint
	e, err := t.last(ctx, t.s.keys.blocks())
	if err == nil && e.mod != 0 {
		b, err = t.block(e)
	}
	if err != nil {
		return b, c, err
	}
	e, err = t.last(ctx, t.s.keys.checkpoints())
	if err == nil && e.mod != 0 {
		c, err = t.checkpoint(e)
	}
	return b, c, err
}

func (t Trail) last(ctx context.Context, sp span) (entry, error) {
	resp, err := t.s.get(ctx, sp.from, clientv3.WithRange(sp.to), clientv3.WithLimit(1), clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
	if err != nil {
		return entry{}, t.s.failed(ctx, err, "read the end of %s from etcd", sp.from)
	}
	for _, kv := range resp.Kvs {
		return entry{key: string(kv.Key), value: kv.Value, mod: kv.ModRevision}, nil
	}
	return entry{}, nil
}

// pages reads a span, a few keys at a time.
func (t Trail) pages(ctx context.Context, sp span, see func(entry) error) error {
	for from := sp.from; ; {
		resp, err := t.s.get(ctx, from, clientv3.WithRange(sp.to), clientv3.WithLimit(trailPage))
		if err != nil {
			return t.s.failed(ctx, err, "read %s from etcd", sp.from)
		}
		for _, kv := range resp.Kvs {
			if err := see(entry{key: string(kv.Key), value: kv.Value, mod: kv.ModRevision}); err != nil {
				return err
			}
			from = string(kv.Key) + "\x00"
		}
		if !resp.More || len(resp.Kvs) == 0 {
			return nil
		}
	}
}

// MayArchive is Refused unless this side may take records out of the trail.
func (t Trail) MayArchive(ctx context.Context) error {
	if err := t.s.Try(ctx, grant(Writes, t.s.keys.blocks())); err != nil {
		return fault.Wrap(fault.Of(err), err, "take records out of the trail: use the certificate of root")
	}
	return nil
}

// Archive takes out the records up to a checkpoint, and the checkpoints before it, in one
// transaction, and says so in the trail with record. The checkpoint stays: what follows is anchored
// to it. Faults: Refused when the trail is not at least at the checkpoint, or was archived beyond it.
func (t Trail) Archive(ctx context.Context, c audit.Checkpoint, record audit.Record) error {
	n, err := t.s.note([]audit.Record{record})
	if err != nil {
		return err
	}
	blocks, checkpoints := t.s.keys.blocks(), t.s.keys.checkpoints()
	wait := backoff{}
	for range touches {
		h, err := t.Head(ctx)
		if err != nil {
			return err
		}
		if c.Seq <= h.Archived || c.Seq > h.Signed {
			return fault.New(fault.Refused, "take records out of the trail: it is archived up to record %d and signed up to %d, and the checkpoint is of %d", h.Archived, h.Signed, c.Seq)
		}
		h.Archived = c.Seq
		_, err = t.write(ctx, h, append(t.s.inbox(n),
			clientv3.OpDelete(blocks.from, clientv3.WithRange(t.s.keys.block(c.Seq+1))),
			clientv3.OpDelete(checkpoints.from, clientv3.WithRange(t.s.keys.checkpoint(c.Number)))))
		if !fault.Is(err, fault.Stale) || !wait.sleep(ctx) {
			return err
		}
	}
	return fault.New(fault.Unavailable, "take records out of the trail: its head changes all the time")
}
