package store

import (
	"context"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// excluded is who was excluded at a revision. Whoever writes orders may have looked
// before that. Then the order of an excluded node would be written all the same, with
// a key that was made after the exclusion, where its agent can still be watching.
type excluded struct {
	at    int64
	nodes map[keychain.NodeID]bool
	sites map[keychain.SiteID]bool
}

func (s *Store) excluded(ctx context.Context) (excluded, error) {
	entries, rev, err := s.list(ctx, s.keys.exclusions())
	if err != nil {
		return excluded{}, err
	}
	x := excluded{at: rev, nodes: make(map[keychain.NodeID]bool), sites: make(map[keychain.SiteID]bool)}
	for _, e := range entries {
		one, _ := s.exclusion(e) // a broken one excludes all the same
		x.nodes[one.Node], x.sites[one.Site] = true, true
	}
	return x, nil
}

// stillTrue is the guard that nobody has been excluded since.
func (x excluded) stillTrue(keys layout) clientv3.Cmp {
	sp := keys.exclusions()
	return clientv3.Compare(clientv3.ModRevision(sp.from).WithRange(sp.to), "<", x.at+1)
}

// permits refuses an order that would bring an excluded node a key that its order
// before, if there was one at this site, did not name. To take keys away is permitted.
func (x excluded) permits(id keychain.LinkID, site keychain.SiteID, now link.Order, before *link.Order) error {
	if !x.nodes[now.Node] && !x.sites[site] {
		return nil
	}
	for _, k := range append(slices.Clone(now.Accept), now.Send) {
		had := before != nil && (k.Epoch == before.Send.Epoch || slices.ContainsFunc(before.Accept, func(b link.Key) bool { return b.Epoch == k.Epoch }))
		if !k.IsZero() && !had {
			return fault.New(fault.Stale, "commit %s: node %s is excluded, and gets no new key", id, now.Node)
		}
	}
	return nil
}
