package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

func agent(instance string) store.Agent {
	return store.Agent{Instance: instance, Host: "host-" + instance, PID: 7, Version: "v0", Started: epochZero}
}

func (e *env) serve(s *store.Store, node keychain.NodeID, instance string) *store.Tenure {
	e.t.Helper()
	tenure, err := s.Serve(e.ctx, siteOf(node), node, agent(instance))
	must(e.t, err)
	return tenure
}

// serving serves a node in the background.
func (e *env) serving(s *store.Store, node keychain.NodeID, instance string) <-chan *store.Tenure {
	c := make(chan *store.Tenure, 1)
	go func() {
		if tenure, err := s.Serve(e.ctx, siteOf(node), node, agent(instance)); err == nil {
			c <- tenure
		}
	}()
	return c
}

func observation(node keychain.NodeID, id keychain.LinkID, turn keychain.Turn, message string) store.Observation {
	return store.Observation{
		Site: siteOf(node), Link: id,
		Report: keychain.Report{Node: node, Turn: turn, Accepts: []keychain.Ref{ref(1)}, Message: message, At: epochZero},
	}
}

func ended(tenure *store.Tenure) bool {
	select {
	case <-tenure.Done():
		return true
	default:
		return false
	}
}

func testOlderReport(t *testing.T, e *env) {
	s := e.open()
	tenure := e.serve(s, "a", "one")
	must(t, tenure.Report(e.ctx, observation("a", "ab", 5, "first"), observation("a", "ac", 2, "first")))
	must(t, tenure.Report(e.ctx, observation("a", "ab", 5, "same turn")))

	// What the tenure remembers and what a new one reads must refuse alike.
	for range 2 {
		err := tenure.Report(e.ctx, observation("a", "ab", 4, "older"), observation("a", "ac", 3, "newer"))
		wantKind(t, err, fault.Stale)
		tenure = e.serve(s, "a", "one")
	}
	obs, err := tenure.Observations(e.ctx)
	must(t, err)
	if len(obs) != 2 || obs[0].Message != "same turn" || obs[1].Message != "newer" {
		t.Fatalf("observations are %+v", obs)
	}
	wantKind(t, tenure.Report(e.ctx, observation("b", "ab", 9, "of another node")), fault.Invalid)

	var many []store.Observation
	for i := range 200 {
		many = append(many, observation("a", keychain.LinkID(fmt.Sprintf("link-%03d", i)), 1, ""))
	}
	must(t, tenure.Report(e.ctx, many...))
	must(t, tenure.Report(e.ctx, many...))
	obs, err = tenure.Observations(e.ctx)
	must(t, err)
	if len(obs) != 202 {
		t.Fatalf("there are %d observations, want 202", len(obs))
	}
}

func testNoTenure(t *testing.T, e *env) {
	s := e.open()
	old := e.serve(s, "a", "one")
	must(t, old.Report(e.ctx, observation("a", "ab", 1, "old")))
	// The presence changes hands behind the tenure's back, and its report goes out
	// at once: the guard in etcd has to hold, not what the tenure has heard.
	for range 20 {
		next := e.serve(e.open(), "a", "one")
		wantKind(t, old.Report(e.ctx, observation("a", "ab", 9, "old again")), fault.Stale)
		receive(t, "the old tenure ends", old.Done())
		old = next
		must(t, old.Report(e.ctx, observation("a", "ab", 1, "new")))
	}
	obs, err := old.Observations(e.ctx)
	must(t, err)
	if len(obs) != 1 || obs[0].Message != "new" {
		t.Fatalf("observations are %+v", obs)
	}
	must(t, old.Close(e.ctx))
	wantKind(t, old.Report(e.ctx, observation("a", "ab", 9, "closed")), fault.Stale)
}

func testTwoAgents(t *testing.T, e *env) {
	first := e.serve(e.open(), "a", "one")
	waiting := e.serving(e.open(), "a", "two")
	other := e.serve(e.open(), "b", "two") // another node is no concern of the first
	for i := range keychain.Turn(50) {
		must(t, first.Report(e.ctx, observation("a", "ab", i, "")))
		select {
		case <-waiting:
			t.Fatal("two agents have the node")
		default:
		}
	}
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	if _, err := e.open().Serve(ctx, siteOf("a"), "a", agent("three")); !fault.Ended(ctx, err) {
		t.Fatalf("waiting ended with %v, want the context's own error", err)
	}
	must(t, first.Close(e.ctx))
	if !ended(first) {
		t.Fatal("a closed tenure goes on")
	}
	second := receive(t, "the second agent gets the node", waiting)
	must(t, first.Close(e.ctx))
	if ended(second) || ended(other) {
		t.Fatal("closing an old tenure ended another one")
	}
	must(t, second.Report(e.ctx, observation("a", "ab", 60, "")))
}

func testTakeOver(t *testing.T, e *env) {
	crashed := e.open()
	first := e.serve(crashed, "a", "one")
	second := e.serve(e.open(), "a", "one")
	receive(t, "the first tenure ends", first.Done())
	must(t, crashed.Close())
	must(t, second.Report(e.ctx, observation("a", "ab", 1, "")))
	if ended(second) {
		t.Fatal("the tenure ended with that of the store before")
	}
}

func testExpiry(t *testing.T, e *env) {
	e.config.LeaseTTL = 2 * time.Second
	crashed := e.open()
	first := e.serve(crashed, "a", "one")
	waiting := e.serving(e.open(), "a", "two")
	must(t, crashed.Close()) // the tenure is not closed: as if the process had died
	receive(t, "the first tenure ends", first.Done())
	receive(t, "the lease runs out", waiting)
}

func testCutOff(t *testing.T, e *env) {
	e.config.LeaseTTL = 4 * time.Second
	w, config := e.wired(t)
	first := e.serve(e.openWith(config), "a", "one")
	waiting := e.serving(e.open(), "a", "two")
	since := time.Now()
	w.cut()
	select {
	case <-first.Done():
		if took := time.Since(since); took >= e.config.LeaseTTL {
			t.Errorf("the first agent went on for %v, longer than its lease", took)
		}
	case <-waiting:
		t.Fatal("the second agent began before the first had ended")
	case <-e.ctx.Done():
		t.Fatal("the tenure goes on without etcd")
	}
	receive(t, "the second agent gets the node", waiting)
	wantKind(t, first.Report(e.ctx, observation("a", "ab", 1, "")), fault.Stale)
}
