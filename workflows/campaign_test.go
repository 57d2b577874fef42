package workflows_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/sdk/testsuite"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/workflows"
)

// night is the campaign under test.
const night = "rotate-night"

// fleet is so many links, l1 and on, each on its first key, with campaigns whose
// batches are real. Its policy, "waves", begins with one link and waits an hour
// after it, gives a wave ten minutes, and stops at the first failure.
func fleet(t *testing.T, links int, change ...func(*topology.Policy)) *world {
	w := newWorld(t)
	w.drives, w.lost = true, map[string]bool{}
	p := topology.Policy{
		Name:  "waves",
		Waves: []topology.Wave{{Name: "canary", Size: topology.Amount{Number: 1}, Soak: time.Hour}, {Name: "rest", Size: topology.Amount{Percent: 100}}},
		Wait:  10 * time.Minute, Tail: 24 * time.Hour, Budget: topology.Budget{OnSpent: topology.PauseWhenSpent},
	}
	for _, c := range change {
		c(&p)
	}
	w.declared.Policies = append(w.declared.Policies, p)
	for i := range links {
		l := pair(fmt.Sprintf("l%d", i+1))
		w.declare(l)
		w.established(l.Name)
	}
	return w
}

func abortsWhenSpent(p *topology.Policy) { p.Budget.OnSpent = topology.AbortWhenSpent }

func nightly() workflows.CampaignRequest {
	return workflows.CampaignRequest{
		Name: night, Kind: campaign.Rotation, Policy: "waves", Selection: campaign.Selection{All: true}, By: "a test",
	}
}

// campaign runs a campaign to its end.
func (r *run) campaign(in workflows.CampaignRequest) campaign.Record {
	r.t.Helper()
	r.env.ExecuteWorkflow(workflows.Campaign, in)
	synctest.Wait()
	r.w.locked(func() { r.w.running[in.Name] = false })
	if err := r.env.GetWorkflowError(); err != nil {
		r.t.Fatal(err)
	}
	var out campaign.Record
	if err := r.env.GetWorkflowResult(&out); err != nil {
		r.t.Fatal(err)
	}
	if stored, _ := (view{r.w}).Campaign(in.Name); stored.State != out.State || stored.Tally != out.Tally || stored.Reason != out.Reason {
		r.t.Errorf("it ended with %+v, and in the store is %+v", out, stored)
	}
	return out
}

// asked is an Update of a campaign on its way.
type asked struct {
	mu               sync.Mutex
	rejected, failed error
	done             bool
}

// answer notes an answer, which comes in the loop of the test environment.
func (a *asked) answer(rejected, failed error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rejected, a.failed, a.done = rejected, failed, true
}

// ask asks a campaign something and returns at once.
func (r *run) ask(kind string, q any) *asked {
	a := &asked{}
	r.soon(func() {
		r.env.UpdateWorkflow(kind, "", &testsuite.TestUpdateCallback{
			OnReject:   func(err error) { a.answer(err, nil) },
			OnAccept:   func() {},
			OnComplete: func(_ any, err error) { a.answer(nil, err) },
		}, q)
	})
	return a
}

func (a *asked) granted(t *testing.T) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.done || a.rejected != nil || a.failed != nil {
		t.Errorf("it was answered %v, with %v and %v, want it granted", a.done, a.rejected, a.failed)
	}
}

func (a *asked) refused(t *testing.T, why string) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.rejected == nil:
		t.Errorf("it was not refused at once: %v, %v", a.done, a.failed)
	case !strings.Contains(a.rejected.Error(), why):
		t.Errorf("it was refused with %q, want %q in it", a.rejected, why)
	}
}

// ended wants a campaign to have ended with a tally, and words in its reason.
func ended(t *testing.T, r campaign.Record, want campaign.Tally, reason string) {
	t.Helper()
	if r.State != campaign.Ended || r.Tally != want || !strings.Contains(r.Reason, reason) || r.Ended.IsZero() {
		t.Errorf("it is %s (%s) with %+v, want it ended (%s) with %+v", r.State, r.Reason, r.Tally, reason, want)
	}
}

// is is for onCampaign: the campaign has come into a state.
func is(s campaign.State) func(campaign.Record) bool {
	return func(r campaign.Record) bool { return r.State == s }
}

// inWave is for onCampaign: a wave, counted from zero, has begun.
func inWave(i int) func(campaign.Record) bool {
	return func(r campaign.Record) bool { return r.Wave == i && r.Waves[i].Launched > 0 }
}

// epochs are the epochs that links are on, which must all be at rest.
func (w *world) epochs() (out []keychain.Epoch) {
	w.t.Helper()
	for _, r := range (view{w}).Records() {
		if r.State.Phase != link.Steady || r.Owner != "" {
			w.t.Errorf("%s is in %v, owned by %q", r.Link, r.State.Phase, r.Owner)
		}
		out = append(out, r.State.To.Epoch)
	}
	return out
}

// onEpochs wants every link at rest, on these epochs.
func (w *world) onEpochs(want ...keychain.Epoch) {
	w.t.Helper()
	if got := w.epochs(); !slices.Equal(got, want) {
		w.t.Errorf("the links are on %v, want %v", got, want)
	}
	for key, n := range w.minted {
		if n > 1 {
			w.t.Errorf("the key %s was minted %d times", key, n)
		}
	}
}

// batchesEnd waits until everything that was started has ended.
func (w *world) batchesEnd() {
	w.mu.Lock()
	var all []*runner
	for _, r := range w.runners {
		all = append(all, r)
	}
	w.mu.Unlock()
	for _, r := range all {
		<-r.ended
	}
}

func TestCampaignInWaves(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := fleet(t, 4)
		begun := time.Now()
		out := w.newRun(night).campaign(nightly())
		ended(t, out, campaign.Tally{Links: 4, Rotated: 4}, "all 4 links rotated")
		w.onEpochs(2, 2, 2, 2)
		if !slices.Equal(w.starts, []string{night + "-1", night + "-2"}) || len(w.started[night+"-1"].Links) != 1 {
			t.Errorf("started %v: %+v", w.starts, w.started)
		}
		if soaked := out.Waves[1].Begun.Sub(out.Waves[0].Ended); soaked < time.Hour || soaked > time.Hour+time.Minute {
			t.Errorf("the second wave began %v after the first", soaked)
		}
		if took := time.Since(begun); took > time.Hour+time.Minute {
			t.Errorf("it took %v", took)
		}
		if out.By != "a test" || out.Workflow != night || out.Begun.IsZero() || out.Policy != "waves" {
			t.Errorf("the record is %+v", out)
		}
	})
}

// TestCampaignBeyondItsBudget has the canary's receiver dead.
func TestCampaignBeyondItsBudget(t *testing.T) {
	t.Run("it pauses, and goes on when it is resumed", func(t *testing.T) {
		timeless(t, func(t *testing.T) {
			w := fleet(t, 3)
			w.change(dead, "l1-down2")
			r := w.newRun(night)
			var resume *asked
			w.onCampaign(night, is(campaign.Paused), func() {
				time.Sleep(time.Hour)
				c, _ := view{w}.Campaign(night)
				if !strings.Contains(c.Reason, "1 of 1 link of the wave failed") || c.Tally.Held != 1 {
					t.Errorf("it is paused because %q, with %+v", c.Reason, c.Tally)
				}
				if len(w.starts) != 1 || w.record("l2").State.To.Epoch != 1 {
					t.Errorf("started %v while it is paused", w.starts)
				}
				resume = r.ask(workflows.ResumeUpdate, workflows.Ask{})
			})
			// The node comes back when everything else is done: the tail goes on alone.
			w.onCampaign(night, is(campaign.Ended), func() { w.change(alive, "l1-down2") })
			out := r.campaign(nightly())
			resume.granted(t)
			ended(t, out, campaign.Tally{Links: 3, Rotated: 2, Held: 1}, "2 of 3 links rotated, 1 held")
			w.batchesEnd()
			w.onEpochs(2, 2, 2)
		})
	})
	t.Run("it aborts, and what has not switched goes back", func(t *testing.T) {
		timeless(t, func(t *testing.T) {
			w := fleet(t, 3, abortsWhenSpent)
			w.change(dead, "l1-down2")
			w.onCampaign(night, is(campaign.Aborting), func() {
				time.Sleep(time.Minute)
				w.change(alive, "l1-down2")
			})
			out := w.newRun(night).campaign(nightly())
			ended(t, out, campaign.Tally{Links: 3, Aborted: 1}, "1 of 1 link of the wave failed")
			if !out.Aborted || len(w.starts) != 1 {
				t.Errorf("it is %+v after %v", out, w.starts)
			}
			w.batchesEnd()
			w.onEpochs(1, 1, 1)
		})
	})
	t.Run("the very last link, and nothing is left to stop", func(t *testing.T) {
		timeless(t, func(t *testing.T) {
			w := fleet(t, 2)
			w.change(dead, "l2-down2")
			out := w.newRun(night).campaign(nightly())
			ended(t, out, campaign.Tally{Links: 2, Rotated: 1, Held: 1}, "1 of 1 link of the wave failed")
			if err := out.CanRetry(); err != nil {
				t.Error("what failed cannot be retried:", err)
			}
		})
	})
	t.Run("the very last link, and it goes back", func(t *testing.T) {
		timeless(t, func(t *testing.T) {
			w := fleet(t, 2, abortsWhenSpent)
			w.change(dead, "l2-down2")
			w.onCampaign(night, is(campaign.Aborting), func() { w.change(alive, "l2-down2") })
			out := w.newRun(night).campaign(nightly())
			ended(t, out, campaign.Tally{Links: 2, Rotated: 1, Aborted: 1}, "1 of 1 link of the wave failed")
			w.onEpochs(2, 1)
		})
	})
}

// TestCampaignCountsWhatIsNotBegun has links denied and skipped.
func TestCampaignCountsWhatIsNotBegun(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := fleet(t, 4, func(p *topology.Policy) {
			p.Waves, p.Budget.Campaign, p.Budget.Wave = nil, topology.Amount{Number: 1}, topology.Amount{Number: 1}
		})
		w.standing.Maintenance = []topology.Maintenance{{Site: "site-l2-up", Until: time.Now().Add(time.Hour), Reason: "new racks"}}
		w.mint = mintFails("l3", fault.Refused)
		out := w.newRun(night).campaign(nightly())
		ended(t, out, campaign.Tally{Links: 4, Rotated: 2, Refused: 1, Skipped: 1}, "2 of 4 links rotated, 1 refused, 1 skipped")
		w.onEpochs(2, 1, 1, 2)
		for _, d := range (view{w}).Denials(night) {
			if d.Skips() != (d.Link == "l2") || d.Reason == "" {
				t.Errorf("the denial is %+v", d)
			}
		}
	})
}

func TestCampaignOverNothing(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := fleet(t, 1)
		in := nightly()
		in.Selection = campaign.Selection{Selector: "tier=none"}
		ended(t, w.newRun(night).campaign(in), campaign.Tally{}, "matches no link")
		if len(w.starts) > 0 {
			t.Errorf("started %v", w.starts)
		}
	})
}

// TestCampaignGoesOnWithItsRecord runs a campaign whose first workflow was lost
// in its second wave.
func TestCampaignGoesOnWithItsRecord(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := fleet(t, 3)
		begun := time.Now().UTC()
		statuses, batches := campaign.Batches([]campaign.Wave{{Name: "one", Links: []keychain.LinkID{"l3"}}, {Name: "two", Links: []keychain.LinkID{"l1"}}}, 250)
		if err := (store{w}).PutBatches(t.Context(), night, batches); err != nil {
			t.Fatal(err)
		}
		statuses[0].Tally.Rotated, statuses[0].Begun, statuses[0].Ended = 1, begun, begun
		statuses[0].Launched, statuses[0].LaunchedAt = 1, begun
		r := campaign.Record{Name: night, Kind: campaign.Rotation, State: campaign.Running, Wait: time.Minute, Begun: begun, Waves: statuses, Wave: 1, SideBySide: 1}
		x := w.record("l3")
		x.Last = link.Attempt{Campaign: night, Outcome: link.Rotated, Begun: begun, Ended: begun}
		w.put(x)
		if _, err := (store{w}).PutCampaign(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		ended(t, w.newRun(night).campaign(nightly()), campaign.Tally{Links: 2, Rotated: 2}, "all 2 links rotated")
		w.onEpochs(2, 1, 1)
	})
}

// TestCampaignAndAnother has another campaign rotate a link.
func TestCampaignAndAnother(t *testing.T) {
	other := func(w *world, id keychain.LinkID) {
		x := w.record(id)
		x.Last = link.Attempt{Campaign: "other", Outcome: link.Rotated, Begun: time.Now(), Ended: time.Now()}
		x.Completed = x.Last
		w.put(x)
	}
	t.Run("before its own batch does", func(t *testing.T) {
		timeless(t, func(t *testing.T) {
			w := fleet(t, 2, func(p *topology.Policy) { p.Waves = nil })
			w.mint = mintFails("l1", fault.Unavailable)
			time.AfterFunc(10*time.Second, func() { other(w, "l1") })
			time.AfterFunc(time.Minute, func() { w.locked(func() { w.mint = nil }) })
			ended(t, w.newRun(night).campaign(nightly()), campaign.Tally{Links: 2, Rotated: 2}, "all 2")
			w.onEpochs(2, 2)
		})
	})
	t.Run("after its own batch did", func(t *testing.T) {
		timeless(t, func(t *testing.T) {
			w := fleet(t, 2, func(p *topology.Policy) { p.Waves = nil })
			w.change(dead, "l2-down1")
			time.AfterFunc(10*time.Second, func() { other(w, "l1") })
			time.AfterFunc(time.Minute, func() { w.change(alive, "l2-down1") })
			begun := time.Now()
			ended(t, w.newRun(night).campaign(nightly()), campaign.Tally{Links: 2, Rotated: 1, Superseded: 1}, "1 superseded")
			if took := time.Since(begun); took > 2*time.Minute {
				t.Errorf("it took %v", took)
			}
		})
	})
}
