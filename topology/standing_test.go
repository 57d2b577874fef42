package topology_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

func TestMaintenanceEndsByItself(t *testing.T) {
	until := at(t, "2026-06-01T12:00:00Z")
	s := topology.Standing{Maintenance: []topology.Maintenance{{Site: "dc1", Until: until, Reason: "new switches"}}}
	for _, c := range []struct {
		site keychain.SiteID
		now  time.Time
		want bool
	}{{"dc1", until.Add(-1), true}, {"dc1", until, false}, {"dc2", until.Add(-1), false}} {
		m, got := s.Maintained(c.site, c.now)
		if got != c.want || got != (m.Reason == "new switches") {
			t.Errorf("%s at %s: %+v, %v", c.site, c.now, m, got)
		}
	}
}

func TestExclusions(t *testing.T) {
	declared := parse(t, before+`---
apiVersion: keyorch/v1
kind: Link
metadata: {name: segment}
spec: {upstream: [a, b, spare], downstream: [a, b, spare]}
`, topology.Topology{})
	untouched := parse(t, before, topology.Topology{}).Links
	for _, c := range []struct {
		name       string
		exclusions []topology.Exclusion
		excluded   string
		ab         string // upstream and downstream of link ab
		segment    string
	}{
		{"nothing", nil, "", "[a] [b]", "[a b spare] [a b spare]"},
		{"a node", []topology.Exclusion{{Node: "b"}}, "b", "[a] []", "[a spare] [a spare]"},
		{"a site", []topology.Exclusion{{Site: "dc2"}}, "b spare", "[a] []", "[a] [a]"},
		{"both", []topology.Exclusion{{Node: "a"}, {Site: "dc2"}}, "a b spare", "[] []", "[] []"},
		{"what is not declared", []topology.Exclusion{{Node: "gone"}, {Site: "nowhere"}}, "gone", "[a] [b]", "[a b spare] [a b spare]"},
		{"an exclusion of nothing", []topology.Exclusion{{}}, "", "[a] [b]", "[a b spare] [a b spare]"},
	} {
		s := topology.Standing{Exclusions: c.exclusions}
		var excluded []keychain.NodeID
		for _, n := range []keychain.NodeID{"", "a", "b", "gone", "other", "spare"} {
			if _, ok := s.Excludes(declared, n); ok {
				excluded = append(excluded, n)
			}
		}
		if got := fmt.Sprint(excluded); got != "["+c.excluded+"]" {
			t.Errorf("%s: excludes %s, want [%s]", c.name, got, c.excluded)
		}
		got := declared.Without(s)
		for link, want := range map[keychain.LinkID]string{"ab": c.ab, "segment": c.segment} {
			l, _ := got.Link(link)
			if fmt.Sprint(l.Upstream, l.Downstream) != want {
				t.Errorf("%s: link %s is %v %v, want %s", c.name, link, l.Upstream, l.Downstream, want)
			}
		}
		if !reflect.DeepEqual(got.Nodes, declared.Nodes) {
			t.Errorf("%s: the nodes are %v", c.name, got.Nodes)
		}
	}
	if ab, _ := declared.Link("ab"); !reflect.DeepEqual(ab, untouched[0]) {
		t.Errorf("what was declared has changed: %+v", ab)
	}
}

func TestWithoutExclusionsTheTopologyIsNotCopied(t *testing.T) {
	declared := parse(t, before, topology.Topology{})
	if n := testing.AllocsPerRun(10, func() { declared.Without(topology.Standing{}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	got := declared.Without(topology.Standing{})
	if &got.Links[0] != &declared.Links[0] {
		t.Error("the links were copied")
	}
}
