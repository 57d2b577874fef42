package entitlement_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/entitlement"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

const worker = "keyorch-worker"

// at is minute n of the story.
func at(n int) time.Time { return time.Date(2026, 3, 1, 2, n, 0, 0, time.UTC) }

// nodes are "node@site".
func nodes(names ...string) []audit.Holder {
	var out []audit.Holder
	for _, n := range names {
		node, site, _ := strings.Cut(n, "@")
		out = append(out, audit.Holder{Node: keychain.NodeID(node), Site: keychain.SiteID(site)})
	}
	return out
}

// enters is the record of a phase in minute n.
func enters(n int, p link.Phase, from, to keychain.Epoch, holders ...audit.Holder) audit.Record {
	return audit.Record{Kind: audit.Phase, At: at(n), By: worker, Verb: p.String(), Link: "a-b", Epoch: to,
		Entered: &audit.Entered{From: keychain.Ref{Epoch: from}, To: keychain.Ref{Epoch: to}, Holders: holders}}
}

// gone is a receipt of "node@site" in minute n, by the agent of its site.
func gone(n int, who string, epoch keychain.Epoch) audit.Record {
	h := nodes(who)[0]
	return audit.Record{Kind: audit.Receipt, At: at(n), By: "keyorch-agent." + string(h.Site), Link: "a-b", Node: h.Node, Site: h.Site, Epoch: epoch}
}

func identityIs(n int, verb, name string) audit.Record {
	_, rest, _ := strings.Cut(name, ".")
	site, node, _ := strings.Cut(rest, ".")
	return audit.Record{Kind: audit.Enrolment, At: at(n), By: "root", Verb: verb, Site: keychain.SiteID(site), Node: keychain.NodeID(node),
		Details: map[string]string{"identity": name}}
}

func decides(n int, verb string, site keychain.SiteID, node keychain.NodeID) audit.Record {
	return audit.Record{Kind: audit.Standing, At: at(n), By: "keyorch-operator.alice", Verb: verb, Site: site, Node: node}
}

// said are the holdings, one a line: link epoch node identities from..until.
func said(records []audit.Record) []string {
	var l entitlement.Ledger
	for _, r := range records {
		l.Take(r)
	}
	clock := strings.NewReplacer("2026-03-01T02:", "", ":00Z", "")
	var out []string
	for _, h := range l.Holdings() {
		out = append(out, clock.Replace(fmt.Sprintf("%d %s [%s] %s..%s", h.Epoch, h.Node, h.Names(), h.Begins(), h.Ends())))
	}
	return out
}

// first gives the link its first key, by minute 2.
func first(holders ...audit.Holder) []audit.Record {
	return []audit.Record{
		enters(1, link.Staging, 0, 1, holders...), enters(2, link.Switching, 0, 1), enters(2, link.Draining, 0, 1),
		enters(2, link.Retiring, 0, 1), enters(2, link.Steady, 0, 1),
	}
}

// second rotates it to another from minute 5 on.
func second() []audit.Record {
	return []audit.Record{enters(5, link.Staging, 1, 2), enters(6, link.Switching, 1, 2), gone(6, "a@x", 1), enters(7, link.Draining, 1, 2),
		enters(8, link.Retiring, 1, 2), gone(9, "b@y", 1), enters(9, link.Steady, 0, 2)}
}

func TestEntitlements(t *testing.T) {
	two := nodes("a@x", "b@y")
	sites := []audit.Record{identityIs(0, audit.Enrolled, "keyorch-agent.x"), identityIs(0, audit.Enrolled, "keyorch-agent.y")}
	for _, c := range []struct {
		name    string
		records []audit.Record
		want    []string
	}{
		{"a rotation", slices.Concat(sites, first(two...), second()), []string{
			"1 a [keyorch-agent.x] 01..06", "1 b [keyorch-agent.y] 01..09",
			"2 a [keyorch-agent.x] 05..in use", "2 b [keyorch-agent.y] 05..in use",
		}},
		{"a site's identity opens what all its nodes are given, and a node's own what that one is",
			slices.Concat(sites, []audit.Record{identityIs(0, audit.Enrolled, "keyorch-agent.y.b")}, first(nodes("b@y", "c@y")...)), []string{
				"1 b [keyorch-agent.y keyorch-agent.y.b] 01..in use", "1 c [keyorch-agent.y] 01..in use",
			}},
		{"a node without a receipt", slices.Concat(first(two...), slices.DeleteFunc(second(), func(r audit.Record) bool { return r.Node == "b" })), []string{
			"1 a [not in the trail] 01..06", "1 b [not in the trail] 01..no receipt yet (retired 09)",
			"2 a [not in the trail] 05..in use", "2 b [not in the trail] 05..in use",
		}},
		{"a node that left", slices.Concat(first(two...), []audit.Record{{Kind: audit.Phase, At: at(4), By: worker, Verb: audit.NodesChanged, Link: "a-b",
			Entered: &audit.Entered{To: keychain.Ref{Epoch: 1}, Holders: nodes("a@x")}}}, second()), []string{
			"1 a [not in the trail] 01..06", "1 b [not in the trail] 01..09", "2 a [not in the trail] 05..in use",
		}},
		{"a node that left and gives no receipt", slices.Concat(first(two...), []audit.Record{{Kind: audit.Phase, At: at(4), By: worker, Verb: audit.NodesChanged, Link: "a-b",
			Entered: &audit.Entered{To: keychain.Ref{Epoch: 1}, Holders: nodes("a@x")}}}), []string{
			"1 a [not in the trail] 01..in use", "1 b [not in the trail] 01..no receipt yet (left the link 04)",
		}},
		{"a node that joined", slices.Concat(first(two...), []audit.Record{enters(4, link.Staging, 1, 1, nodes("a@x", "b@y", "c@y")...), enters(5, link.Steady, 0, 1)}), []string{
			"1 a [not in the trail] 01..in use", "1 b [not in the trail] 01..in use", "1 c [not in the trail] 04..in use",
		}},
		{"a revoked site", slices.Concat(sites, first(two...), []audit.Record{decides(3, audit.Excluded, "y", ""), identityIs(4, audit.Revoked, "keyorch-agent.y")}), []string{
			"1 a [keyorch-agent.x] 01..in use", "1 b [keyorch-agent.y] 01..no receipt yet (excluded 03, keyorch-agent.y revoked 04)",
		}},
		{"an identity of a later generation opens nothing that was gone before", slices.Concat(sites, first(two...), second(),
			[]audit.Record{identityIs(20, audit.Revoked, "keyorch-agent.y"), identityIs(21, audit.Enrolled, "keyorch-agent-2.y")}), []string{
			"1 a [keyorch-agent.x] 01..06", "1 b [keyorch-agent.y] 01..09",
			"2 a [keyorch-agent.x] 05..in use", "2 b [keyorch-agent.y keyorch-agent-2.y] 05..no receipt yet (keyorch-agent.y revoked 20)",
		}},
		{"an aborted epoch", slices.Concat(first(two...), []audit.Record{enters(5, link.Staging, 1, 2), enters(6, link.Retiring, 2, 1),
			gone(7, "b@y", 2), enters(8, link.Steady, 0, 1)}), []string{
			"1 a [not in the trail] 01..in use", "1 b [not in the trail] 01..in use",
			"2 a [not in the trail] 05..no receipt yet (retired 08)", "2 b [not in the trail] 05..07",
		}},
		{"a sender that is taken back has the old key again", slices.Concat(first(two...), []audit.Record{enters(5, link.Staging, 1, 2),
			enters(6, link.Switching, 1, 2), gone(6, "a@x", 1), enters(7, link.Draining, 1, 2), enters(8, link.Switching, 2, 1)}), []string{
			"1 a [not in the trail] 01..06", "1 a [not in the trail] 08..in use", "1 b [not in the trail] 01..in use",
			"2 a [not in the trail] 05..in use", "2 b [not in the trail] 05..in use",
		}},
		{"a link that had a key before the trail began", []audit.Record{enters(5, link.Staging, 7, 8, two...), enters(6, link.Switching, 7, 8), gone(7, "a@x", 7)}, []string{
			"7 a [not in the trail] before the trail..07", "7 b [not in the trail] before the trail..in use",
			"8 a [not in the trail] 05..in use", "8 b [not in the trail] 05..in use",
		}},
		{"a receipt that comes twice", slices.Concat(first(two...), second(), []audit.Record{gone(30, "b@y", 1)}), []string{
			"1 a [not in the trail] 01..06", "1 b [not in the trail] 01..09",
			"2 a [not in the trail] 05..in use", "2 b [not in the trail] 05..in use",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := said(c.records); !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// What somebody writes who may not say it counts for nothing.
func TestOnlyWhoMayTellIsBelieved(t *testing.T) {
	honest := first(nodes("a@x", "b@y")...)
	want := said(honest)
	for name, forge := range map[string]audit.Record{
		"an operator gives a receipt":           with(gone(5, "b@y", 1), "keyorch-operator.mallory"),
		"another site gives a receipt":          with(gone(5, "b@y", 1), "keyorch-agent.x"),
		"another node gives a receipt":          with(gone(5, "b@y", 1), "keyorch-agent.y.c"),
		"an agent tells a phase":                with(enters(5, link.Staging, 1, 2), "keyorch-agent.x"),
		"an operator enrols":                    with(identityIs(5, audit.Enrolled, "keyorch-agent.x"), "keyorch-operator.mallory"),
		"an agent excludes":                     with(decides(5, audit.Excluded, "x", ""), "keyorch-agent.y"),
		"somebody whose name nobody can read":   with(gone(5, "b@y", 1), "mallory"),
		"a record that says nothing of itself":  with(gone(5, "b@y", 1), ""),
		"an auditor tells that nodes were lost": with(enters(5, link.Steady, 0, 1, nodes("a@x")...), "keyorch-auditor"),
	} {
		if got := said(append(slices.Clone(honest), forge)); !slices.Equal(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	// Teeth: the same receipt by who may give it does count.
	for _, by := range []string{"keyorch-agent.y", "keyorch-agent.y.b", "keyorch-agent-3.y"} {
		if got := said(append(slices.Clone(honest), with(gone(5, "b@y", 1), by))); slices.Equal(got, want) {
			t.Errorf("a receipt of %s counts for nothing", by)
		}
	}
}

func with(r audit.Record, by string) audit.Record {
	r.By = by
	return r
}

func TestCould(t *testing.T) {
	h := entitlement.Holding{From: at(5), Until: at(9)}
	for n, want := range map[int]bool{4: false, 5: true, 8: true, 9: false, 10: false} {
		if h.Could(at(n)) != want {
			t.Errorf("in minute %d: not %v", n, want)
		}
	}
	if open := (entitlement.Holding{}); !open.Could(at(0)) {
		t.Error("a key from before the trail without a receipt is held")
	}
}
