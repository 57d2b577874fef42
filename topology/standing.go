package topology

import (
	"slices"
	"time"

	"github.com/keyorch/keyorch/keychain"
)

// Maintenance is a time in which nothing is begun at a site. It ends by itself.
type Maintenance struct {
	Site   keychain.SiteID `json:"site"`
	Until  time.Time       `json:"until"`
	Reason string          `json:"reason"`
	Since  time.Time       `json:"since"`
}

// Exclusion takes a node, or all nodes of a site, out of every link until it is
// readmitted: new keys are not made for it. Exactly one of Node and Site is set.
type Exclusion struct {
	Node   keychain.NodeID `json:"node,omitempty"`
	Site   keychain.SiteID `json:"site,omitempty"`
	Reason string          `json:"reason"`
	Since  time.Time       `json:"since"`
	// Campaign is the one that gives the others new keys.
	Campaign string `json:"campaign,omitempty"`
	// Approval is the request for approvals on whose strength that one runs.
	Approval string `json:"approval,omitempty"`
	// Exposed are the keys that it could open when it was excluded.
	Exposed []Exposed `json:"exposed,omitempty"`
}

// Exposed is one key that an excluded node or site could open.
type Exposed struct {
	Link  keychain.LinkID `json:"link"`
	Epoch keychain.Epoch  `json:"epoch"`
}

// Standing is what operators have decided for a time, beside what they declared.
type Standing struct {
	Maintenance []Maintenance // sorted by site
	Exclusions  []Exclusion   // sorted by site, then node
}

// Maintained is the maintenance in which site is at now. One whose Until has come
// is over.
func (s Standing) Maintained(site keychain.SiteID, now time.Time) (Maintenance, bool) {
	for _, m := range s.Maintenance {
		if m.Site == site && now.Before(m.Until) {
			return m, true
		}
	}
	return Maintenance{}, false
}

// Excludes is the exclusion of node, or of the site where t has it.
func (s Standing) Excludes(t Topology, node keychain.NodeID) (Exclusion, bool) {
	if len(s.Exclusions) == 0 {
		return Exclusion{}, false
	}
	declared, known := t.Node(node)
	for _, e := range s.Exclusions {
		if e.Node == node && node != "" || known && e.Site != "" && e.Site == declared.Site {
			return e, true
		}
	}
	return Exclusion{}, false
}

// Without is t with links that do not lead through what s excludes. The
// declarations of the nodes stay, and a link may end up with an empty side, or
// with one node on both. When nothing is excluded it is t itself.
func (t Topology) Without(s Standing) Topology {
	if len(s.Exclusions) == 0 {
		return t
	}
	nodes, sites := map[keychain.NodeID]bool{}, map[keychain.SiteID]bool{}
	for _, e := range s.Exclusions {
		if e.Node != "" {
			nodes[e.Node] = true
		}
		if e.Site != "" {
			sites[e.Site] = true
		}
	}
	for _, n := range t.Nodes {
		if sites[n.Site] {
			nodes[n.Name] = true
		}
	}
	if len(nodes) == 0 {
		return t
	}
	excluded := func(n keychain.NodeID) bool { return nodes[n] }
	without := func(side []keychain.NodeID) []keychain.NodeID {
		if !slices.ContainsFunc(side, excluded) {
			return side
		}
		return slices.DeleteFunc(slices.Clone(side), excluded)
	}
	t.Links = slices.Clone(t.Links)
	for i, l := range t.Links {
		t.Links[i].Upstream, t.Links[i].Downstream = without(l.Upstream), without(l.Downstream)
	}
	return t
}
