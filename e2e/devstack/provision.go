package devstack

import (
	"context"
	"time"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// Provision sets Vault up for a topology, as "keyorch apply" would do with the
// operator's token: the KEKs that its links need, and for each declared site a
// policy that opens the KEKs of the links it serves. Beyond that it makes a token
// with that policy for each site. It may be called again, also with a topology
// that has changed. Sites that t does not declare are left as they are.
func (s *Stack) Provision(ctx context.Context, t topology.Topology) error {
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
	inUse, err := records.KEKs(ctx)
	if err != nil {
		return err
	}
	agents, err := s.enrolAgents(ctx, t)
	if err != nil {
		return err
	}
	if err := wiring.Provision(ctx, operator, t, inUse, agents); err != nil {
		return err
	}
	for _, site := range t.Sites {
		if _, err := s.Env(ctx, AgentIdentity(site.Name)); err != nil {
			return err
		}
	}
	return nil
}

// enrolAgents writes down that the agents of t's sites are enrolled, for "keyorch
// apply", and gives them.
func (s *Stack) enrolAgents(ctx context.Context, t topology.Topology) ([]identity.Identity, error) {
	etcd, err := s.EtcdAs(ctx, Root)
	if err != nil {
		return nil, err
	}
	root, err := store.Open(ctx, etcd)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	for _, site := range t.Sites {
		e, err := root.Enrolment(ctx, identity.OfSite(site.Name))
		if err == nil && e.Revision == 0 {
			e.Auth, e.At, e.By = identity.ByToken, time.Now().UTC(), "keyorch-dev"
			_, err = root.PutEnrolment(ctx, e)
		}
		if err != nil {
			return nil, err
		}
	}
	return wiring.Enrolled(ctx, root)
}
