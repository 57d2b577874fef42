package devstack

import (
	"context"
	"slices"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// Provision sets Vault up for a topology: a KEK for what each link's downstream
// side needs, and for each site a policy that opens the KEKs of the links it
// serves, and a token with that policy. It may be called again, also with a
// topology that has grown. Sites that t does not name are left as they are.
// Everything but the tokens is done with the operator's own token, as an
// operator would do it.
func (s *Stack) Provision(ctx context.Context, t topology.Topology) error {
	as, err := custody.Open(custody.Config{Address: s.VaultAddress, Token: s.OperatorToken, Mount: transitMount})
	if err != nil {
		return err
	}
	opens := make(map[keychain.SiteID][]string)
	for _, site := range sitesOf(t) {
		opens[site] = nil
	}
	ensured := make(map[string]bool)
	for _, l := range t.Links {
		kek := custody.KEK(l.Name, t.SitesOf(l.Downstream))
		if kek == "" {
			continue // nobody would open it
		}
		if !ensured[kek] {
			if err := as.EnsureKEK(ctx, kek); err != nil {
				return err
			}
			ensured[kek] = true
		}
		for _, site := range t.SitesOf(slices.Concat(l.Upstream, l.Downstream)) {
			opens[site] = append(opens[site], kek)
		}
	}
	for site, keks := range opens {
		err := as.WritePolicy(ctx, custody.AgentPolicyName(site), custody.AgentPolicy(transitMount, keks))
		if err != nil {
			return err
		}
		if _, err := s.ids.token(ctx, AgentIdentity(site)); err != nil {
			return err
		}
	}
	return nil
}

// sitesOf gives every site that is declared or that a node stands in, sorted.
func sitesOf(t topology.Topology) []keychain.SiteID {
	var sites []keychain.SiteID
	for _, s := range t.Sites {
		sites = append(sites, s.Name)
	}
	for _, n := range t.Nodes {
		sites = append(sites, n.Site)
	}
	slices.Sort(sites)
	return slices.Compact(sites)
}
