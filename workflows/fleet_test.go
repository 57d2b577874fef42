package workflows_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/workflows"
)

func (w *world) fleet() *workflows.Fleet { return workflows.NewFleet(store{w}, view{w}, w) }

// putCampaign writes a campaign's record, as if a workflow had.
func (w *world) putCampaign(r campaign.Record) {
	w.t.Helper()
	if _, err := (store{w}).PutCampaign(context.Background(), r); err != nil {
		w.t.Fatal(err)
	}
}

// TestLaunchIsRepeatable has the worker killed after it has launched: what has
// ended meanwhile is not rotated twice.
func TestLaunchIsRepeatable(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := fleet(t, 2)
		w.drives = true
		if _, err := call(t, w.fleet().PlanCampaign, nightly()); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			q := workflows.Launch{Campaign: night, Intent: workflows.ToRotate, Count: 2}
			if _, err := call(t, nothing(w.fleet().LaunchBatches), q); err != nil {
				t.Fatal(err)
			}
			w.batchesEnd()
		}
		w.onEpochs(2, 2)
	})
}

// nothing makes an activity without a result one with a result, for call.
func nothing[Q any](activity func(context.Context, Q) error) func(context.Context, Q) (bool, error) {
	return func(ctx context.Context, q Q) (bool, error) { return true, activity(ctx, q) }
}

// TestRetryIsRepeatable has the worker killed at every point of a retry: the same
// links are tried again, and each of them once.
func TestRetryIsRepeatable(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := fleet(t, 3, func(p *topology.Policy) {
			p.Waves, p.Budget.Campaign.Number, p.Budget.Wave.Number = nil, 3, 3
		})
		w.mint = mintFails("l1", fault.Refused)
		w.newRun(night).campaign(nightly())
		w.onEpochs(1, 2, 2)
		time.Sleep(time.Second)
		w.locked(func() { w.mint = nil })
		q := workflows.RetryRequest{Campaign: night, Wait: time.Minute, Count: 1, First: 1, At: time.Now()}
		for range 3 {
			n, err := call(t, w.fleet().RetryHeld, q)
			if n != 1 || err != nil {
				t.Errorf("a retry has %d batches: %v", n, err)
			}
			w.batchesEnd()
		}
		w.onEpochs(2, 2, 2)
	})
}

// TestRetryIsRepeatableBeforeItBegan is killed between what it writes down and the
// start of a workflow.
func TestRetryIsRepeatableBeforeItBegan(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := fleet(t, 1, func(p *topology.Policy) { p.Budget.Campaign.Number, p.Budget.Wave.Number = 3, 3 })
		w.mint = mintFails("l1", fault.Refused)
		w.newRun(night).campaign(nightly())
		w.locked(func() { w.mint = nil })
		time.Sleep(time.Second)
		q := workflows.RetryRequest{Campaign: night, Wait: time.Minute, Count: 1, First: 1, At: time.Now()}
		w.drives = false
		for range 2 {
			if n, err := call(t, w.fleet().RetryHeld, q); n != 1 || err != nil {
				t.Errorf("a retry has %d batches: %v", n, err)
			}
		}
		if links := w.started[night+"-2"].Links; !slices.Equal(links, []keychain.LinkID{"l1"}) {
			t.Errorf("it tries %v again", links)
		}
	})
}

// tend runs Tend for a time.
func (w *world) tend(d time.Duration) {
	ctx, stop := context.WithTimeout(context.Background(), d)
	defer stop()
	workflows.Tend(ctx, store{w}, view{w}, w, slog.New(slog.DiscardHandler))
	synctest.Wait()
}

func TestTendBuriesWhatWasLost(t *testing.T) {
	for _, c := range []struct {
		name    string
		state   campaign.State
		running bool
		away    bool
		age     time.Duration
		buried  bool
	}{
		{name: "it runs", state: campaign.Running, running: true, age: time.Hour},
		{name: "its workflow is gone", state: campaign.Running, age: time.Hour, buried: true},
		{name: "it is paused and its workflow is gone", state: campaign.Paused, age: time.Hour, buried: true},
		{name: "it has just begun", state: campaign.Running, age: time.Second},
		{name: "nobody knows", state: campaign.Running, age: time.Hour, away: true},
		{name: "it has ended", state: campaign.Ended, age: time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := newWorld(t)
				w.running["schedule-x"] = c.running
				if c.away {
					w.runs = fault.New(fault.Unavailable, "temporal does not answer")
				}
				w.putCampaign(campaign.Record{Name: night, Workflow: "schedule-x", State: c.state, Begun: time.Now().Add(-c.age), Reason: "so"})
				w.tend(20 * time.Second)
				r, _ := view{w}.Campaign(night)
				if c.buried != strings.Contains(r.Reason, "its workflow was lost") || c.buried != (r.State == campaign.Ended && !r.Ended.IsZero()) && c.state != campaign.Ended {
					t.Errorf("it is %+v", r)
				}
			})
		})
	}
}

// TestTendCatchesUp has a link skipped by three campaigns during one maintenance.
func TestTendCatchesUp(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := fleet(t, 4)
		over := time.Now().Add(time.Minute)
		w.standing.Maintenance = []topology.Maintenance{{Site: "dc1", Until: over}, {Site: "dc2", Until: over.Add(time.Hour)}}
		skip := func(name string, site keychain.SiteID, ids ...keychain.LinkID) {
			w.putCampaign(campaign.Record{Name: name, Policy: "waves", State: campaign.Ended, Begun: time.Now()})
			var denials []campaign.Denial
			for _, id := range ids {
				denials = append(denials, campaign.Denial{Link: id, Site: site, At: time.Now(), Reason: "maintenance"})
			}
			if err := (store{w}).Deny(t.Context(), name, denials); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		skip("night1", "dc1", "l1", "l2", "l3", "gone")
		skip("night2", "dc1", "l1", "l2", "gone")
		skip("night3", "dc1", "l1")
		skip("night4", "dc2", "l4")
		r := w.record("l2") // it has got a key since
		r.Last = link.Attempt{Campaign: "mend", Begun: time.Now(), Ended: time.Now()}
		w.put(r)
		w.tend(50 * time.Second)
		if len(w.requests) > 0 {
			t.Fatalf("started while the maintenance goes on: %+v", w.requests)
		}
		w.tend(20 * time.Second)
		var got []string
		for _, q := range w.requests {
			for _, l := range q.Selection.Links {
				got = append(got, q.Name+" "+string(l))
			}
			if q.Kind != campaign.CatchUp || q.Policy != "waves" || q.Reason == "" {
				t.Errorf("started %+v", q)
			}
			w.putCampaign(campaign.Record{Name: q.Name, State: campaign.Ended, Begun: time.Now()})
		}
		slices.Sort(got)
		if want := []string{"catch-up-dc1-night1 l3", "catch-up-dc1-night3 l1"}; !slices.Equal(slices.Compact(got), want) {
			t.Errorf("started %v, want %v", got, want)
		}
		// It was started: a link that is not begun yet starts nothing else.
		w.requests = nil
		w.tend(time.Minute)
		if len(w.requests) > 0 {
			t.Errorf("started again: %+v", w.requests)
		}
	})
}

// What an operator stopped is not caught up behind their back.
func TestTendLeavesAloneWhatWasStopped(t *testing.T) {
	for name, c := range map[string]struct {
		record campaign.Record
		begins bool
	}{
		"ended":   {campaign.Record{State: campaign.Ended}, true},
		"aborted": {campaign.Record{State: campaign.Ended, Aborted: true}, false},
		"paused":  {campaign.Record{State: campaign.Paused}, false},
	} {
		t.Run(name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := fleet(t, 1)
				c.record.Name, c.record.Begun = night, time.Now()
				w.putCampaign(c.record)
				denial := campaign.Denial{Link: "l1", Site: "dc1", At: time.Now(), Reason: "maintenance"}
				if err := (store{w}).Deny(t.Context(), night, []campaign.Denial{denial}); err != nil {
					t.Fatal(err)
				}
				w.tend(20 * time.Second)
				if begun := len(w.requests) > 0; begun != c.begins {
					t.Errorf("started %+v", w.requests)
				}
			})
		})
	}
}

// TestTendOfLongNames catches up for what was itself catching up, again and again.
func TestTendOfLongNames(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := fleet(t, 1)
		site := keychain.SiteID(strings.Repeat("s", 60))
		name := night
		for range 5 {
			w.putCampaign(campaign.Record{Name: name, State: campaign.Ended, Begun: time.Now()})
			d := campaign.Denial{Link: "l1", Site: site, At: time.Now(), Reason: "maintenance"}
			if err := (store{w}).Deny(t.Context(), name, []campaign.Denial{d}); err != nil {
				t.Fatal(err)
			}
			w.requests = nil
			w.tend(7 * time.Second)
			if len(w.requests) != 1 || w.requests[0].Name == name || len(w.requests[0].Name) > 200 {
				t.Fatalf("after %s comes %+v", name, w.requests)
			}
			name = w.requests[0].Name
		}
	})
}
