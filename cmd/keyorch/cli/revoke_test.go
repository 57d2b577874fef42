package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

func enrolledAs(ids ...identity.Identity) []store.Enrolment {
	var all []store.Enrolment
	for _, i := range ids {
		all = append(all, store.Enrolment{Identity: i, Auth: identity.ByCertificate})
	}
	return all
}

func TestWhoIsRevoked(t *testing.T) {
	topo := topology.Topology{
		Sites: []topology.Site{{Name: "dc1"}, {Name: "dc2"}, {Name: "both"}},
		Nodes: []topology.Node{{Name: "n1", Site: "dc1"}, {Name: "n2", Site: "dc2"}, {Name: "own", Site: "dc2"}, {Name: "both", Site: "dc1"}},
	}
	ofNode := identity.Identity{Role: identity.Agent, Site: "dc2", Node: "own"}
	alice := identity.Identity{Role: identity.Operator, Person: "alice"}
	all := enrolledAs(identity.OfSite("dc1"), identity.OfSite("dc2"), identity.OfSite("undeclared"), ofNode, alice)
	gone := store.Enrolment{Identity: identity.OfSite("gone"), RevokedAt: time.Now()}
	all = append(all, gone)
	for name, c := range map[string]struct {
		who  somebody
		args []string
		want []string // common names
		site keychain.SiteID
		node keychain.NodeID
		err  string
	}{
		"a site with its nodes":     {args: []string{"dc2"}, want: []string{"keyorch-agent.dc2", "keyorch-agent.dc2.own"}, site: "dc2"},
		"a node of its own":         {args: []string{"own"}, want: []string{"keyorch-agent.dc2.own"}, node: "own"},
		"a node without one":        {args: []string{"n1"}, err: "run keyorch revoke dc1"},
		"a site that is undeclared": {args: []string{"undeclared"}, want: []string{"keyorch-agent.undeclared"}},
		"a person":                  {who: somebody{operator: "alice"}, want: []string{"keyorch-operator.alice"}},
		"nobody":                    {args: []string{"dc9"}, err: "nobody is enrolled"},
		"nobody of that role":       {who: somebody{auditor: "alice"}, err: "nobody is enrolled"},
		"revoked before":            {args: []string{"gone"}, err: "nobody is enrolled"},
		"two meanings":              {args: []string{"both"}, err: "a site and a node of that name"},
		"two at once":               {who: somebody{operator: "alice"}, args: []string{"dc1"}, err: "say whom"},
		"none":                      {err: "say whom"},
	} {
		r, err := revoking(all, topo, c.who, c.args)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %q", name, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, e := range r.who {
			got = append(got, e.Identity.CommonName())
		}
		if strings.Join(got, " ") != strings.Join(c.want, " ") {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		excluded := topology.Exclusion{}
		if r.exclude != nil {
			excluded = *r.exclude
		}
		if excluded.Site != c.site || excluded.Node != c.node {
			t.Errorf("%s: excludes %+v", name, excluded)
		}
	}
}
