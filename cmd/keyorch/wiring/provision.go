package wiring

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// provisionAtOnce bounds the calls to Vault side by side.
const provisionAtOnce = 8

// Provision makes Vault ready for a topology: a key-encryption key for every
// link's downstream, and for every site the policy that says which of them its
// agent may use: those of the links declared, and inUse, those under which the
// keys in its orders are wrapped by now (see store.KEKs). The topology is that
// without who is excluded. It can be repeated.
func Provision(ctx context.Context, vault *custody.Custody, t topology.Topology, inUse map[keychain.SiteID][]string) error {
	var keks []string
	bySite := map[keychain.SiteID][]string{}
	for _, s := range t.Sites {
		bySite[s.Name] = slices.Clone(inUse[s.Name])
	}
	for _, l := range t.Links {
		if len(l.Downstream) == 0 { // all are excluded: nobody gets a key of it
			continue
		}
		kek := custody.KEK(l.Name, t.SitesOf(l.Downstream))
		keks = append(keks, kek)
		for _, site := range t.SitesOf(slices.Concat(l.Upstream, l.Downstream)) {
			bySite[site] = append(bySite[site], kek)
		}
	}
	slices.Sort(keks)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(provisionAtOnce)
	for _, kek := range slices.Compact(keks) {
		group.Go(func() error { return vault.EnsureKEK(ctx, kek) })
	}
	for site, may := range bySite {
		slices.Sort(may)
		group.Go(func() error {
			return vault.WritePolicy(ctx, custody.AgentPolicyName(site), custody.AgentPolicy("", slices.Compact(may)))
		})
	}
	return group.Wait()
}
