package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
)

// maxInbox keeps one entry of an inbox well below what etcd takes as a value, beside
// what else is in its transaction.
const maxInbox = 256 << 10

// Append writes records that come with no other change, in one transaction. After
// Unavailable they may have been written; repeating it may write them twice. Faults:
// Invalid for a record that cannot be, or too many for one transaction (about a megabyte).
func (s *Store) Append(ctx context.Context, records ...audit.Record) error {
	n, err := s.note(records)
	if err != nil || n.empty() {
		return err
	}
	if n.size() > maxBytes {
		return fault.New(fault.Invalid, "append %d records: together they do not fit into one transaction", len(records))
	}
	_, _, err = s.transact(ctx, nil, s.inbox(n)...)
	return s.failed(ctx, err, "append %d records to the inbox in etcd", len(records))
}

// notes are records in JSON, on their way to an inbox.
type notes struct{ raw [][]byte }

func (n notes) empty() bool { return len(n.raw) == 0 }

// size is about how many bytes they take in a transaction.
func (n notes) size() int {
	size := 0
	for _, r := range n.raw {
		size += len(r) + 1
	}
	return size
}

func (n notes) and(o notes) notes { return notes{append(n.raw, o.raw...)} }

// note writes records as JSON. Faults: Invalid.
func (s *Store) note(records []audit.Record) (notes, error) {
	now := time.Now()
	var n notes
	for _, r := range records {
		r, err := r.Complete(now)
		if err != nil {
			return notes{}, err
		}
		raw, err := json.Marshal(r)
		if err == nil && len(raw) > audit.MaxRecord {
			err = fmt.Errorf("it has %d bytes, at most %d fit", len(raw), audit.MaxRecord)
		}
		if err != nil {
			return notes{}, fault.Wrap(fault.Invalid, err, "write a record of kind %s", r.Kind)
		}
		n.raw = append(n.raw, raw)
	}
	return n, nil
}

// inbox is the operations that write notes below the writer's own name: one, unless
// they are many.
func (s *Store) inbox(n notes) []clientv3.Op {
	var ops []clientv3.Op
	for len(n.raw) > 0 {
		count, size := 0, 0
		for count < min(len(n.raw), audit.MaxTogether) && (count == 0 || size+len(n.raw[count]) <= maxInbox) {
			size += len(n.raw[count]) + 1
			count++
		}
		value := slices.Concat([]byte("["), bytes.Join(n.raw[:count], []byte(",")), []byte("]"))
		ops, n.raw = append(ops, clientv3.OpPut(s.keys.inboxEntry(s.writer(), time.Now(), rand.Text()), string(value))), n.raw[count:]
	}
	return ops
}

// writer is the name below which this side's inbox stands: etcd lets nobody else
// write there.
func (s *Store) writer() string {
	if s.wallet == nil {
		return plainWriter
	}
	return s.User()
}

// plainWriter is who writes without TLS, where nobody has a name.
const plainWriter = "nobody"
