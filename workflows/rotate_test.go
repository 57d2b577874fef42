package workflows_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/workflows"
)

func TestABatchIsRotated(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"), pair("b"), pair("c"))
		w.established("a", "b", "c")
		out := w.rotate("c", "a", "b")
		want(t, out, res("c", link.Rotated, 2), res("a", link.Rotated, 2), res("b", link.Rotated, 2))
		for _, id := range []keychain.LinkID{"a", "b", "c"} {
			w.steady(id, 2, link.Rotated)
		}
	})
}

func TestALinkGetsItsFirstKey(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"))
		want(t, w.rotate("a"), res("a", link.Rotated, 1))
		w.steady("a", 1, link.Rotated)
	})
}

// TestOneBadLinkIsNobodyElsesTrouble has a bad link between two good ones. The
// good ones end as if it were not there.
func TestOneBadLinkIsNobodyElsesTrouble(t *testing.T) {
	down := keychain.NodeID("bad-down1")
	for _, c := range []struct {
		name    string
		hurt    func(*world)
		heal    func(*world) // nil: there is no need
		outcome link.Outcome
		epoch   keychain.Epoch
		reason  string
	}{
		{"it is not declared", func(w *world) { w.declared.Links = w.declared.Links[1:] }, nil, link.Denied, 1, "no link"},
		{"its KEK is not there", func(w *world) { w.mint = mintFails("bad", fault.Refused) }, nil, link.Denied, 1, "mint"},
		{"its owner still runs", func(w *world) {
			w.running["other-1"] = true
			r := w.record("bad")
			r.Owner = "other-1"
			w.put(r)
		}, nil, link.Denied, 1, "other-1"},
		{"Vault has no time for it", func(w *world) { w.mint = mintFails("bad", fault.Unavailable) },
			func(w *world) { w.locked(func() { w.mint = nil }) }, link.Rotated, 2, ""},
		{"a node is dead", func(w *world) { w.change(dead, down) }, func(w *world) { w.change(alive, down) }, link.Rotated, 2, ""},
		{"the sender is dead", func(w *world) { w.change(dead, "bad-up") }, func(w *world) { w.change(alive, "bad-up") }, link.Rotated, 2, ""},
		{"a node is slow", func(w *world) { w.change(slow, down) }, nil, link.Rotated, 2, ""},
		{"a node fails", func(w *world) { w.change(func(n *node) { n.fault = "refused" }, down) },
			func(w *world) { w.change(func(n *node) { n.fault = "" }, down) }, link.Rotated, 2, ""},
		{"a node has another key", func(w *world) { w.change(func(n *node) { n.lies = 2 }, "bad-down2") },
			func(w *world) { w.change(func(n *node) { n.lies = 0 }, "bad-down2") }, link.Rotated, 2, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := newWorld(t, pair("bad"), pair("good"), pair("well"))
				w.established("bad", "good", "well")
				c.hurt(w)
				begun := time.Now()
				var goodAfter, wellAfter time.Duration
				ended := func(r link.Record) bool {
					return r.State.Phase == link.Steady && r.Owner == "" && r.State.To.Epoch == 2
				}
				w.when("good", ended, func() { goodAfter = time.Since(begun) })
				w.when("well", ended, func() { wellAfter = time.Since(begun) })
				if c.heal != nil {
					time.AfterFunc(time.Hour+time.Minute, func() { c.heal(w) })
				}
				out := w.rotate("good", "bad", "well")
				want(t, out, res("good", link.Rotated, 2), res("bad", c.outcome, c.epoch), res("well", link.Rotated, 2))
				if got := out.Links[1].Reason; !strings.Contains(got, c.reason) {
					t.Errorf("the reason is %q, want %q in it", got, c.reason)
				}
				for _, took := range []time.Duration{goodAfter, wellAfter} {
					if took == 0 || took > time.Second {
						t.Errorf("a good link took %v", took)
					}
				}
			})
		})
	}
}

func mintFails(id keychain.LinkID, k fault.Kind) func(keychain.LinkID) error {
	return func(of keychain.LinkID) error {
		if of == id {
			return fault.New(k, "mint a key for %s: vault says no", id)
		}
		return nil
	}
}

func TestItSaysHowItStands(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"), pair("b"), pair("c"))
		w.established("a", "b", "c")
		w.change(dead, "b-down2")
		w.mint = mintFails("c", fault.Unavailable)
		r := w.newRun(theCampaign)
		time.AfterFunc(time.Minute, func() {
			r.progress(func(out workflows.Outcome) {
				want(t, out, res("a", link.Rotated, 2), res("b", link.Held, 1), res("c", link.Held, 0))
				b, c := out.Links[1], out.Links[2]
				if b.Phase != link.Staging || b.Seconds < 1 || b.Reason != "" {
					t.Errorf("b stands at %+v, want Staging for a minute, and no reason of the workflow's", b)
				}
				if !strings.Contains(c.Reason, "vault says no") {
					t.Errorf("c stands at %+v, want the reason that it waits for", c)
				}
				w.locked(func() { w.mint = nil })
				w.change(alive, "b-down2")
			})
		})
		out := r.outcome(workflows.Batch{Campaign: theCampaign, Intent: workflows.ToRotate, Links: []keychain.LinkID{"a", "b", "c"}})
		want(t, out, res("a", link.Rotated, 2), res("b", link.Rotated, 2), res("c", link.Rotated, 2))
	})
}

// TestEtcdAwayAtAnyCommit loses the request or the answer of every single commit
// of a rotation: the crash of a worker between writing and saying so.
func TestEtcdAwayAtAnyCommit(t *testing.T) {
	for _, trouble := range []outage{requestLost, answerLost} {
		for at := 1; ; at++ {
			commits := 0
			t.Run(fmt.Sprintf("trouble %d at commit %d", trouble, at), func(t *testing.T) {
				timeless(t, func(t *testing.T) {
					w := newWorld(t, pair("a"), pair("b"))
					w.established("a", "b")
					w.outage = func(n int) outage {
						if n == at {
							return trouble
						}
						return fine
					}
					want(t, w.rotate("a", "b"), res("a", link.Rotated, 2), res("b", link.Rotated, 2))
					w.steady("a", 2, link.Rotated)
					w.steady("b", 2, link.Rotated)
					if h := w.record("a").State.Highest; h != 2 {
						t.Errorf("%d epochs were used up", h)
					}
					commits = w.commits
				})
			})
			if at > commits {
				if at < 4 {
					t.Errorf("a rotation of %d commits is too short to be true", commits)
				}
				break
			}
		}
	}
}

func TestANodeLeavesWhileItIsAwaited(t *testing.T) {
	for _, p := range []link.Phase{link.Staging, link.Retiring} {
		t.Run(p.String(), func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := newWorld(t, pair("a"))
				w.established("a")
				if p == link.Staging {
					w.change(dead, "a-down2")
				}
				w.when("a", in(p), func() {
					w.change(dead, "a-down2")
					time.Sleep(time.Minute)
					l := pair("a")
					l.Downstream = l.Downstream[:1]
					w.declare(l)
				})
				want(t, w.rotate("a"), res("a", link.Rotated, 2))
				if got := w.record("a").State.Downstream; len(got) != 1 {
					t.Errorf("downstream is %v", got)
				}
			})
		})
	}
}

func TestANodeThatJoinsIsStagedFirst(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"))
		w.established("a")
		l := pair("a")
		l.Downstream = append(l.Downstream, "a-down3")
		w.declare(l)
		want(t, w.rotate("a"), res("a", link.Rotated, 2))
		w.steady("a", 2, link.Rotated)
		if got := w.record("a").State.Downstream; len(got) != 3 {
			t.Errorf("downstream is %v", got)
		}
	})
}

func TestALossLeadsToAnotherEpoch(t *testing.T) {
	for _, c := range []struct {
		phase link.Phase
		epoch keychain.Epoch
	}{
		{link.Staging, 2}, // the old key is lost, and the new one is on its way
		{link.Draining, 3},
	} {
		t.Run(c.phase.String(), func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				l := pair("a")
				l.Policy = "minute"
				w := newWorld(t, l, pair("b"))
				w.established("a", "b")
				w.when("a", in(c.phase), func() { w.lose("a-up", "a") })
				want(t, w.rotate("a", "b"), res("a", link.Rotated, c.epoch), res("b", link.Rotated, 2))
				w.steady("a", c.epoch, link.Rotated)
			})
		})
	}
}

// TestAStrandedLinkGetsAnotherEpoch has a sender that lost the new key before it
// used it: the machine turns round by itself, and the campaign goes on.
func TestAStrandedLinkGetsAnotherEpoch(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"))
		w.established("a")
		w.change(func(n *node) { n.spoils = 2 }, "a-up")
		turned := false
		w.when("a", func(r link.Record) bool { return r.State.Reverting }, func() { turned = true })
		want(t, w.rotate("a"), res("a", link.Rotated, 3))
		w.steady("a", 3, link.Rotated)
		if !turned {
			t.Error("it never turned round")
		}
	})
}

func TestALinkThatIsTakenOverIsLetGo(t *testing.T) {
	for _, c := range []struct {
		name   string
		owner  string
		saying string
	}{
		{"by another workflow", "other-1", "other-1"},
		{"by one that has ended since", "", "somebody else"},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := newWorld(t, pair("a"), pair("b"))
				w.established("a", "b")
				w.change(dead, "a-up")
				w.when("a", in(link.Staging), func() {
					time.Sleep(time.Minute)
					r := w.record("a")
					r.Owner = c.owner
					w.put(r)
				})
				out := w.rotate("a", "b")
				want(t, out, res("a", link.Held, 1), res("b", link.Rotated, 2))
				if got := out.Links[0].Reason; !strings.Contains(got, c.saying) {
					t.Errorf("the reason is %q, want %s in it", got, c.saying)
				}
				if got := w.record("a").Owner; got != c.owner {
					t.Errorf("the owner is %q, want it left alone", got)
				}
			})
		})
	}
}

// TestALinkTakenOverDuringASave is the same, found out by the guard of the store.
func TestALinkTakenOverDuringASave(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"), pair("b"))
		w.established("a", "b")
		w.outage = func(n int) outage {
			if n == 2 { // the first Save
				r := w.records["a"]
				w.revision++
				r.Owner, r.Revision = "other-1", w.revision
				w.records["a"] = r
			}
			return fine
		}
		out := w.rotate("a", "b")
		want(t, out, res("a", link.Held, 1), res("b", link.Rotated, 2))
		if r := w.record("a"); r.Owner != "other-1" || r.State.Phase != link.Staging {
			t.Errorf("the new owner's record became %+v", r)
		}
	})
}

func TestAnotherRunAdoptsWhatADeadOneLeft(t *testing.T) {
	for _, p := range []link.Phase{link.Staging, link.Switching, link.Draining, link.Retiring} {
		t.Run(p.String(), func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := newWorld(t, pair("a"))
				w.leftIn("a", p)
				want(t, w.rotate("a"), res("a", link.Rotated, 2))
				w.steady("a", 2, link.Rotated)
				if len(w.minted) > 1 {
					t.Errorf("minted %v", w.minted)
				}
			})
		})
	}
}

func TestARunTimeoutIsRefused(t *testing.T) {
	for _, c := range []struct{ run, execution bool }{{true, false}, {false, true}} {
		timeless(t, func(t *testing.T) {
			w := newWorld(t, pair("a"))
			r := w.newRun(theCampaign)
			r.timed.run, r.timed.execution = c.run, c.execution
			err := r.execute(workflows.Batch{Intent: workflows.ToRotate, Links: []keychain.LinkID{"a"}})
			refused := new(temporal.ApplicationError)
			if !errors.As(err, &refused) || !refused.NonRetryable() || refused.Type() != fault.Invalid.String() {
				t.Errorf("%+v: it ended with %v, want it refused as invalid", c, err)
			}
			if w.commits > 0 {
				t.Error("it wrote something")
			}
		})
	}
}

// TestTheWatchOfThePromiseHasTeeth commits what link.Step never would.
func TestTheWatchOfThePromiseHasTeeth(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"))
		w.established("a")
		w.change(dead, "a-down2")
		r := w.record("a")
		r.State, _ = link.Step(r.State, link.Rotate{Epoch: 2})
		r.State.Phase, r.State.Turn = link.Switching, r.State.Turn+1
		w.put(r)
		time.Sleep(time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.broken) == 0 {
			t.Error("nobody noticed that a-down2 cannot read what a-up sends")
		}
		w.broken = nil
	})
}
