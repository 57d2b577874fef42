package workflows_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/workflows"
)

func TestCampaignIsPausedAndResumed(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := fleet(t, 3)
		w.change(slow, "l1-down1")
		r := w.newRun(night)
		var pause, resume *asked
		w.when("l1", in(link.Staging), func() { pause = r.ask(workflows.PauseUpdate, workflows.Ask{Reason: "a look at it"}) })
		w.onCampaign(night, is(campaign.Paused), func() {
			time.Sleep(24 * time.Hour) // what has begun goes on, and nothing else
			if c, _ := (view{w}).Campaign(night); c.Reason != "paused by an operator: a look at it" || c.Tally.Rotated != 1 {
				t.Errorf("it is paused because %q, with %+v", c.Reason, c.Tally)
			}
			resume = r.ask(workflows.ResumeUpdate, workflows.Ask{})
		})
		begun := time.Now()
		ended(t, r.campaign(nightly()), campaign.Tally{Links: 3, Rotated: 3}, "all 3")
		pause.granted(t)
		resume.granted(t)
		w.onEpochs(2, 2, 2)
		if took := time.Since(begun); took > 25*time.Hour {
			t.Errorf("it soaked again: it took %v", took)
		}
	})
}

func TestCampaignIsPromoted(t *testing.T) {
	for _, c := range []struct {
		name string
		dead bool
	}{{"while it soaks", false}, {"while it waits for confirmations", true}} {
		t.Run(c.name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := fleet(t, 3)
				if c.dead {
					w.change(dead, "l1-down1")
				}
				r := w.newRun(night)
				var promote *asked
				time.AfterFunc(time.Minute, func() { promote = r.ask(workflows.PromoteUpdate, workflows.Ask{}) })
				w.onCampaign(night, inWave(1), func() { time.AfterFunc(time.Second, func() { w.change(alive, "l1-down1") }) })
				begun := time.Now()
				r.campaign(nightly())
				promote.granted(t)
				if took := time.Since(begun); took > 2*time.Minute {
					t.Errorf("it took %v", took)
				}
				w.batchesEnd()
				w.onEpochs(2, 2, 2)
			})
		})
	}
}

// TestCampaignRefusesAtOnce asks for what cannot be, state by state.
func TestCampaignRefusesAtOnce(t *testing.T) {
	ask := func(r *run, kind string) *asked {
		if kind == workflows.AbortUpdate {
			return r.ask(kind, workflows.AbortRequest{})
		}
		return r.ask(kind, workflows.Ask{})
	}
	all := []string{workflows.PauseUpdate, workflows.ResumeUpdate, workflows.PromoteUpdate, workflows.RetryUpdate, workflows.AbortUpdate}
	timeless(t, func(t *testing.T) {
		w := fleet(t, 3)
		w.change(dead, "l1-down1", "l2-down1")
		r := w.newRun(night)
		refusals := map[string]*asked{}
		try := func(state string, kinds ...string) {
			for _, k := range kinds {
				refusals[state+" "+k] = ask(r, k)
			}
		}
		time.AfterFunc(0, func() { try("planning", all...) })
		w.catchUp = func() { time.Sleep(time.Second) }
		time.AfterFunc(time.Minute, func() { try("running", workflows.ResumeUpdate, workflows.RetryUpdate) })
		w.onCampaign(night, is(campaign.Paused), func() {
			time.Sleep(time.Minute)
			try("paused", workflows.PauseUpdate, workflows.PromoteUpdate)
			time.Sleep(time.Minute)
			r.ask(workflows.ResumeUpdate, workflows.Ask{})
		})
		w.onCampaign(night, inWave(1), func() {
			time.Sleep(time.Minute)
			try("last wave", workflows.PromoteUpdate)
			time.Sleep(time.Minute)
			ask(r, workflows.AbortUpdate)
			time.Sleep(time.Minute)
			try("aborting", all...)
		})
		r.campaign(nightly())
		for state, why := range map[string]string{
			"planning": "still being planned", "running resume": "not paused", "running retry": "none of its links",
			"paused pause": "paused already", "paused promote": "keyorch resume rotate-night", "last wave promote": "its last wave",
			"aborting": "being aborted", "aborting retry": "still going back",
		} {
			n := 0
			for name, a := range refusals {
				exact := refusals[state] == a
				if exact || strings.HasPrefix(name, state+" ") && (state+" retry" != name || state == "planning") {
					a.refused(t, why)
					n++
				}
			}
			if n == 0 {
				t.Errorf("nothing was asked while %s", state)
			}
		}
		if len(refusals) != 15 {
			t.Errorf("%d were asked", len(refusals))
		}
	})
}

// TestCampaignIsAborted in the middle of its last wave.
func TestCampaignIsAborted(t *testing.T) {
	for _, switched := range []bool{false, true} {
		t.Run(fmt.Sprintf("with what has switched %v", switched), func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := fleet(t, 5, func(p *topology.Policy) { p.Waves = nil })
				for i, l := range w.declared.Links {
					if l.Name == "l2" { // it has switched, and drains
						w.declared.Links[i].Policy = "minute"
					}
				}
				w.change(dead, "l3-down1") // it is staged
				w.mint = mintFails("l4", fault.Unavailable)
				r := w.newRun(night)
				var abort *asked
				time.AfterFunc(30*time.Second, func() {
					abort = r.ask(workflows.AbortUpdate, workflows.AbortRequest{Reason: "enough", Staged: !switched})
				})
				time.AfterFunc(40*time.Second, func() { w.change(alive, "l3-down1") })
				begun := time.Now()
				out := r.campaign(nightly())
				abort.granted(t)
				w.batchesEnd()
				if switched {
					w.onEpochs(2, 1, 1, 1, 2)
				} else {
					w.onEpochs(2, 2, 1, 1, 2)
				}
				if !out.Aborted || !strings.Contains(out.Reason, "aborted by an operator: enough") {
					t.Errorf("it is %+v", out)
				}
				if took := time.Since(begun); took > 2*time.Minute { // the link that never began is not waited for
					t.Errorf("it took %v", took)
				}
				if got := w.record("l3").Last; got.Outcome != link.Aborted || !strings.Contains(got.Reason, "enough") {
					t.Errorf("the record says %+v", got)
				}
			})
		})
	}
}

// TestCampaignTriesAgain has a device that says no until it is repaired.
func TestCampaignTriesAgain(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := fleet(t, 3)
		w.change(func(n *node) { n.fault = "refused" }, "l1-down1")
		r := w.newRun(night)
		var retry, resume *asked
		w.onCampaign(night, is(campaign.Paused), func() {
			time.Sleep(time.Hour)
			w.locked(func() { w.nodes["l1-down1"].fault = "" }) // it does not look at old orders again
			retry = r.ask(workflows.RetryUpdate, workflows.Ask{})
			time.Sleep(time.Minute)
			resume = r.ask(workflows.ResumeUpdate, workflows.Ask{})
		})
		ended(t, r.campaign(nightly()), campaign.Tally{Links: 3, Rotated: 3}, "all 3")
		retry.granted(t)
		resume.granted(t)
		w.batchesEnd()
		w.onEpochs(3, 2, 2)
	})
}

// TestCampaignIsAbortedAfterARetry takes back what the retry began, too.
func TestCampaignIsAbortedAfterARetry(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := fleet(t, 3)
		w.change(dead, "l1-down1")
		r := w.newRun(night)
		var retry, abort *asked
		w.onCampaign(night, is(campaign.Paused), func() {
			time.Sleep(time.Minute)
			retry = r.ask(workflows.RetryUpdate, workflows.Ask{})
			time.Sleep(time.Minute)
			w.change(alive, "l1-down1") // the first key goes back, and then comes another
		})
		w.when("l1", func(x link.Record) bool { return x.State.To.Epoch == 3 && x.State.Phase == link.Staging }, func() {
			abort = r.ask(workflows.AbortUpdate, workflows.AbortRequest{Staged: true})
		})
		w.when("l1", func(x link.Record) bool { return x.State.To.Epoch == 3 }, func() { w.change(dead, "l1-down1") })
		w.onCampaign(night, is(campaign.Aborting), func() {
			time.Sleep(time.Minute)
			w.change(alive, "l1-down1")
		})
		begun := time.Now()
		out := r.campaign(nightly())
		retry.granted(t)
		abort.granted(t)
		ended(t, out, campaign.Tally{Links: 3, Aborted: 1}, "aborted by an operator")
		if took := time.Since(begun); took > 20*time.Minute {
			t.Errorf("it took %v", took)
		}
		w.batchesEnd()
		w.onEpochs(1, 1, 1)
	})
}

// TestCampaignRetriesRefusedLinks once their trouble is over.
func TestCampaignRetriesRefusedLinks(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := fleet(t, 2)
		w.mint = mintFails("l1", fault.Refused)
		r := w.newRun(night)
		w.onCampaign(night, is(campaign.Paused), func() {
			time.Sleep(time.Minute)
			w.locked(func() { w.mint = nil })
			retry := r.ask(workflows.RetryUpdate, workflows.Ask{})
			time.Sleep(time.Minute)
			retry.granted(t)
			r.ask(workflows.ResumeUpdate, workflows.Ask{})
		})
		ended(t, r.campaign(nightly()), campaign.Tally{Links: 2, Rotated: 2}, "all 2")
		w.onEpochs(2, 2)
	})
}

// TestCancellingACampaignIsAborting, whenever it comes.
func TestCancellingACampaignIsAborting(t *testing.T) {
	for _, c := range []struct {
		name   string
		after  time.Duration
		tally  campaign.Tally
		starts int
		epochs []keychain.Epoch
	}{
		{"while it is planned", 500 * time.Millisecond, campaign.Tally{Links: 3}, 0, []keychain.Epoch{1, 1, 1}},
		{"in its first wave", time.Minute, campaign.Tally{Links: 3, Aborted: 1}, 1, []keychain.Epoch{1, 1, 1}},
		{"while it is paused", time.Hour, campaign.Tally{Links: 3, Aborted: 1}, 1, []keychain.Epoch{1, 1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := fleet(t, 3)
				w.catchUp = func() { time.Sleep(time.Second) }
				w.change(dead, "l1-down1")
				r := w.newRun(night)
				time.AfterFunc(c.after, r.env.CancelWorkflow)
				time.AfterFunc(c.after+time.Minute, func() { w.change(alive, "l1-down1") })
				out := r.campaign(nightly())
				ended(t, out, c.tally, "the workflow was cancelled")
				if len(w.starts) != c.starts {
					t.Errorf("started %v", w.starts)
				}
				w.batchesEnd()
				w.onEpochs(c.epochs...)
			})
		})
	}
}

// TestCampaignWithLostBatches does not wait for what nobody drives any more.
func TestCampaignWithLostBatches(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := fleet(t, 3)
		w.lost[night+"-1"] = true
		r := w.newRun(night)
		begun := time.Now()
		w.onCampaign(night, is(campaign.Paused), func() {
			if took := time.Since(begun); took > time.Minute {
				t.Errorf("it took %v to see that nobody drives l1", took)
			}
			w.lost[night+"-1"] = false
			r.ask(workflows.ResumeUpdate, workflows.Ask{})
		})
		out := r.campaign(nightly())
		if out.Tally.Rotated != 2 || !slices.Equal(w.epochs(), []keychain.Epoch{1, 2, 2}) {
			t.Errorf("it ended with %+v", out)
		}
	})
}
