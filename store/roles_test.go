package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// What follows is the whole of what anybody may do in etcd. A line that changes here
// is a decision.
func TestRolesAreExactlyThese(t *testing.T) {
	const p = "/keyorch/v1"
	for cn, want := range map[string]string{
		"keyorch-worker.main": `keyorch-worker
			reads /keyorch/v1/*
			writes /keyorch/v1/campaigns/*
			writes /keyorch/v1/denials/*
			writes /keyorch/v1/links/*
			writes /keyorch/v1/orders/*
			writes /keyorch/v1/past/*
			writes /keyorch/v1/waves/*
			writes /keyorch/v1/keks
			writes /keyorch/v1/duties/*
			writes /keyorch/v1/approvals/rules
			writes /keyorch/v1/approvals/policies
			writes /keyorch/v1/approvals/ended/*
			writes /keyorch/v1/trail/head
			writes /keyorch/v1/trail/chain/*
			writes /keyorch/v1/trail/checkpoints/*
			writes /keyorch/v1/trail/inbox/*
			writes /keyorch/v1/outbox/*
			keyorch-worker.main/inbox
			writes /keyorch/v1/trail/inbox/keyorch-worker.main/*`,
		"keyorch-operator.alice": `keyorch-operator
			reads /keyorch/v1/*
			writes /keyorch/v1/exclusions/*
			writes /keyorch/v1/maintenance/*
			writes /keyorch/v1/topology-revision
			writes /keyorch/v1/topology/*
			keyorch-operator.alice/inbox
			writes /keyorch/v1/trail/inbox/keyorch-operator.alice/*
			writes /keyorch/v1/approvals/requests/keyorch-operator.alice/*
			writes /keyorch/v1/approvals/votes/keyorch-operator.alice/*`,
		"keyorch-auditor": `keyorch-auditor
			reads /keyorch/v1/*
			keyorch-auditor/inbox
			writes /keyorch/v1/trail/inbox/keyorch-auditor/*`,
		"keyorch-agent.dc2": `keyorch-agent.dc2
			reads and writes /keyorch/v1/agents/dc2/*
			reads and writes /keyorch/v1/observations/dc2/*
			reads /keyorch/v1/orders/dc2/*
			reads /keyorch/v1/topology/node/dc2/*
			writes /keyorch/v1/trail/inbox/keyorch-agent.dc2/*
			reads /keyorch/v1/recovery/inquiries/dc2/*
			writes /keyorch/v1/recovery/testimonies/dc2/*`,
		"keyorch-agent-3.dc2": `keyorch-agent-3.dc2
			reads and writes /keyorch/v1/agents/dc2/*
			reads and writes /keyorch/v1/observations/dc2/*
			reads /keyorch/v1/orders/dc2/*
			reads /keyorch/v1/topology/node/dc2/*
			writes /keyorch/v1/trail/inbox/keyorch-agent-3.dc2/*
			reads /keyorch/v1/recovery/inquiries/dc2/*
			writes /keyorch/v1/recovery/testimonies/dc2/*`,
		"keyorch-agent.dc2.spine1": `keyorch-agent.dc2.spine1
			reads and writes /keyorch/v1/agents/dc2/spine1
			reads and writes /keyorch/v1/observations/dc2/spine1/*
			reads /keyorch/v1/orders/dc2/spine1/*
			reads /keyorch/v1/topology/node/dc2/spine1
			writes /keyorch/v1/trail/inbox/keyorch-agent.dc2.spine1/*
			reads /keyorch/v1/recovery/inquiries/dc2/spine1/*
			writes /keyorch/v1/recovery/testimonies/dc2/spine1/*`,
		"root": "root",
	} {
		i, err := identity.ParseCommonName(cn)
		if err != nil {
			t.Fatal(err)
		}
		roles, err := RolesOf("", i)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, r := range roles {
			lines = append(lines, inWords(r))
		}
		if got, want := strings.Join(lines, "\n"), strings.ReplaceAll(want, "\t", ""); got != want {
			t.Errorf("%s has\n%s\nwant\n%s", cn, got, want)
		}
	}
	var shared []string
	for _, r := range Roles(p) {
		shared = append(shared, r.Name)
	}
	if !slices.Equal(shared, []string{"keyorch-worker", "keyorch-operator", "keyorch-auditor"}) {
		t.Errorf("the shared roles are %v", shared)
	}
	if _, err := RolesOf(p, identity.Identity{Role: identity.Agent, Site: "a/b"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a site with a slash: %v", err)
	}
}

// inWords has a line for each grant. The end of a range is that of its prefix.
func inWords(r Role) string {
	lines := []string{r.Name}
	for _, g := range r.Grants {
		keys := g.From
		switch {
		case g.To == "":
		case g.To == prefix(g.From).to:
			keys += "*"
		default:
			keys += " up to " + g.To
		}
		lines = append(lines, fmt.Sprintf("%s %s", g.Access, keys))
	}
	return strings.Join(lines, "\n")
}

// Nobody's rights reach into what stands next to them.
func TestRolesStopWhereTheyShould(t *testing.T) {
	l := layout{DefaultPrefix}
	site := role(l, identity.OfSite("dc2"))
	node := role(l, identity.Identity{Role: identity.Agent, Site: "dc2", Node: "n1"})
	for _, c := range []struct {
		r      Role
		access Access
		key    string
		want   bool
	}{
		{site, Reads, l.order("dc2", "n1", "ab"), true},
		{site, Reads, l.order("dc22", "n1", "ab"), false},
		{site, Reads, l.order("dc", "n1", "ab"), false},
		{site, Writes, l.order("dc2", "n1", "ab"), false},
		{site, Reads, l.node("dc2", "n1"), true},
		{site, Reads, l.node("dc3", "n1"), false},
		{site, Reads, l.link("ab"), false},
		{site, Reads, l.enrolment(identity.OfSite("dc2")), false},
		{site, Reads, l.topologyRevision(), false},
		{node, Reads, l.order("dc2", "n1", "ab"), true},
		{node, Reads, l.order("dc2", "n10", "ab"), false},
		{node, Writes, l.agent("dc2", "n1"), true},
		{node, Writes, l.agent("dc2", "n10"), false},
		{node, Reads, l.node("dc2", "n2"), false},
		{node, Writes, l.observation("dc2", "n1", "ab"), true},
		{node, Writes, l.observation("dc2", "n2", "ab"), false},
		{node, Writes, l.inboxOf("keyorch-agent.dc2.n1").from + "1", true},
		{node, Writes, l.inboxOf("keyorch-agent.dc2.n10").from + "1", false},
		{site, Writes, l.inboxOf("keyorch-agent.dc2.n1").from + "1", false},
		{site, Reads, l.block(1), false},
		{site, Writes, l.head(), false},
	} {
		if got := c.r.allows(c.access, c.key); got != c.want {
			t.Errorf("%s %s %s: %v", c.r.Name, c.access, c.key, got)
		}
	}
}

func TestEnrolmentsRiseByAGeneration(t *testing.T) {
	e := Enrolment{Identity: identity.OfSite("dc2")}
	if e.Next() != e.Identity {
		t.Errorf("who stands is enrolled again as %s", e.Next())
	}
	e.RevokedAt = e.At.AddDate(1, 0, 0)
	if got := e.Next().CommonName(); got != "keyorch-agent-2.dc2" {
		t.Errorf("who was revoked is enrolled again as %s", got)
	}
}

// allows reports whether a role may do one thing with one key.
func (r Role) allows(a Access, key string) bool {
	return slices.ContainsFunc(r.Grants, func(g Grant) bool {
		in := key == g.From || g.To != "" && g.From <= key && key < g.To
		return in && (g.Access == a || g.Access == ReadsAndWrites)
	})
}
