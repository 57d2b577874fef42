package wiring

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// provisionAtOnce bounds the calls to Vault side by side.
const provisionAtOnce = 8

// InUse is, for each node, the KEKs under which the keys in its orders are wrapped
// by now, whatever is declared: see store.KEKs.
type InUse = map[keychain.SiteID]map[keychain.NodeID][]string

// Provision makes Vault ready for a topology: a key-encryption key for every link,
// and for every agent that is enrolled the policy that says which of them it may
// use. The topology is that without who is excluded. It can be repeated.
func Provision(ctx context.Context, vault *custody.Custody, t topology.Topology, inUse InUse, enrolled []identity.Identity) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(provisionAtOnce)
	for _, kek := range declaredKEKs(t) {
		group.Go(func() error { return vault.EnsureKEK(ctx, kek) })
	}
	for _, agent := range enrolled {
		if agent.Role != identity.Agent {
			continue
		}
		group.Go(func() error {
			return vault.WritePolicy(ctx, custody.PolicyName(agent), custody.AgentPolicy("", KEKsOf(t, inUse, agent)))
		})
	}
	return group.Wait()
}

// Enrolled are the agents that are enrolled and not revoked.
func Enrolled(ctx context.Context, s *store.Store) ([]identity.Identity, error) {
	all, err := s.Enrolments(ctx)
	if err != nil {
		return nil, err
	}
	var agents []identity.Identity
	for _, e := range all {
		if e.RevokedAt.IsZero() && e.Identity.Role == identity.Agent {
			agents = append(agents, e.Identity)
		}
	}
	return agents, nil
}

// KEKsOf is what an agent may open: the keys of the links that its site, or its one
// node, serves on either side, and of those that are in its orders still.
func KEKsOf(t topology.Topology, inUse InUse, agent identity.Identity) []string {
	serves := func(n keychain.NodeID) bool {
		node, declared := t.Node(n)
		return declared && node.Site == agent.Site && (agent.Node == "" || agent.Node == n)
	}
	var keks []string
	for _, l := range t.Links {
		if slices.ContainsFunc(both(l), serves) && len(l.Downstream) > 0 {
			keks = append(keks, kekOf(t, l))
		}
	}
	for node, names := range inUse[agent.Site] {
		if agent.Node == "" || agent.Node == node {
			keks = append(keks, names...)
		}
	}
	slices.Sort(keks)
	return slices.Compact(keks)
}

func declaredKEKs(t topology.Topology) []string {
	var keks []string
	for _, l := range t.Links {
		if len(l.Downstream) > 0 { // else all are excluded: nobody gets a key of it
			keks = append(keks, kekOf(t, l))
		}
	}
	slices.Sort(keks)
	return slices.Compact(keks)
}

func kekOf(t topology.Topology, l topology.Link) string {
	return custody.KEK(l.Name, t.SitesOf(both(l)))
}

// both is the nodes of both sides of a link.
func both(l topology.Link) []keychain.NodeID { return slices.Concat(l.Upstream, l.Downstream) }
