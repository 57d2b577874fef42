package e2e_test

import (
	"slices"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// others is how long it took from begun until the last link that has no end at the
// first site was done.
func (f *fleet) others(begun time.Time) time.Duration {
	s := pastOf(f.B, f.store, f.links(), begun)
	var last time.Time
	for _, k := range f.topo.Links {
		if at := s.ended[k.Name]; !f.atDeadSite(k) && at.After(last) {
			last = at
		}
	}
	return last.Sub(begun)
}

func (f *fleet) atDeadSite(k topology.Link) bool {
	return slices.Contains(f.topo.SitesOf(slices.Concat(k.Upstream, k.Downstream)), f.Site(0))
}

// watched rotates all links, and gives how long that took for those of all sites but the
// first. Then, when those are through, something may be done. Looking on costs processor
// time as well, so both figures that are compared come from here.
func (f *fleet) watched(then func()) (took time.Duration) {
	f.Helper()
	begun := time.Now()
	f.rotate(func() {
		f.look(f.awaitOthers)
		if then != nil {
			then()
		}
	})
	return f.others(begun)
}

// withDeadSite is watched while the first site has no agent and its devices do not
// answer. Then the site comes back, and the command must end with everything rotated.
func (f *fleet) withDeadSite() (took time.Duration) {
	f.Helper()
	dead := func(is bool) {
		for _, n := range f.topo.Nodes {
			if n.Site == f.Site(0) {
				f.Lab.Network.Node(n.Name).Dead(is)
			}
		}
	}
	noError(f.B, f.agents.StopSite(f.Site(0)))
	dead(true)
	return f.watched(func() {
		dead(false)
		f.agents.Start(f.Context(), f.Site(0))
	})
}

// awaitOthers waits until every link that has no end at the first site is Steady
// again after the campaign has taken it up.
func (f *fleet) awaitOthers(v *store.View) {
	f.Helper()
	left := map[keychain.LinkID]bool{}
	for _, k := range f.topo.Links {
		if !f.atDeadSite(k) {
			left[k.Name] = true
		}
	}
	look := time.NewTicker(500 * time.Millisecond)
	defer look.Stop()
	giveUp := time.After(10 * time.Minute)
	for len(left) > 0 {
		select {
		case <-giveUp:
			f.Fatalf("%d of the links without an end at the first site were not rotated", len(left))
		case <-look.C:
		}
		for id := range left {
			if r, _ := v.Record(id); r.State.Phase == link.Steady && r.State.To.Epoch > f.epoch {
				delete(left, id)
			}
		}
	}
}
