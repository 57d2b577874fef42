package wiring

import (
	"slices"
	"testing"

	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// hub is a site that two others send to, one to each of its nodes, and a link that
// touches three sites.
func hub() topology.Topology {
	var t topology.Topology
	for node, site := range map[keychain.NodeID]keychain.SiteID{"h1": "hub", "h2": "hub", "a1": "a", "b1": "b"} {
		t.Nodes = append(t.Nodes, topology.Node{Name: node, Site: site})
	}
	nodes := func(n ...keychain.NodeID) []keychain.NodeID { return n }
	t.Links = []topology.Link{
		{Name: "a-hub", Upstream: nodes("a1"), Downstream: nodes("h1")},
		{Name: "b-hub", Upstream: nodes("b1"), Downstream: nodes("h2")},
		{Name: "all", Upstream: nodes("a1"), Downstream: nodes("b1", "h2")},
		{Name: "within", Upstream: nodes("h1"), Downstream: nodes("h2")},
		{Name: "emptied", Upstream: nodes("a1")},
	}
	return t
}

func TestAgentsOpenWhatTheyServe(t *testing.T) {
	inUse := InUse{"hub": {"h1": {"keyorch-site-former"}, "h2": {"keyorch-sites-b.hub"}}}
	for _, c := range []struct {
		agent identity.Identity
		want  []string
	}{
		{identity.OfSite("a"), []string{"keyorch-link-all", "keyorch-sites-a.hub"}},
		{identity.OfSite("b"), []string{"keyorch-link-all", "keyorch-sites-b.hub"}},
		{identity.OfSite("hub"), []string{"keyorch-link-all", "keyorch-site-former", "keyorch-site-hub", "keyorch-sites-a.hub", "keyorch-sites-b.hub"}},
		{identity.Identity{Role: identity.Agent, Site: "hub", Node: "h1"}, []string{"keyorch-site-former", "keyorch-site-hub", "keyorch-sites-a.hub"}},
		{identity.Identity{Role: identity.Agent, Site: "hub", Node: "h2"}, []string{"keyorch-link-all", "keyorch-site-hub", "keyorch-sites-b.hub"}},
		{identity.Identity{Role: identity.Agent, Site: "a", Node: "h1"}, nil}, // enrolled for a node of another site
		{identity.OfSite("elsewhere"), nil},
	} {
		if got := KEKsOf(hub(), inUse, c.agent); !slices.Equal(got, c.want) {
			t.Errorf("%s may open %v, want %v", c.agent, got, c.want)
		}
	}
	if got, want := KEKs(hub(), inUse, ""), []string{
		"keyorch-link-all", "keyorch-site-former", "keyorch-site-hub", "keyorch-sites-a.hub", "keyorch-sites-b.hub",
	}; !slices.Equal(got, want) {
		t.Errorf("there are %v, want %v", got, want)
	}
}
