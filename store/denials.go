package store

import (
	"context"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// Deny writes that a campaign did not begin some links, and says so in the trail. Repeating it is safe, and
// a denial of the same link is replaced. About four thousand go into one
// transaction; after an error a part of more may have been written. Faults:
// Invalid for a name that cannot be.
func (s *Store) Deny(ctx context.Context, name string, denials []campaign.Denial) error {
	var docs []doc
	// A transaction writes no key twice: the last word about a link counts.
	last := make(map[keychain.LinkID]int, len(denials))
	for i, d := range denials {
		if err := validNames(d.Link); err != nil {
			return fault.Wrap(fault.Invalid, err, "deny %q in campaign %s", d.Link, name)
		}
		last[d.Link] = i
	}
	if err := validCampaign(name); err != nil {
		return fault.Wrap(fault.Invalid, err, "deny links")
	}
	known, err := s.deniedBefore(ctx, name)
	if err != nil {
		return err
	}
	for i, d := range denials {
		if last[d.Link] != i {
			continue
		}
		one := doc{key: s.keys.denial(name, d.Link), value: d}
		if why, said := known[d.Link]; !said || why != d.Reason {
			one.records = []audit.Record{{Kind: audit.Denial, Verb: "not begun", At: d.At, Link: d.Link, Site: d.Site, Campaign: name, Reason: d.Reason}}
		}
		docs = append(docs, one)
	}
	return s.putAll(ctx, name, docs)
}

// deniedBefore is why the campaign did not begin links, as far as that stands there: what
// is repeated is said once in the trail.
func (s *Store) deniedBefore(ctx context.Context, name string) (map[keychain.LinkID]string, error) {
	entries, _, err := s.list(ctx, s.keys.denials(name))
	if err != nil {
		return nil, err
	}
	known := make(map[keychain.LinkID]string, len(entries))
	for _, e := range entries {
		if d, err := s.denial(name, e); err == nil {
			known[d.Link] = d.Reason
		}
	}
	return known, nil
}

// Denials gives the links that a campaign did not begin, sorted by link. A broken
// document is left out and named by a Mismatch error, which comes with the rest.
// Faults: Invalid for a name that cannot be.
func (s *Store) Denials(ctx context.Context, name string) ([]campaign.Denial, error) {
	if err := validCampaign(name); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "read denials")
	}
	return readAll(ctx, s, s.keys.denials(name), func(e entry) (campaign.Denial, error) { return s.denial(name, e) })
}

// denial reads a denial of a campaign.
func (s *Store) denial(name string, e entry) (campaign.Denial, error) {
	var d campaign.Denial
	if err := decode(e, &d); err != nil {
		return campaign.Denial{}, err
	}
	if s.keys.denial(name, d.Link) != e.key {
		return campaign.Denial{}, broken(e.key)
	}
	return d, nil
}

// Undeny deletes the denials of some links of a campaign. It is no error when
// there are none. Faults: Invalid for a name that cannot be.
func (s *Store) Undeny(ctx context.Context, name string, links []keychain.LinkID) error {
	err := validCampaign(name)
	if err == nil {
		err = validNames(links...)
	}
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "delete denials of campaign %s", name)
	}
	for chunk := range slices.Chunk(slices.Compact(slices.Sorted(slices.Values(links))), maxNested) {
		ops := make([]clientv3.Op, len(chunk))
		for i, id := range chunk {
			ops[i] = clientv3.OpDelete(s.keys.denial(name, id))
		}
		if _, _, err := s.transact(ctx, nil, ops...); err != nil {
			return s.failed(ctx, err, "delete denials of campaign %s", name)
		}
	}
	return nil
}
