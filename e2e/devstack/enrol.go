package devstack

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// enrolAtOnce bounds how many identities are enrolled side by side.
const enrolAtOnce = 8

// guardEtcd has etcd let each identity do its own work only, as "keyorch bootstrap"
// does.
func (s *Stack) guardEtcd(ctx context.Context) error {
	if s.plain || s.empty {
		return nil
	}
	return s.asRoot(ctx, func(root *store.Store) error {
		_, err := root.PrepareAccess(ctx, nil, false)
		return err
	})
}

// asRoot opens the store as the administrator for f.
func (s *Stack) asRoot(ctx context.Context, f func(*store.Store) error) error {
	root, err := store.Open(ctx, s.etcdWith(identity.Identity{Role: identity.Admin}))
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return f(root)
}

// enrol lets an identity into etcd and Vault, as "keyorch enroll" does, and gives it a
// certificate, the first time. Later nothing is done: whoever was revoked since then
// stays out.
func (s *Stack) enrol(ctx context.Context, who identity.Identity) error {
	if s.plain || s.authority.vouchesFor(s.directory(who)) {
		return nil
	}
	_, err, _ := s.enrolling.Do(who.CommonName(), func() (any, error) {
		if err := s.asRoot(ctx, func(root *store.Store) error { return s.letIn(ctx, root, who) }); err != nil {
			return nil, err
		}
		return nil, s.authority.client(s.directory(who), who) // the last: then it is enrolled
	})
	return err
}

func (s *Stack) letIn(ctx context.Context, root *store.Store, who identity.Identity) error {
	e := custody.Enrolment{Identity: who, Auth: identity.ByCertificate}
	if who.Role == identity.Agent {
		t, inUse, err := standing(ctx, root)
		if err != nil {
			return err
		}
		e.KEKs = wiring.KEKsOf(t, inUse, who)
	}
	if err := record(ctx, root, who); err != nil {
		return err
	}
	if _, err := root.Admit(ctx, who); err != nil {
		return err
	}
	_, err := custody.Administration{Vault: s.admin}.Enrol(ctx, e)
	return err
}

// standing is what is declared, and which KEKs are in use, without who is excluded.
func standing(ctx context.Context, records *store.Store) (t topology.Topology, inUse wiring.InUse, err error) {
	if t, err = records.Topology(ctx); err != nil {
		return t, nil, err
	}
	excluded, err := records.Standing(ctx)
	if err != nil {
		return t, nil, err
	}
	inUse, err = records.KEKs(ctx)
	for _, e := range excluded.Exclusions {
		delete(inUse, e.Site)
		for _, nodes := range inUse {
			delete(nodes, e.Node)
		}
	}
	return t.Without(excluded), inUse, err
}

// record writes down that somebody is enrolled, unless it is known.
func record(ctx context.Context, root *store.Store, who identity.Identity) error {
	e, err := root.Enrolment(ctx, who)
	if err != nil || e.Revision != 0 {
		return err
	}
	e.Auth, e.At, e.By = identity.ByCertificate, time.Now().UTC(), "keyorch-dev"
	_, err = root.PutEnrolment(ctx, e)
	return err
}

// enrolPersons enrols everybody who is no agent.
func (s *Stack) enrolPersons(ctx context.Context) error {
	if s.empty {
		return nil
	}
	for _, name := range []string{Worker, Operator, Auditor} {
		if _, err := s.VaultAs(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// Enrol enrols the agents of sites, as "keyorch enroll" does.
func (s *Stack) Enrol(ctx context.Context, sites []topology.Site) error {
	if !s.plain {
		return each(ctx, sites, func(ctx context.Context, site keychain.SiteID) error {
			return s.enrol(ctx, identity.OfSite(site))
		})
	}
	// There is nothing but the record, by which "keyorch apply" writes policies.
	return s.asRoot(ctx, func(root *store.Store) error {
		return each(ctx, sites, func(ctx context.Context, site keychain.SiteID) error {
			return record(ctx, root, identity.OfSite(site))
		})
	})
}

func each(ctx context.Context, sites []topology.Site, f func(context.Context, keychain.SiteID) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(enrolAtOnce)
	for _, site := range sites {
		g.Go(func() error { return f(ctx, site.Name) })
	}
	return g.Wait()
}

// Provision enrols the agents of a topology's sites and sets Vault up for it, as
// "keyorch apply" does: the KEKs that its links need, and for each agent a policy that
// opens those of the links that it serves. It may be called again, also with a topology
// that has changed. Sites that t does not declare are left as they are.
func (s *Stack) Provision(ctx context.Context, t topology.Topology) error {
	if err := s.Enrol(ctx, t.Sites); err != nil {
		return err
	}
	vault, err := s.VaultAs(ctx, Operator)
	if err != nil {
		return err
	}
	operator, err := custody.Open(vault)
	if err != nil {
		return err
	}
	etcd, err := s.EtcdAs(ctx, Operator)
	if err != nil {
		return err
	}
	records, err := store.Open(ctx, etcd)
	if err != nil {
		return err
	}
	defer func() { _ = records.Close() }()
	excluded, err := records.Standing(ctx)
	if err != nil {
		return err
	}
	_, inUse, err := standing(ctx, records)
	if err != nil {
		return err
	}
	agents, err := wiring.Enrolled(ctx, records)
	if err != nil {
		return err
	}
	return wiring.Provision(ctx, operator, t.Without(excluded), inUse, agents)
}

// EnrolAgain lets everybody into etcd who has a certificate of this stack, and the
// agents of sites, after etcd was emptied or put back: as "keyorch bootstrap" and
// "keyorch enroll" do.
func (s *Stack) EnrolAgain(ctx context.Context, sites []topology.Site) error {
	if s.plain {
		return nil
	}
	return s.asRoot(ctx, func(root *store.Store) error {
		who := []identity.Identity{{Role: identity.Worker}, {Role: identity.Operator}, {Role: identity.Auditor}}
		for _, site := range sites {
			who = append(who, identity.OfSite(site.Name))
		}
		for _, i := range who {
			if err := s.letIn(ctx, root, i); err != nil {
				return err
			}
		}
		return nil
	})
}
