package workflows_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/workflows"
)

// suggest has Temporal suggest to continue as new, and gives the loop a reason to
// look: a new report of a node.
func (r *run) suggest(wake keychain.NodeID) {
	r.soon(func() {
		r.env.SetContinueAsNewSuggested(true)
		r.w.change(alive, wake)
	})
}

// TestContinueAsNewChangesNothing runs one batch twice: in one run, and in a run
// that is continued in another. The results are the same.
func TestContinueAsNewChangesNothing(t *testing.T) {
	ids := []keychain.LinkID{"rotated", "unknown", "aborted", "turned", "forward", "waiting", "dropped"}
	story := func(t *testing.T, continued bool) workflows.Outcome {
		w := newWorld(t, pair("rotated"), pair("aborted"), pair("turned"), pair("forward"), pair("waiting"), pair("dropped"), pair("wake"))
		w.established("rotated", "aborted", "turned", "forward", "waiting", "dropped")
		w.mint = func(id keychain.LinkID) error {
			if id == "waiting" || id == "dropped" {
				return fault.New(fault.Unavailable, "mint: vault does not answer")
			}
			return nil
		}
		w.change(dead, "aborted-down1", "forward-down1", "forward-down2")
		w.change(func(n *node) { n.spoils = 2 }, "turned-up")
		r := w.newRun(theCampaign)
		w.when("turned", func(x link.Record) bool { return x.State.Phase == link.Retiring }, func() { w.change(dead, "turned-down1") })
		time.AfterFunc(time.Minute, func() {
			r.abort(workflows.AbortRequest{Links: []keychain.LinkID{"aborted", "dropped"}, Reason: "a change of mind"})
		})
		if continued {
			time.AfterFunc(time.Hour, func() { r.suggest("forward-down1") })
		}
		time.AfterFunc(2*time.Hour, func() {
			w.locked(func() { w.mint = nil })
			w.change(alive, "aborted-down1", "forward-down1", "forward-down2", "turned-down1")
		})
		in := batch(ids...)
		if !continued {
			return r.outcome(in)
		}
		next := r.continued(in)
		if !slices.Equal(next.Links, ids) || len(next.Results) != 3 {
			t.Errorf("the next run gets %+v", next)
		}
		return w.newRun(theCampaign).outcome(next)
	}
	var outcomes [2]workflows.Outcome
	for i, continued := range []bool{false, true} {
		timeless(t, func(t *testing.T) { outcomes[i] = story(t, continued) })
		want(t, outcomes[i], res("rotated", link.Rotated, 2), res("unknown", link.Denied, 0), res("aborted", link.Aborted, 1),
			res("turned", link.Rotated, 3), res("forward", link.Rotated, 2), res("waiting", link.Rotated, 2), res("dropped", link.Aborted, 0))
		for k := range outcomes[i].Links {
			outcomes[i].Links[k].Seconds = 0
		}
	}
	if !reflect.DeepEqual(outcomes[0], outcomes[1]) {
		a, _ := json.Marshal(outcomes[0])
		b, _ := json.Marshal(outcomes[1])
		t.Errorf("in one run  %s\nin two runs %s", a, b)
	}
}

// TestContinueAsNewWaitsForUpdates has aborts arrive just before a run ends, and
// while it saves what it has.
func TestContinueAsNewWaitsForUpdates(t *testing.T) {
	for _, c := range []struct {
		name string
		late bool
	}{{"just before", false}, {"during the last save", true}} {
		t.Run(c.name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := newWorld(t, pair("a"), pair("b"), pair("c"))
				w.established("a", "b", "c")
				w.change(dead, "a-down1", "b-down1", "c-down1")
				r := w.newRun(theCampaign)
				var first, second, third *update
				abort := func(id keychain.LinkID) *update {
					return r.abort(workflows.AbortRequest{Links: []keychain.LinkID{id}, Reason: "no more"})
				}
				time.AfterFunc(time.Minute, func() {
					first = abort("a")
					r.soon(func() { r.env.SetContinueAsNewSuggested(true) })
					if !c.late {
						second, third = abort("b"), abort("c")
					}
				})
				if c.late {
					w.outage = func(n int) outage {
						switch n {
						case 2: // the Save of the first, after which it continues as new
							second = abort("b")
						case 3: // the Save of the second
							third = abort("c")
						}
						w.mu.Unlock()
						time.Sleep(time.Second)
						w.mu.Lock()
						return fine
					}
				}
				next := r.continued(batch("a", "b", "c"))
				for _, u := range []*update{first, second, third} {
					if !u.done || len(u.answer.Aborting) != 1 {
						t.Errorf("an abort was answered %+v", u)
					}
				}
				w.change(alive, "a-down1", "b-down1", "c-down1")
				out := w.newRun(theCampaign).outcome(next)
				want(t, out, res("a", link.Aborted, 1), res("b", link.Aborted, 1), res("c", link.Aborted, 1))
				for _, l := range out.Links {
					if l.Reason != "no more" {
						t.Errorf("the result is %+v", l)
					}
				}
			})
		})
	}
}

// TestContinueAsNewWaitsForBegin has a link aborted while it is being begun, just
// before the run ends: the next run does not begin it again.
func TestContinueAsNewWaitsForBegin(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"), pair("b"))
		w.established("a", "b")
		calls := 0
		w.mint = func(id keychain.LinkID) error {
			if id == "b" {
				return nil
			}
			if calls++; calls > 1 { // the first is answered, so that b goes on
				w.mu.Unlock()
				time.Sleep(10 * time.Second)
				w.mu.Lock()
			}
			return fault.New(fault.Unavailable, "mint: vault does not answer")
		}
		w.change(dead, "b-down1")
		r := w.newRun(theCampaign)
		var u *update
		time.AfterFunc(5*time.Second, func() { u = r.abort(workflows.AbortRequest{Links: []keychain.LinkID{"a"}}) })
		time.AfterFunc(6*time.Second, func() { r.suggest("b-down1") })
		next := r.continued(batch("a", "b"))
		if len(next.Results) != 1 || len(u.answer.Aborting) != 1 {
			t.Errorf("the next run gets %+v, and the abort was answered %+v", next, u.answer)
		}
		w.locked(func() { w.mint = nil })
		want(t, w.newRun(theCampaign).outcome(next), res("a", link.Aborted, 0), res("b", link.Rotated, 2))
	})
}

// TestContinueAsNewAfterACancellation still means abort: nothing is begun anew.
func TestContinueAsNewAfterACancellation(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"), pair("b"), pair("turned"))
		w.established("a", "b", "turned")
		w.mint = mintFails("b", fault.Unavailable)
		w.change(dead, "a-down1")
		w.change(func(n *node) { n.spoils = 2 }, "turned-up")
		r := w.newRun(theCampaign)
		w.when("turned", in(link.Retiring), func() { w.change(dead, "turned-down1") })
		time.AfterFunc(time.Minute, r.env.CancelWorkflow)
		time.AfterFunc(time.Hour, func() { r.suggest("turned-up") })
		time.AfterFunc(2*time.Hour, func() { w.change(alive, "a-down2") })
		next := r.continued(batch("a", "b", "turned"))
		w.locked(func() { w.mint = nil })
		w.change(alive, "a-down1", "turned-down1")
		out := w.newRun(theCampaign).outcome(next)
		want(t, out, res("a", link.Aborted, 1), res("b", link.Aborted, 0), res("turned", link.Aborted, 1))
		if w.minted["b/2"]+w.minted["turned/3"] > 0 {
			t.Errorf("minted %v after the cancellation", w.minted)
		}
	})
}
