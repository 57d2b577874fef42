package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
)

// PutCampaign writes a campaign's record over the revision that Record.Revision
// names (zero: it must not exist), and gives the new one. Faults: Stale when it
// has moved on, Invalid for a name that cannot be or a record that does not fit
// (1.5 MiB), Mismatch when what stands there is broken. A repeated call is safe:
// content that is already there counts as written.
//
// When the campaign comes into another state, that is said in the trail, with the records
// that come with it.
//
// A name is like that of a link (keychain.ValidName), and up to 200 bytes long.
func (s *Store) PutCampaign(ctx context.Context, r campaign.Record, records ...audit.Record) (int64, error) {
	if err := validCampaign(r.Name); err != nil {
		return 0, fault.Wrap(fault.Invalid, err, "write a campaign")
	}
	base := r.Revision
	r.Revision = 0 // etcd itself knows it
	doc, err := json.Marshal(r)
	if err != nil {
		return 0, fault.Wrap(fault.Invalid, err, "write campaign %s", r.Name)
	}
	key := s.keys.campaign(r.Name)
	n, err := s.campaignNotes(ctx, r, base, records)
	if err != nil {
		return 0, err
	}
	for range attempts {
		held, rev, err := s.transact(ctx, []clientv3.Cmp{at(key, base)}, append(s.inbox(n), clientv3.OpPut(key, string(doc)))...)
		if held {
			return rev, nil
		}
		err = s.failed(ctx, err, "write campaign %s", r.Name)
		if fault.Is(err, fault.Refused) || fault.Is(err, fault.Invalid) {
			return 0, err
		}
		// Either it has moved on, or it is not known whether this happened.
		found, err := s.read(ctx, []string{key})
		if err != nil {
			return 0, err
		}
		switch e := found[key]; {
		case e.mod == base:
		case e.mod != 0 && string(e.value) == string(doc):
			return e.mod, nil
		case e.mod != 0 && !json.Valid(e.value):
			return 0, broken(key)
		default:
			return 0, fault.New(fault.Stale, "write campaign %s: somebody else changed it meanwhile", r.Name)
		}
	}
	return 0, fault.New(fault.Unavailable, "write campaign %s: etcd does not say whether it happened", r.Name)
}

// campaignNotes are records, with that of a new state.
func (s *Store) campaignNotes(ctx context.Context, r campaign.Record, base int64, records []audit.Record) (notes, error) {
	var before campaign.Record
	if base != 0 {
		found, err := s.read(ctx, []string{s.keys.campaign(r.Name)})
		if err != nil {
			return notes{}, err
		}
		// What cannot be read, or has moved on, ends the call later.
		before, _ = s.campaign(found[s.keys.campaign(r.Name)])
	}
	if before.State != r.State {
		own := audit.Record{Kind: audit.Campaign, Verb: string(r.State), Campaign: r.Name, Reason: r.Reason,
			Details: map[string]string{"kind": string(r.Kind), "asked by": r.By}}
		if r.Asked != "" {
			own.Details["asked"] = r.Asked
		}
		if r.State == campaign.Ended {
			t := r.Tally
			own.Outcome = fmt.Sprintf("%d links: %d rotated, %d held, %d aborted, %d refused, %d skipped, %d superseded",
				t.Links, t.Rotated, t.Held, t.Aborted, t.Refused, t.Skipped, t.Superseded)
		}
		records = append(records, own)
	}
	return s.note(records)
}

// Campaigns gives the record of every campaign, sorted by name. A broken document
// is left out and named by a Mismatch error, which comes with the rest.
func (s *Store) Campaigns(ctx context.Context) ([]campaign.Record, error) {
	return readAll(ctx, s, s.keys.campaigns(), s.campaign)
}

// campaign reads a campaign's record.
func (s *Store) campaign(e entry) (campaign.Record, error) {
	var r campaign.Record
	if err := decode(e, &r); err != nil {
		return campaign.Record{}, err
	}
	if s.keys.campaign(r.Name) != e.key {
		return campaign.Record{}, broken(e.key)
	}
	r.Revision = e.mod
	return r, nil
}

// DropCampaign deletes a campaign's record, its batches and its denials, in one
// transaction. It is no error when there are none. The histories of its links
// stay. Faults: Invalid for a name that cannot be.
func (s *Store) DropCampaign(ctx context.Context, name string) error {
	if err := validCampaign(name); err != nil {
		return fault.Wrap(fault.Invalid, err, "drop a campaign")
	}
	ops := []clientv3.Op{clientv3.OpDelete(s.keys.campaign(name))}
	for _, sp := range []span{s.keys.batches(name), s.keys.denials(name)} {
		ops = append(ops, clientv3.OpDelete(sp.from, clientv3.WithRange(sp.to)))
	}
	_, _, err := s.transact(ctx, nil, ops...)
	return s.failed(ctx, err, "drop campaign %s", name)
}

// PutBatches writes which links the workflows of a campaign drive. Repeating it is
// safe, and a batch that is there already is replaced. What does not fit into one
// transaction (about a megabyte) is written in several; after an error a part may
// have been. Faults: Invalid for a name or a number that cannot be: a batch's
// Number is from 0 to 999999.
func (s *Store) PutBatches(ctx context.Context, name string, batches []campaign.Batch) error {
	docs := make([]doc, 0, len(batches))
	for _, b := range batches {
		err := validNames(b.Links...)
		if err == nil && (b.Number < 0 || b.Number > maxBatch) {
			err = fmt.Errorf("its number is not from 0 to %d", maxBatch)
		}
		if err != nil {
			return fault.Wrap(fault.Invalid, err, "write batch %d of campaign %s", b.Number, name)
		}
		docs = append(docs, doc{key: s.keys.batch(name, b.Number), value: b})
	}
	return s.putAll(ctx, name, docs)
}

// maxBatch keeps the order of the keys that of the numbers.
const maxBatch = 999_999

// Batches gives count batches of a campaign from number first on, or as many of
// them as there are, sorted by number. A broken document is left out and named by
// a Mismatch error, which comes with the rest. Faults: Invalid for a name that
// cannot be.
func (s *Store) Batches(ctx context.Context, name string, first, count int) ([]campaign.Batch, error) {
	if err := validCampaign(name); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "read batches")
	}
	first, end := max(first, 0), first+min(count, maxBatch+1)
	if end <= first || first > maxBatch {
		return nil, nil
	}
	sp := s.keys.batches(name)
	sp.from = s.keys.batch(name, first)
	if end <= maxBatch {
		sp.to = s.keys.batch(name, end)
	}
	return readAll(ctx, s, sp, func(e entry) (campaign.Batch, error) { return s.batch(name, e) })
}

// batch reads a batch of a campaign.
func (s *Store) batch(name string, e entry) (campaign.Batch, error) {
	var b campaign.Batch
	if err := decode(e, &b); err != nil {
		return campaign.Batch{}, err
	}
	if s.keys.batch(name, b.Number) != e.key {
		return campaign.Batch{}, broken(e.key)
	}
	return b, nil
}

// readAll reads every document of a span, in the order of the keys. A broken one
// is left out and named by an error, which comes with the rest.
func readAll[T any](ctx context.Context, s *Store, sp span, read func(entry) (T, error)) ([]T, error) {
	entries, _, err := s.list(ctx, sp)
	if err != nil {
		return nil, err
	}
	all := make([]T, 0, len(entries))
	var errs []error
	for _, e := range entries {
		v, err := read(e)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, v)
	}
	return all, errors.Join(errs...)
}

// doc is a document on its way to etcd, and what is said of it in the trail.
type doc struct {
	key     string
	value   any
	records []audit.Record
}

// putAll writes documents of a campaign, in as few transactions as will do.
func (s *Store) putAll(ctx context.Context, name string, docs []doc) error {
	if err := validCampaign(name); err != nil {
		return fault.Wrap(fault.Invalid, err, "write what belongs to a campaign")
	}
	var ops []clientv3.Op
	var trail notes
	size := 0
	flush := func() error {
		if len(ops) == 0 {
			return nil
		}
		_, _, err := s.transact(ctx, nil, append(ops, s.inbox(trail)...)...)
		ops, size, trail = nil, 0, notes{}
		return s.failed(ctx, err, "write what belongs to campaign %s", name)
	}
	for _, d := range docs {
		b, err := json.Marshal(d.value)
		if err != nil {
			return fault.Wrap(fault.Invalid, err, "write %s", d.key)
		}
		n, err := s.note(d.records)
		if err != nil {
			return err
		}
		if len(ops) >= maxNested-nestOps || size+len(d.key)+len(b)+n.size() > maxBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		ops, size = append(ops, clientv3.OpPut(d.key, string(b))), size+len(d.key)+len(b)+n.size()
		trail = trail.and(n)
	}
	return flush()
}
