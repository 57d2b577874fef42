package store

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/fault"
)

// volatile are the folders that hang on leases, or that nobody needs again.
func volatile(folder string) bool {
	return slices.Contains([]string{inAgents, inDuties, inRecovery, inRestoring}, folder)
}

// DumpAt is the revision at which a Dump that begins now would read.
func (s *Store) DumpAt(ctx context.Context) (int64, error) {
	resp, err := s.get(ctx, s.keys.everything().from, clientv3.WithRange(s.keys.everything().to), clientv3.WithCountOnly())
	if err != nil {
		return 0, s.failed(ctx, err, "ask etcd for its revision")
	}
	return resp.Header.GetRevision(), nil
}

// Dump gives to put everything below the prefix as it was at a revision, page by page,
// with keys that have no prefix; but not who serves what just now. An error of put ends
// it. Faults: Unavailable also when etcd has compacted that revision meanwhile.
func (s *Store) Dump(ctx context.Context, revision int64, put func(key string, value []byte) error) error {
	all := s.keys.everything()
	for from := all.from; ; {
		resp, err := s.get(ctx, from, clientv3.WithRange(all.to), clientv3.WithLimit(page/4), clientv3.WithRev(revision))
		if err != nil {
			return s.failed(ctx, err, "read everything from etcd at revision %d", revision)
		}
		for _, kv := range resp.Kvs {
			key := strings.TrimPrefix(string(kv.Key), all.from)
			if folder, _, _ := strings.Cut(key, "/"); volatile(folder) {
				continue
			}
			if err := put(key, kv.Value); err != nil {
				return err
			}
		}
		if !resp.More || len(resp.Kvs) == 0 {
			return nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// CheckDumped says what is wrong with one entry of a Dump, before anything is written.
// Faults: Invalid.
func (s *Store) CheckDumped(key string, value []byte) error {
	e := entry{key: s.keys.everything().from + key, value: value, mod: 1}
	folder, _, _ := strings.Cut(key, "/")
	p, ok := s.keys.parse(e.key)
	var err error
	switch {
	case volatile(folder):
		err = fault.New(fault.Invalid, "that folder is none that a backup has")
	case folder == inTopology:
		err = declared{}.put(s.keys, e)
	case folder == inLinks:
		_, err = s.document(e)
	case folder == inOrders:
		_, err = s.keys.ordered(e)
	case folder == inEnrolments:
		_, err = s.enrolment(e)
	case folder == inPast:
		_, err = s.past(e)
	case folder == inObservations:
		var o Observation
		if err = decode(e, &o); err == nil && (!ok || o.Link != p.link() || o.Node != p.node() || o.Site != p.site()) {
			err = broken(e.key)
		}
	case len(value) > 0 && folder != inTrail && !json.Valid(value):
		err = fault.New(fault.Invalid, "it is no JSON")
	}
	return fault.Wrap(fault.Invalid, err, "restore %s", key)
}

// Restoration writes the entries of a Dump into an etcd that has nothing else.
type Restoration struct {
	s *Store
	// again says that a restore of the same backup was cut off before: what stands is of
	// it, or it is not gone on with.
	again bool
	due   []entry
	size  int
}

// Restore begins to restore the backup with this checksum. A restore that was cut off is
// gone on with, if it was the same backup. Only the administrator may. Faults: Refused
// when there is something else below the prefix already.
func (s *Store) Restore(ctx context.Context, sum string) (*Restoration, error) {
	all, mark := s.keys.everything(), s.keys.restoring()
	begun, err := s.restoring(ctx)
	if err != nil {
		return nil, err
	}
	switch begun {
	case sum:
		return &Restoration{s: s, again: true}, nil
	case "":
	default:
		return nil, fault.New(fault.Refused, "restore: the restore of another backup was begun and not ended: go on with that one, or empty etcd")
	}
	resp, err := s.get(ctx, all.from, clientv3.WithRange(all.to), clientv3.WithKeysOnly(), clientv3.WithLimit(5*page))
	if err != nil {
		return nil, s.failed(ctx, err, "look whether etcd is empty")
	}
	for _, kv := range resp.Kvs {
		key := strings.TrimPrefix(string(kv.Key), all.from)
		folder, _, _ := strings.Cut(key, "/")
		if !volatile(folder) && !strings.HasPrefix(string(kv.Key), s.keys.inboxes().from) {
			return nil, fault.New(fault.Refused, "restore: etcd is not empty: it has %s: a backup is restored into an empty etcd only, with the workers stopped", key)
		}
	}
	_, _, err = s.transact(ctx, nil, clientv3.OpPut(mark, sum))
	return &Restoration{s: s}, s.failed(ctx, err, "begin to restore in etcd")
}

// restoring is the checksum of the backup whose restore was begun and not ended; empty
// for none.
func (s *Store) restoring(ctx context.Context) (string, error) {
	mark := s.keys.restoring()
	found, err := s.read(ctx, []string{mark})
	return string(found[mark].value), err
}

// Whole is Refused while a backup has been restored in part: whoever took that for all
// there is would drive links by half of what is known of them.
func (s *Store) Whole(ctx context.Context) error {
	sum, err := s.restoring(ctx)
	if err == nil && sum != "" {
		err = fault.New(fault.Refused, "use what is in etcd: the restore of a backup was begun and has not ended: run keyorch restore again, with the file of checksum %s", sum)
	}
	return err
}

// Put writes an entry, some together with others. Faults: Refused when a restore is gone
// on with, and somebody has written meanwhile what is not of the backup.
func (r *Restoration) Put(ctx context.Context, key string, value []byte) error {
	if len(r.due) >= maxOps || r.size+len(key)+len(value) > maxBytes/2 {
		if err := r.Flush(ctx); err != nil {
			return err
		}
	}
	r.due = append(r.due, entry{key: r.s.keys.everything().from + key, value: value})
	r.size += len(key) + len(value)
	return nil
}

// Flush writes what Put has not written yet.
func (r *Restoration) Flush(ctx context.Context) error {
	if len(r.due) == 0 {
		return nil
	}
	due, err := r.missing(ctx)
	if err != nil {
		return err
	}
	var puts []clientv3.Op
	var guards []clientv3.Cmp
	for _, e := range due {
		puts = append(puts, clientv3.OpPut(e.key, string(e.value)))
		guards = append(guards, at(e.key, 0))
	}
	if len(puts) > 0 {
		held, _, err := r.s.transact(ctx, guards, puts...)
		if err != nil {
			return r.s.failed(ctx, err, "restore into etcd")
		}
		if !held {
			return fault.New(fault.Refused, "restore: somebody writes into etcd meanwhile: stop the workers, and run it again")
		}
	}
	r.due, r.size = nil, 0
	return nil
}

// missing is what is due and does not stand yet.
func (r *Restoration) missing(ctx context.Context) ([]entry, error) {
	if !r.again {
		return r.due, nil
	}
	keys := make([]string, len(r.due))
	for i, e := range r.due {
		keys[i] = e.key
	}
	found, err := r.s.read(ctx, keys)
	if err != nil {
		return nil, err
	}
	var missing []entry
	for _, e := range r.due {
		stands, ok := found[e.key]
		switch {
		case !ok:
			missing = append(missing, e)
		case !bytes.Equal(stands.value, e.value):
			return nil, fault.New(fault.Refused, "restore: %s is not as in the backup: somebody has written it since the restore was cut off: empty etcd, and restore again",
				strings.TrimPrefix(e.key, r.s.keys.everything().from))
		}
	}
	return missing, nil
}

// End writes the rest, and ends the restoration: only now is what stands in etcd whole.
func (r *Restoration) End(ctx context.Context) error {
	if err := r.Flush(ctx); err != nil {
		return err
	}
	_, _, err := r.s.transact(ctx, nil, clientv3.OpDelete(r.s.keys.restoring()))
	return r.s.failed(ctx, err, "end the restore in etcd")
}
