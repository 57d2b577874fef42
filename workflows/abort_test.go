package workflows_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/workflows"
)

// inFlight are the phases that a rotation passes.
var inFlight = []link.Phase{link.Staging, link.Switching, link.Draining, link.Retiring}

func batch(ids ...keychain.LinkID) workflows.Batch {
	return workflows.Batch{Campaign: theCampaign, Intent: workflows.ToRotate, Links: ids}
}

// draining is a pair that drains for a minute.
func draining(name string) topology.Link {
	l := pair(name)
	l.Policy = "minute"
	return l
}

func TestAbortInEveryPhase(t *testing.T) {
	for _, p := range inFlight {
		t.Run(p.String(), func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := newWorld(t, draining("a"), draining("b"))
				w.established("a", "b")
				r := w.newRun(theCampaign)
				var u *update
				w.when("a", in(p), func() {
					u = r.abort(workflows.AbortRequest{Links: []keychain.LinkID{"a"}, Reason: "a change of mind"})
				})
				out := r.outcome(batch("a", "b"))
				if p == link.Retiring {
					want(t, out, res("a", link.Rotated, 2), res("b", link.Rotated, 2))
					if u.rejected == nil || !strings.Contains(u.rejected.Error(), "too late") {
						t.Errorf("the abort was rejected with %v, want it too late", u.rejected)
					}
					return
				}
				want(t, out, res("a", link.Aborted, 1), res("b", link.Rotated, 2))
				w.steady("a", 1, link.Aborted)
				if len(u.answer.Aborting) != 1 || len(u.answer.Refused) != 0 {
					t.Errorf("the answer is %+v", u.answer)
				}
				if got := w.record("a"); out.Links[0].Reason != "a change of mind" || got.Last.Reason != "a change of mind" || got.State.Highest != 2 {
					t.Errorf("the result is %+v, the record %+v", out.Links[0], got)
				}
			})
		})
	}
}

func TestCancellingIsAborting(t *testing.T) {
	for _, p := range inFlight {
		t.Run(p.String(), func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := newWorld(t, draining("a"), pair("b"), pair("c"))
				w.established("a", "b", "c")
				w.locked(func() { w.mint = mintFails("c", fault.Unavailable) })
				r := w.newRun(theCampaign)
				w.when("a", in(p), func() {
					w.change(dead, "a-up", "a-down1")
					r.env.CancelWorkflow()
					// It does not end before everything is safe.
					time.AfterFunc(3*time.Hour, func() { w.change(alive, "a-up", "a-down1") })
				})
				begun := time.Now()
				out := r.outcome(batch("a", "b", "c"))
				a, b := res("a", link.Aborted, 1), res("b", link.Rotated, 2)
				switch p {
				case link.Retiring:
					a = res("a", link.Rotated, 2)
				case link.Steady, link.Staging, link.Switching, link.Draining: // b is not further than a
					b = res("b", link.Aborted, 1)
				}
				want(t, out, a, b, res("c", link.Aborted, 0))
				if time.Since(begun) < 3*time.Hour {
					t.Errorf("it ended after %v with its nodes dead", time.Since(begun))
				}
				if a.Outcome == link.Aborted && !strings.Contains(out.Links[0].Reason, "cancelled") {
					t.Errorf("the reason is %q", out.Links[0].Reason)
				}
			})
		})
	}
}

func TestAbortsThatCouldDoNothingAreRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		links []keychain.LinkID
		says  string
	}{
		{"not part of the batch", []keychain.LinkID{"elsewhere"}, "not part of rotate-1"},
		{"one of two is not part of the batch", []keychain.LinkID{"c", "elsewhere"}, "not part of rotate-1"},
		{"ended", []keychain.LinkID{"a"}, "it has ended: rotated"},
		{"too late", []keychain.LinkID{"b"}, "too late"},
		{"one of two is too late", []keychain.LinkID{"c", "b"}, "too late"},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := newWorld(t, pair("a"), pair("b"), pair("c"))
				w.established("a", "b", "c")
				w.change(dead, "c-up")
				r := w.newRun(theCampaign)
				w.when("b", in(link.Retiring), func() { w.change(dead, "b-down1") })
				var u *update
				time.AfterFunc(time.Minute, func() { u = r.abort(workflows.AbortRequest{Links: c.links}) })
				time.AfterFunc(time.Hour, func() { w.change(alive, "b-down1", "c-up") })
				want(t, r.outcome(batch("a", "b", "c")), res("a", link.Rotated, 2), res("b", link.Rotated, 2), res("c", link.Rotated, 2))
				if u.rejected == nil || !strings.Contains(u.rejected.Error(), c.says) {
					t.Errorf("it was rejected with %v, want %q in it", u.rejected, c.says)
				}
			})
		})
	}
}

// TestAbortOfEverything takes back what can still be taken back, whatever else
// there is in the batch.
func TestAbortOfEverything(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("ended"), pair("late"), pair("staging"), pair("waiting"))
		w.established("ended", "late", "staging", "waiting")
		w.change(dead, "staging-down1")
		w.mint = mintFails("waiting", fault.Unavailable)
		r := w.newRun(theCampaign)
		w.when("late", in(link.Retiring), func() { w.change(dead, "late-down1") })
		var first, second *update
		time.AfterFunc(time.Minute, func() { first = r.abort(workflows.AbortRequest{}) })
		time.AfterFunc(2*time.Minute, func() { second = r.abort(workflows.AbortRequest{}) })
		time.AfterFunc(time.Hour, func() { w.change(alive, "late-down1", "staging-down1") })
		out := r.outcome(batch("ended", "late", "staging", "waiting"))
		want(t, out, res("ended", link.Rotated, 2), res("late", link.Rotated, 2), res("staging", link.Aborted, 1), res("waiting", link.Aborted, 0))
		if len(first.answer.Aborting) != 2 || len(first.answer.Refused) != 1 || first.answer.Refused[0].Link != "late" {
			t.Errorf("the answer is %+v", first.answer)
		}
		if second.rejected == nil || !strings.Contains(second.rejected.Error(), "nothing left") {
			t.Errorf("the second was rejected with %v, want nothing left", second.rejected)
		}
		if len(w.minted) != 3 { // none for the link that never began
			t.Errorf("minted %v", w.minted)
		}
	})
}

// TestAbortBeforeItBegan ends at once: nothing was written for the link.
func TestAbortBeforeItBegan(t *testing.T) {
	for _, c := range []struct {
		name string
		stop func(*run)
	}{
		{"by an operator", func(r *run) { r.abort(workflows.AbortRequest{Links: []keychain.LinkID{"a"}}) }},
		{"by an operator, all", func(r *run) { r.abort(workflows.AbortRequest{}) }},
		{"by two operators", func(r *run) { r.abort(workflows.AbortRequest{}); r.abort(workflows.AbortRequest{}) }},
		{"by cancelling", func(r *run) { r.env.CancelWorkflow() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := newWorld(t, pair("a"))
				w.established("a")
				w.mint = mintFails("a", fault.Unavailable)
				r := w.newRun(theCampaign)
				time.AfterFunc(time.Hour+time.Second, func() { c.stop(r) })
				begun := time.Now()
				want(t, r.outcome(batch("a")), res("a", link.Aborted, 0))
				if took := time.Since(begun); took > time.Hour+time.Minute {
					t.Errorf("it took %v", took)
				}
				if w.commits > 0 {
					t.Error("something was written")
				}
			})
		})
	}
}

// TestAbortWhileItBegins comes while Begin waits for the custodian.
func TestAbortWhileItBegins(t *testing.T) {
	for _, c := range []struct {
		name  string
		mint  error
		epoch keychain.Epoch
	}{
		{"and the key comes", nil, 1},
		{"and no key comes", fault.New(fault.Unavailable, "mint: vault does not answer"), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := newWorld(t, pair("a"), pair("b"))
				w.established("a", "b")
				r := w.newRun(theCampaign)
				w.mint = func(id keychain.LinkID) error {
					if id == "b" {
						return nil
					}
					w.mu.Unlock()
					time.Sleep(10 * time.Second)
					w.mu.Lock()
					return c.mint
				}
				var u *update
				time.AfterFunc(5*time.Second, func() { u = r.abort(workflows.AbortRequest{Links: []keychain.LinkID{"a"}}) })
				want(t, r.outcome(batch("a", "b")), res("a", link.Aborted, c.epoch), res("b", link.Rotated, 2))
				if len(u.answer.Aborting) != 1 || !u.done {
					t.Errorf("the answer is %+v", u)
				}
				if got := w.record("a"); got.State.To.Epoch != 1 || got.State.Phase != link.Steady || got.Owner != "" {
					t.Errorf("the record is %+v", got)
				}
			})
		})
	}
}

// TestTwoAbortsAtOnce are both answered: the first ends the last link at once.
func TestTwoAbortsAtOnce(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"))
		w.change(dead, "a-down1")
		r := w.newRun(theCampaign)
		var first, second *update
		time.AfterFunc(time.Minute, func() {
			first = r.abort(workflows.AbortRequest{Links: []keychain.LinkID{"a"}})
			second = r.abort(workflows.AbortRequest{Links: []keychain.LinkID{"a"}})
		})
		want(t, r.outcome(batch("a")), res("a", link.Aborted, 0)) // its first key: there is nothing to go back to
		w.steady("a", 0, link.Aborted)
		if !first.done || !second.done || len(first.answer.Aborting) != 1 {
			t.Errorf("the answers are %+v and %+v", first, second)
		}
	})
}

// TestAbortOfALinkThatIsBeingTakenOver arrives during the Save that finds out.
func TestAbortOfALinkThatIsBeingTakenOver(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"))
		w.established("a")
		r := w.newRun(theCampaign)
		var u *update
		w.outage = func(n int) outage {
			if n == 2 { // the first Save
				w.revision++
				x := w.records["a"]
				x.Owner, x.Revision = "other-1", w.revision
				w.records["a"] = x
				u = r.abort(workflows.AbortRequest{})
				w.mu.Unlock()
				time.Sleep(time.Second)
				w.mu.Lock()
			}
			return fine
		}
		want(t, r.outcome(batch("a")), res("a", link.Held, 1))
		if !u.done {
			t.Error("the abort was never answered")
		}
	})
}

// TestAbortBetweenTwoEpochs takes the link back when it has turned round by
// itself and waits for another key.
func TestAbortBetweenTwoEpochs(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"))
		w.established("a")
		w.change(func(n *node) { n.spoils = 2 }, "a-up")
		r := w.newRun(theCampaign)
		var u *update
		w.when("a", func(x link.Record) bool { return x.State.Reverting }, func() {
			w.locked(func() { w.mint = mintFails("a", fault.Unavailable) })
			time.Sleep(time.Minute)
			u = r.abort(workflows.AbortRequest{Links: []keychain.LinkID{"a"}, Reason: "enough"})
		})
		want(t, r.outcome(batch("a")), res("a", link.Aborted, 1))
		w.steady("a", 1, link.Aborted)
		if len(u.answer.Aborting) != 1 || w.record("a").Last.Reason != "enough" {
			t.Errorf("the answer is %+v, the record %+v", u.answer, w.record("a").Last)
		}
	})
}

// TestToAbort is the intent of `keyorch abort` for links whose workflow is gone.
func TestToAbort(t *testing.T) {
	for _, c := range []struct {
		phase   link.Phase
		outcome link.Outcome
		epoch   keychain.Epoch
	}{
		{link.Steady, link.Denied, 2},
		{link.Staging, link.Aborted, 1},
		{link.Switching, link.Aborted, 1},
		{link.Draining, link.Aborted, 1},
		{link.Retiring, link.Rotated, 2},
	} {
		t.Run(c.phase.String(), func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := newWorld(t, pair("a"))
				w.leftIn("a", c.phase)
				r := w.newRun("abort-a-2")
				out := r.outcome(workflows.Batch{Campaign: "abort-a-2", Intent: workflows.ToAbort, Links: []keychain.LinkID{"a"}, Reason: "no more"})
				want(t, out, res("a", c.outcome, c.epoch))
				if c.outcome == link.Aborted && out.Links[0].Reason != "no more" {
					t.Errorf("the reason is %q", out.Links[0].Reason)
				}
				if len(w.minted) > 0 {
					t.Errorf("minted %v", w.minted)
				}
			})
		})
	}
}

// TestToAbortOfALostKey cannot go back, and leaves a link that is silent: it must
// let go of it, so that Mend gives it a new epoch.
func TestToAbortOfALostKey(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, draining("a"))
		w.leftIn("a", link.Draining)
		w.lose("a-up", "a")
		out := w.newRun("abort-a-2").outcome(workflows.Batch{Campaign: "abort-a-2", Intent: workflows.ToAbort, Links: []keychain.LinkID{"a"}})
		want(t, out, res("a", link.Rotated, 2))
		if r := w.record("a"); r.Owner != "" || r.State.Phase != link.Steady {
			t.Errorf("it ended as %+v and the link is in %v, owned by %q", out.Links[0], r.State.Phase, r.Owner)
		}
	})
}
