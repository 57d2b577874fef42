package cli

import (
	"slices"
	"testing"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

func TestWhatAnExcludedNodeCouldOpen(t *testing.T) {
	both := []keychain.NodeID{"bad", "good"}
	one := both[1:]
	up := []keychain.NodeID{"up"}
	record := func(id keychain.LinkID, down []keychain.NodeID, p link.Phase, from, to keychain.Epoch) link.Record {
		return link.Record{Link: id, State: link.State{Phase: p, From: key(from), To: key(to), Upstream: up, Downstream: down}}
	}
	records := []link.Record{
		record("first-key-never-made", both, link.Steady, 0, 0),
		record("in-flight", both, link.Staging, 3, 4),
		{Link: "left-behind", State: link.State{To: key(9), Upstream: up, Downstream: one}, Quarantined: []link.Quarantine{{Node: "bad", Epoch: 8}}},
		record("let-go", one, link.Steady, 0, 7),
		record("of-others", one, link.Steady, 0, 5),
		record("staged-again", both, link.Staging, 6, 6),
		record("steady", both, link.Steady, 0, 2),
	}
	got := exposed(records, func(n keychain.NodeID) bool { return n == "bad" })
	want := []topology.Exposed{{Link: "in-flight", Epoch: 3}, {Link: "in-flight", Epoch: 4}, {Link: "left-behind", Epoch: 9}, {Link: "staged-again", Epoch: 6}, {Link: "steady", Epoch: 2}}
	if !slices.Equal(got, want) {
		t.Errorf("it could open %v, want %v", got, want)
	}
}

// A node that was taken out of a link has its key until the link gets another.
func TestANodeThatIsDeclaredNoMoreHasItsKey(t *testing.T) {
	down := func(n ...keychain.NodeID) []keychain.NodeID { return n }
	declared := topology.Topology{Links: []topology.Link{
		{Name: "a", Upstream: down("up"), Downstream: down("good")},
		{Name: "b", Upstream: down("bad"), Downstream: down("good")},
		{Name: "c", Upstream: down("up"), Downstream: down("good")},
	}}
	records := []link.Record{
		{Link: "a", State: link.New(down("up"), down("good", "bad"))},
		{Link: "c", State: link.New(down("up"), down("good"))},
		{Link: "not-declared", State: link.New(down("bad"), down("good"))},
	}
	got := linksOf(declared, records, func(n keychain.NodeID) bool { return n == "bad" })
	if !slices.Equal(got, []keychain.LinkID{"a", "b"}) {
		t.Errorf("it is part of %v", got)
	}
}

func TestUntilWhenAKeyWasInUse(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	past := func(s int, from, to keychain.Epoch) link.Entry {
		return link.Entry{At: at(s), From: key(from).Ref, To: key(to).Ref}
	}
	history := []link.Entry{past(1, 0, 1), past(2, 1, 2), past(3, 2, 1), past(4, 0, 1), past(5, 1, 3), past(6, 1, 3), past(7, 0, 3)}
	for e, want := range map[keychain.Epoch]time.Time{1: at(7), 2: at(4), 3: {}} {
		if got := lastUse(history, e); !got.Equal(want) {
			t.Errorf("epoch %d: in use until %v, want %v", e, got, want)
		}
	}
}
