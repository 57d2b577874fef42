package workflows_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/workflows"
)

// exclude shuts a node out, and tells everybody.
func (w *world) exclude(n keychain.NodeID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.standing.Exclusions = append(w.standing.Exclusions, topology.Exclusion{Node: n, Reason: "stolen", Since: time.Now()})
	for id := range w.records {
		w.tell(id)
	}
}

// A link waits for a node, and the node is shut out. Nobody is awaited any more,
// but the key that was staged is one that the node has: nobody may send with it.
func TestWhatWasStagedForAnExcludedNodeIsNeverUsed(t *testing.T) {
	for _, who := range []string{"the workflow that has it", "another that finds it", "another whose worker is killed", "an emergency"} {
		t.Run(who, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := newWorld(t, pair("a"))
				w.locked(func() { w.nodes["a-down2"].dead = true })
				w.established("a")
				in := workflows.Batch{Campaign: theCampaign, Intent: workflows.ToRotate, Links: []keychain.LinkID{"a"}}
				want := keychain.Epoch(3)
				if who == "the workflow that has it" {
					want = 1
					time.AfterFunc(time.Minute, func() { w.exclude("a-down2") })
				} else {
					w.locked(func() {
						r := w.records["a"]
						r.Owner = "dead-1"
						w.records["a"] = r
						w.step("a", link.Rotate{Epoch: 2})
					})
					w.exclude("a-down2")
					in.Urgent = who == "an emergency"
				}
				if killed := false; who == "another whose worker is killed" {
					w.outage = func(int) outage { // it has taken the link over, and nobody was told
						if killed {
							return fine
						}
						killed = true
						return answerLost
					}
				}
				w.when("a", func(r link.Record) bool { return r.State.Phase == link.Switching && r.State.To.Epoch == 2 }, func() {
					t.Error("it was to send with the key that the excluded node has")
				})
				w.newRun(theCampaign).outcome(in)
				r := w.record("a")
				if r.State.Phase != link.Steady || r.State.To.Epoch != want || len(r.State.Downstream) != 1 {
					t.Errorf("it ended as %+v", r)
				}
				if want == 1 && !strings.Contains(r.Last.Reason, "a-down2") {
					t.Errorf("it does not say why: %q", r.Last.Reason)
				}
			})
		})
	}
}

// What an emergency has begun stays urgent, whoever goes on with it.
func TestWhoAdoptsAnEmergencyIsInAHurryToo(t *testing.T) {
	timeless(t, func(t *testing.T) {
		frozen := topology.Policy{Drain: time.Millisecond, Wait: time.Minute, Tail: time.Hour, Freezes: []topology.Freeze{{From: "1999-12-01", To: "2000-02-01"}}}
		w := ruled(t, frozen, "a")
		w.locked(func() {
			r := w.records["a"]
			r.Owner, r.Last = "dead-1", link.Attempt{Campaign: "dead", Urgent: true}
			w.records["a"] = r
			w.step("a", link.Rotate{Epoch: 2})
		})
		want(t, w.rotate("a"), res("a", link.Rotated, 2))
	})
}

// comebacks runs Mend over a world in which what it starts is run, and says when
// it started something.
type comebacks struct {
	w  *world
	mu sync.Mutex
	at []time.Duration
}

func (c *comebacks) Start(ctx context.Context, id string, in workflows.Batch) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = append(c.at, time.Since(begin2000))
	return c.w.Start(ctx, id, in)
}

// begin2000 is when every bubble begins.
var begin2000 = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (c *comebacks) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.at)
}

// leftBehind is a link whose quorum went on without a-down2, with Mend running.
func leftBehind(t *testing.T, trouble func(*node)) (*world, *comebacks) {
	w := ruled(t, topology.Policy{Drain: time.Millisecond, Wait: time.Minute, Tail: time.Hour, Quorum: topology.Amount{Number: 1}}, "a")
	w.drives = true
	w.locked(func() { trouble(w.nodes["a-down2"]) })
	want(t, w.rotate("a"), res("a", link.Rotated, 2))
	c := &comebacks{w: w}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		workflows.Mend(ctx, view{w}, c, w, slog.New(slog.DiscardHandler))
	}()
	t.Cleanup(func() { cancel(); <-done })
	return w, c
}

func brokenDevice(n *node) { n.fault = "unavailable" }
func repaired(n *node)     { n.fault = "" }

func TestANodeThatWasAwayRejoinsAtOnce(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w, c := leftBehind(t, dead)
		time.Sleep(time.Hour)
		if n := c.count(); n > 0 {
			t.Errorf("%d rotations began with the node away", n)
		}
		w.change(alive, "a-down2")
		w.locked(func() { w.tell("a") })
		time.Sleep(2 * time.Second)
		if r := w.record("a"); r.State.To.Epoch != 3 || len(r.State.Downstream) != 2 || len(r.Quarantined) > 0 {
			t.Errorf("it is %+v", r)
		}
	})
}

// The agent is there all the time, and the device does not answer: it is tried
// again, ever more rarely, and never holds its link.
func TestADeviceThatDoesNotAnswerIsTriedEverMoreRarely(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w, c := leftBehind(t, brokenDevice)
		time.Sleep(24 * time.Hour)
		if n := c.count(); n < 20 || n > 35 {
			t.Errorf("it was tried %d times in a day: %v", n, c.at)
		}
		if r := w.record("a"); r.State.Phase != link.Steady || len(r.Quarantined) != 1 {
			t.Fatalf("it is %+v", r)
		}
		before := w.record("a").State.To.Epoch
		w.locked(func() { repaired(w.nodes["a-down2"]) })
		time.Sleep(2 * time.Hour)
		if r := w.record("a"); r.State.To.Epoch != before+1 || len(r.State.Downstream) != 2 || len(r.Quarantined) > 0 {
			t.Errorf("repaired it is %+v, from epoch %d", r, before)
		}
	})
}

// Whoever is not to come back does not cost the link an epoch after the other.
func TestWhoIsNotToComeBackIsNotTakenBack(t *testing.T) {
	for name, away := range map[string]func(*world){
		"excluded": func(w *world) { w.exclude("a-down2") },
		"declared no more": func(w *world) {
			l := pair("a")
			l.Policy, l.Downstream = "ruled", l.Downstream[:1]
			w.declare(l)
		},
		"in maintenance": func(w *world) {
			w.locked(func() {
				w.standing.Maintenance = []topology.Maintenance{{Site: "site-a-down2", Until: time.Now().Add(24 * time.Hour)}}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w, c := leftBehind(t, dead)
				away(w)
				w.change(alive, "a-down2")
				time.Sleep(time.Hour)
				if n := c.count(); n > 0 {
					t.Errorf("%d rotations began: %v", n, c.at)
				}
				w.newRun("rotate-2").outcome(workflows.Batch{
					Campaign: "rotate-2", Intent: workflows.ToRotate, Links: []keychain.LinkID{"a"}, Urgent: true,
				})
				if r := w.record("a"); name != "in maintenance" && (len(r.Quarantined) > 0 || len(r.State.Downstream) != 1) {
					t.Errorf("after a rotation it is %+v", r)
				}
			})
		})
	}
}

// An operator's command may die between writing an exclusion and starting what
// follows from it: a worker starts it then, once.
func TestAnExclusionWithoutItsCampaignGetsIt(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := fleet(t, 2)
		w.locked(func() {
			w.standing.Exclusions = []topology.Exclusion{{Node: "l1-down2", Reason: "stolen", Since: time.Now(), Campaign: "compromise-1"}}
		})
		w.tend(30 * time.Second)
		if len(w.requests) > 0 {
			t.Fatalf("started %+v before the operator could", w.requests)
		}
		w.tend(2 * time.Minute)
		if len(w.requests) == 0 || w.requests[0].Kind != campaign.Emergency || !slices.Equal(w.requests[0].Selection.Links, []keychain.LinkID{"l1"}) {
			t.Errorf("started %+v", w.requests)
		}
	})
}
