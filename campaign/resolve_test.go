package campaign_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// small is two links between three sites, and one that nobody labelled.
func small() topology.Topology {
	return topology.Topology{
		Sites: []topology.Site{{Name: "dc1"}, {Name: "dc2", Labels: topology.Labels{"region": "north"}}, {Name: "dc3"}, {Name: "dc9"}},
		Nodes: []topology.Node{
			{Name: "n1", Site: "dc1", Labels: topology.Labels{"vendor": "frr"}}, {Name: "n2", Site: "dc2"},
			{Name: "n3", Site: "dc3"}, {Name: "spare", Site: "dc3"},
		},
		Links: []topology.Link{
			{Name: "a", Labels: topology.Labels{"tier": "core"}, Upstream: ids("n1"), Downstream: ids("n2"), Policy: "nightly"},
			{Name: "b", Labels: topology.Labels{"tier": "edge"}, Upstream: ids("n2"), Downstream: ids("n3")},
			{Name: "c", Upstream: ids("n3"), Downstream: ids("n1")},
		},
		Policies: []topology.Policy{{Name: "nightly"}, {Name: "unused"}},
	}
}

func ids(names ...keychain.NodeID) []keychain.NodeID { return names }

func TestResolve(t *testing.T) {
	type S = campaign.Selection
	for _, c := range []struct {
		name string
		s    S
		want string // links, or a part of the error after "!"
	}{
		{"everything", S{All: true}, "a b c"},
		{"links by name, once each", S{Links: []keychain.LinkID{"c", "a", "c"}}, "a c"},
		{"a site on either side", S{Site: "dc2"}, "a b"},
		{"a node on either side", S{Node: "n3"}, "b c"},
		{"a policy that is named", S{Policy: "nightly"}, "a"},
		{"labels of links", S{Selector: "tier in (core, edge)"}, "a b"},
		{"links without a label", S{Selector: "!tier"}, "c"},
		{"labels of nodes", S{NodeSelector: "vendor=frr"}, "a c"},
		{"labels of sites", S{SiteSelector: "region=north"}, "a b"},
		{"all parts narrow down", S{Site: "dc2", Selector: "tier=edge"}, "b"},
		{"all beside a part contradicts it", S{All: true, Node: "n1"}, "!--all is every link, and --node n1 narrows it down"},
		{"nothing", S{}, "!no links are selected: name some, or say --all"},
		{"a blank selector is nothing", S{Selector: " "}, "!no links are selected"},
		{"unknown links all at once", S{Links: []keychain.LinkID{"y", "a", "x"}}, `!links: no link "x" or "y" is declared: see keyorch get links`},
		{"an unknown site", S{Site: "x"}, `!site: no site "x" is declared: see keyorch get sites`},
		{"an unknown node", S{Node: "x"}, `!node: no node "x" is declared: see keyorch get nodes`},
		{"an unknown policy", S{Policy: "x"}, `!policy: no policy "x" is declared: see keyorch get policies`},
		{"a site without links", S{Site: "dc9"}, `!site: no link has a node at site "dc9"`},
		{"a node without links", S{Node: "spare"}, `!node: no link has node "spare"`},
		{"a policy without links", S{Policy: "unused"}, `!policy: no link has policy "unused"`},
		{"a selector that does not parse", S{Selector: "tier in"}, "!selector: "},
		{"a selector without links", S{Selector: "tier=lab"}, `!selector: "tier=lab" matches no link: see keyorch get links --show-labels`},
		{"a node selector without links", S{NodeSelector: "a=b"}, `!nodeSelector: "a=b" matches no link: see keyorch get nodes --show-labels`},
		{"a site selector without links", S{SiteSelector: "a=b"}, `!siteSelector: "a=b" matches no link: see keyorch get sites --show-labels`},
		{"parts that no link has together", S{Node: "n1", Selector: "tier=edge"}, "!no link satisfies all of --node n1 -l tier=edge: leave one of them out"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.s.Resolve(small())
			want, bad := strings.CutPrefix(c.want, "!")
			switch {
			case bad && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) || got != nil):
				t.Errorf("%v, %v; want an error with %q", got, err, want)
			case !bad && (err != nil || strings.Trim(fmt.Sprint(got), "[]") != want):
				t.Errorf("%v, %v; want %s", got, err, want)
			}
		})
	}
}

func TestResolveSaysEverythingThatIsWrong(t *testing.T) {
	_, err := campaign.Selection{Site: "x", Node: "y", Policy: "z", Selector: "tier=lab", SiteSelector: "="}.Resolve(small())
	for _, want := range []string{`site: no site "x"`, `node: no node "y"`, `policy: no policy "z"`, "selector: ", "siteSelector: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

func TestResolveOfNothingDeclared(t *testing.T) {
	if _, err := (campaign.Selection{All: true}).Resolve(topology.Topology{}); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}

func TestSelectionString(t *testing.T) {
	type S = campaign.Selection
	for want, s := range map[string]S{
		"--all": {All: true}, "no links": {}, "a": {Links: []keychain.LinkID{"a"}}, "3 links": {Links: []keychain.LinkID{"a", "b", "c"}},
		"--site dc2 -l tier=core":                  {Site: "dc2", Selector: "tier=core", All: true},
		"--node n1 --of-policy p":                  {Node: "n1", Policy: "p"},
		"-l 'tier in (a, b)' --node-selector '!x'": {Selector: "tier in (a, b)", NodeSelector: "!x"},
		"2 links --site-selector region=north":     {Links: []keychain.LinkID{"a", "b"}, SiteSelector: "region=north"},
	} {
		if got := s.String(); got != want {
			t.Errorf("%+v prints %q, want %q", s, got, want)
		}
	}
}

// fleet is n links from a hub to so many sites, with every tenth a canary.
func fleet(n, sites int) topology.Topology {
	top := topology.Topology{Sites: []topology.Site{{Name: "hub"}}, Nodes: []topology.Node{{Name: "hub-r1", Site: "hub"}}}
	for i := range sites {
		site := keychain.SiteID(fmt.Sprintf("s%04d", i))
		top.Sites = append(top.Sites, topology.Site{Name: site, Labels: topology.Labels{"region": "north"}})
		top.Nodes = append(top.Nodes, topology.Node{Name: keychain.NodeID(site + "-r1"), Site: site})
	}
	for i := range n {
		l := topology.Link{Name: keychain.LinkID(fmt.Sprintf("l%05d", i)), Upstream: ids("hub-r1"),
			Downstream: ids(keychain.NodeID(fmt.Sprintf("s%04d-r1", i*sites/n)))}
		if i%10 == 0 {
			l.Labels = topology.Labels{"tier": "canary"}
		}
		top.Links = append(top.Links, l)
	}
	return top
}

func names(t topology.Topology) []keychain.LinkID {
	var out []keychain.LinkID
	for _, l := range t.Links {
		out = append(out, l.Name)
	}
	return out
}

func TestResolveIsFast(t *testing.T) {
	top := fleet(10_000, 500)
	begun := time.Now()
	s := campaign.Selection{Links: names(top), Site: "hub", Node: "hub-r1", SiteSelector: "region=north"}
	got, err := s.Resolve(top)
	if err != nil || len(got) != 10_000 || !slices.IsSorted(got) {
		t.Fatal(len(got), err)
	}
	// A tenth of a second is what an operator does not notice; it takes a tenth of
	// that, and quadratic code takes a hundred times as long.
	if took := time.Since(begun); took > 500*time.Millisecond {
		t.Errorf("10,000 links took %v", took)
	}
}
