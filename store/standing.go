package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// PutMaintenance begins the maintenance of a site, or changes it. Faults: Invalid
// for a name that cannot be.
func (s *Store) PutMaintenance(ctx context.Context, m topology.Maintenance) error {
	if err := validNames(m.Site); err != nil {
		return fault.Wrap(fault.Invalid, err, "begin a maintenance")
	}
	return s.decide(ctx, s.keys.maintenance(m.Site), m)
}

// EndMaintenance ends the maintenance of a site. Faults: Refused when there is
// none, also after an earlier call whose answer was lost, and Invalid for a name
// that cannot be.
func (s *Store) EndMaintenance(ctx context.Context, site keychain.SiteID) error {
	if err := validNames(site); err != nil {
		return fault.Wrap(fault.Invalid, err, "end a maintenance")
	}
	return s.undecide(ctx, s.keys.maintenance(site), "end the maintenance of site "+string(site)+": there is none")
}

// Exclude takes a node or a site out, in place of an earlier exclusion of it.
// Faults: Invalid for a name that cannot be, or when not exactly one of Node and
// Site is set.
func (s *Store) Exclude(ctx context.Context, x topology.Exclusion) error {
	key, _, err := s.exclusionKey(x)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "exclude")
	}
	return s.decide(ctx, key, x)
}

// Readmit deletes the exclusion of x's Node or Site; nothing else of x counts.
// Faults: Refused when there is none, also after an earlier call whose answer was
// lost, and Invalid as for Exclude.
func (s *Store) Readmit(ctx context.Context, x topology.Exclusion) error {
	key, what, err := s.exclusionKey(x)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "readmit")
	}
	return s.undecide(ctx, key, "readmit "+what+": it is not excluded")
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

// decide writes one decision.
func (s *Store) decide(ctx context.Context, key string, v any) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "write %s", key)
	}
	_, _, err = s.transact(ctx, nil, clientv3.OpPut(key, string(doc)))
	return s.failed(ctx, err, "write %s to etcd", key)
}

// undecide deletes one decision, and is Refused with none when it does not stand.
func (s *Store) undecide(ctx context.Context, key, none string) error {
	exists := clientv3.Compare(clientv3.ModRevision(key), ">", 0)
	held, _, err := s.transact(ctx, []clientv3.Cmp{exists}, clientv3.OpDelete(key))
	if err == nil && !held {
		return fault.New(fault.Refused, "%s", none)
	}
	return s.failed(ctx, err, "delete %s from etcd", key)
}

// Standing is what operators have decided for a time. A broken document is left
// out and named by a Mismatch error, which comes with the rest.
func (s *Store) Standing(ctx context.Context) (topology.Standing, error) {
	maintenance, errM := readAll(ctx, s, s.keys.allMaintenance(), s.maintenance)
	if errM != nil && !fault.Is(errM, fault.Mismatch) {
		return topology.Standing{}, errM
	}
	exclusions, errX := readAll(ctx, s, s.keys.exclusions(), s.exclusion)
	if errX != nil && !fault.Is(errX, fault.Mismatch) {
		return topology.Standing{}, errX
	}
	return standing(maintenance, exclusions), errors.Join(errM, errX)
}

// maintenance and exclusion read one decision.
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

func (s *Store) exclusion(e entry) (topology.Exclusion, error) {
	var x topology.Exclusion
	if err := decode(e, &x); err != nil {
		return topology.Exclusion{}, err
	}
	if key, _, err := s.exclusionKey(x); err != nil || key != e.key {
		return topology.Exclusion{}, broken(e.key)
	}
	return x, nil
}

// standing puts decisions together, each kind sorted as it is promised.
func standing(maintenance []topology.Maintenance, exclusions []topology.Exclusion) topology.Standing {
	slices.SortFunc(maintenance, func(a, b topology.Maintenance) int { return cmp.Compare(a.Site, b.Site) })
	slices.SortFunc(exclusions, func(a, b topology.Exclusion) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Node, b.Node))
	})
	return topology.Standing{Maintenance: maintenance, Exclusions: exclusions}
}
