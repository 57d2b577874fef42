package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// PutMaintenance begins the maintenance of a site, or changes it. It says so in the trail,
// with the records that come with it; so do the three below. Faults: Invalid
// for a name that cannot be.
func (s *Store) PutMaintenance(ctx context.Context, m topology.Maintenance, records ...audit.Record) error {
	if err := validNames(m.Site); err != nil {
		return fault.Wrap(fault.Invalid, err, "begin a maintenance")
	}
	own := audit.Record{Kind: audit.Standing, Verb: audit.MaintenanceBegan, Site: m.Site, Reason: m.Reason,
		Details: map[string]string{"until": m.Until.UTC().Format(time.RFC3339)}}
	return s.decide(ctx, s.keys.maintenance(m.Site), m, append(records, own))
}

// EndMaintenance ends the maintenance of a site. Faults: Refused when there is
// none, also after an earlier call whose answer was lost, and Invalid for a name
// that cannot be.
func (s *Store) EndMaintenance(ctx context.Context, site keychain.SiteID, records ...audit.Record) error {
	if err := validNames(site); err != nil {
		return fault.Wrap(fault.Invalid, err, "end a maintenance")
	}
	own := audit.Record{Kind: audit.Standing, Verb: audit.MaintenanceEnded, Site: site}
	return s.undecide(ctx, s.keys.maintenance(site), "end the maintenance of site "+string(site)+": there is none", append(records, own))
}

// Exclude takes a node or a site out, in place of an earlier exclusion of it.
// Faults: Invalid for a name that cannot be, or when not exactly one of Node and
// Site is set.
func (s *Store) Exclude(ctx context.Context, x topology.Exclusion, records ...audit.Record) error {
	key, _, err := s.exclusionKey(x)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "exclude")
	}
	own := audit.Record{Kind: audit.Standing, Verb: audit.Excluded, Node: x.Node, Site: x.Site, Reason: x.Reason, Campaign: x.Campaign}
	return s.decide(ctx, key, x, append(records, own))
}

// Readmit deletes the exclusion of x's Node or Site; nothing else of x counts.
// Faults: Refused when there is none, also after an earlier call whose answer was
// lost, and Invalid as for Exclude.
func (s *Store) Readmit(ctx context.Context, x topology.Exclusion, records ...audit.Record) error {
	key, what, err := s.exclusionKey(x)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "readmit")
	}
	own := audit.Record{Kind: audit.Standing, Verb: audit.ReadmittedAgain, Node: x.Node, Site: x.Site}
	return s.undecide(ctx, key, "readmit "+what+": it is not excluded", append(records, own))
}

// exclusionKey is where x stands, and whom it is about.
func (s *Store) exclusionKey(x topology.Exclusion) (key, what string, err error) {
	switch {
	case (x.Node == "") == (x.Site == ""):
		return "", "", errors.New("name a node or a site, and not both")
	case x.Node != "":
		return s.keys.excludedNode(x.Node), "node " + string(x.Node), validNames(x.Node)
	}
	return s.keys.excludedSite(x.Site), "site " + string(x.Site), validNames(x.Site)
}

// decide writes one decision, with its records.
func (s *Store) decide(ctx context.Context, key string, v any, records []audit.Record) error {
	n, err := s.note(records)
	if err != nil {
		return err
	}
	doc, err := json.Marshal(v)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "write %s", key)
	}
	_, _, err = s.transact(ctx, nil, append(s.inbox(n), clientv3.OpPut(key, string(doc)))...)
	return s.failed(ctx, err, "write %s to etcd", key)
}

// undecide deletes one decision, and is Refused with none when it does not stand.
func (s *Store) undecide(ctx context.Context, key, none string, records []audit.Record) error {
	n, err := s.note(records)
	if err != nil {
		return err
	}
	exists := clientv3.Compare(clientv3.ModRevision(key), ">", 0)
	held, _, err := s.transact(ctx, []clientv3.Cmp{exists}, append(s.inbox(n), clientv3.OpDelete(key))...)
	if err == nil && !held {
		return fault.New(fault.Refused, "%s", none)
	}
	return s.failed(ctx, err, "delete %s from etcd", key)
}

// Standing is what operators have decided for a time. A broken document is named by
// a Mismatch error, which comes with the rest. A broken maintenance is left out, and
// a broken exclusion is not: whom it is about is in its key, and who was shut out
// must not come back by an accident.
func (s *Store) Standing(ctx context.Context) (topology.Standing, error) {
	maintenance, errM := readAll(ctx, s, s.keys.allMaintenance(), s.maintenance)
	if errM != nil && !fault.Is(errM, fault.Mismatch) {
		return topology.Standing{}, errM
	}
	entries, _, err := s.list(ctx, s.keys.exclusions())
	if err != nil {
		return topology.Standing{}, err
	}
	errs := []error{errM}
	var exclusions []topology.Exclusion
	for _, e := range entries {
		x, err := s.exclusion(e)
		errs = append(errs, err)
		if x.Node != "" || x.Site != "" {
			exclusions = append(exclusions, x)
		}
	}
	return standing(maintenance, exclusions), errors.Join(errs...)
}

// maintenance reads one maintenance.
func (s *Store) maintenance(e entry) (topology.Maintenance, error) {
	var m topology.Maintenance
	if err := decode(e, &m); err != nil {
		return topology.Maintenance{}, err
	}
	if s.keys.maintenance(m.Site) != e.key {
		return topology.Maintenance{}, broken(e.key)
	}
	return m, nil
}

// exclusion reads one exclusion. Of a broken one it gives what the key says, with
// the error.
func (s *Store) exclusion(e entry) (topology.Exclusion, error) {
	var x topology.Exclusion
	err := decode(e, &x)
	if err == nil {
		if key, _, bad := s.exclusionKey(x); bad == nil && key == e.key {
			return x, nil
		}
	}
	x = topology.Exclusion{Reason: "the document of this exclusion is broken"}
	switch p, ok := s.keys.parse(e.key); {
	case ok && p.names[0] == ofNode:
		x.Node = keychain.NodeID(p.names[1])
	case ok && p.names[0] == ofSite:
		x.Site = keychain.SiteID(p.names[1])
	}
	return x, broken(e.key)
}

// standing puts decisions together, each kind sorted as it is promised.
func standing(maintenance []topology.Maintenance, exclusions []topology.Exclusion) topology.Standing {
	slices.SortFunc(maintenance, func(a, b topology.Maintenance) int { return cmp.Compare(a.Site, b.Site) })
	slices.SortFunc(exclusions, func(a, b topology.Exclusion) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Node, b.Node))
	})
	return topology.Standing{Maintenance: maintenance, Exclusions: exclusions}
}
