package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// document is a link as it stands in etcd.
type document struct {
	Record link.Record `json:"record"`
	// Keys are the wrapped keys of State.From and State.To, and no others.
	Keys map[keychain.Epoch]keychain.Wrapped `json:"keys,omitempty"`
	// Sites says where the order of each node was written, so that it can be
	// deleted when the node leaves or moves.
	Sites map[keychain.NodeID]keychain.SiteID `json:"sites,omitempty"`
	// Changed is the revision of the last Commit, when the keys were wrapped anew
	// since: that is no change of the record, and whoever drives the link goes on from
	// the revision that it knows.
	Changed int64 `json:"changed,omitempty"`
}

// sameAs reports whether d, as it stands in etcd, is what other would write
// apart from the wrapped keys: who repeats a change after an unknown outcome
// may have had the key minted again, and the one in etcd is the one that counts.
func (d document) sameAs(other document) bool {
	a, errA := json.Marshal(d.unrevised())
	b, errB := json.Marshal(other.unrevised())
	return errA == nil && errB == nil && string(a) == string(b) && maps.Equal(d.Sites, other.Sites)
}

// unrevised is the record as it is written: etcd itself knows the revision.
func (d document) unrevised() link.Record {
	r := d.Record
	r.Revision = 0
	return r
}

func (s *Store) document(e entry) (document, error) {
	var d document
	if err := decode(e, &d); err != nil {
		return document{}, err
	}
	if s.keys.link(d.Record.Link) != e.key {
		return document{}, broken(e.key)
	}
	d.Record.Revision = cmp.Or(d.Changed, e.mod)
	return d, nil
}

// Records gives the records of links, in their order, or of all links, sorted,
// when links is nil. Links without a record are left out. A broken document is
// left out too and named by a Mismatch error, which comes with the rest.
func (s *Store) Records(ctx context.Context, links []keychain.LinkID) ([]link.Record, error) {
	entries, err := s.linkEntries(ctx, links)
	if err != nil {
		return nil, err
	}
	records := make([]link.Record, 0, len(entries))
	var errs []error
	for _, e := range entries {
		d, err := s.document(e)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		records = append(records, d.Record)
	}
	return records, errors.Join(errs...)
}

func (s *Store) linkEntries(ctx context.Context, links []keychain.LinkID) ([]entry, error) {
	if links == nil {
		entries, _, err := s.list(ctx, s.keys.links())
		return entries, err
	}
	keys := make([]string, len(links))
	for i, id := range links {
		keys[i] = s.keys.link(id)
	}
	found, err := s.read(ctx, keys)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, k := range keys {
		if e, ok := found[k]; ok {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// KEKs names, for each node, the key-encryption keys under which the keys in its
// orders are wrapped: what its agent must be able to open until they are retired,
// whatever is declared by now. A broken record is left out and named by a
// Mismatch error, which comes with the rest.
func (s *Store) KEKs(ctx context.Context) (map[keychain.SiteID]map[keychain.NodeID][]string, error) {
	entries, err := s.linkEntries(ctx, nil)
	if err != nil {
		return nil, err
	}
	names := make(map[keychain.SiteID]map[keychain.NodeID][]string)
	var errs []error
	for _, e := range entries {
		d, err := s.document(e)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for node, site := range d.Sites {
			if names[site] == nil {
				names[site] = make(map[keychain.NodeID][]string)
			}
			for _, w := range d.Keys {
				if !slices.Contains(names[site][node], w.KEK) {
					names[site][node] = append(names[site][node], w.KEK)
				}
			}
		}
	}
	return names, errors.Join(errs...)
}
