package workflows_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/workflows"
)

// continues runs a campaign and wants it to continue as new.
func (r *run) continues(in workflows.CampaignRequest) (next workflows.CampaignRequest) {
	r.t.Helper()
	r.env.ExecuteWorkflow(workflows.Campaign, in)
	synctest.Wait()
	err := r.env.GetWorkflowError()
	again := new(workflow.ContinueAsNewError)
	if !errors.As(err, &again) {
		r.t.Fatalf("it ended with %v, want it continued as new", err)
	}
	if err := converter.GetDefaultDataConverter().FromPayloads(again.Input, &next); err != nil {
		r.t.Fatal(err)
	}
	return next
}

// suggested has Temporal suggest to continue as new from now on.
func (r *run) suggested() { r.soon(func() { r.env.SetContinueAsNewSuggested(true) }) }

// TestCampaignContinuesAsNew in every run after its first decision, and ends as it
// would have in one.
func TestCampaignContinuesAsNew(t *testing.T) {
	for _, c := range []struct {
		name   string
		links  int
		change func(*topology.Policy)
		dead   keychain.NodeID
		tally  campaign.Tally
		reason string
	}{
		{"all rotate", 4, func(*topology.Policy) {}, "l9-none", campaign.Tally{Links: 4, Rotated: 4}, "all 4"},
		{"it aborts in its last wave", 4, abortsWhenSpent, "l3-down1", campaign.Tally{Links: 4, Rotated: 3, Aborted: 1}, "failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := fleet(t, c.links, c.change)
				if n := w.nodes[c.dead]; n != nil {
					w.change(dead, c.dead)
					w.onCampaign(night, is(campaign.Aborting), func() {
						time.Sleep(time.Second)
						w.change(alive, c.dead)
					})
				}
				in := nightly()
				for range 3 {
					r := w.newRun(night)
					r.suggested()
					in = r.continues(in)
				}
				ended(t, w.newRun(night).campaign(in), c.tally, c.reason)
				w.batchesEnd()
				w.epochs()
			})
		})
	}
}

// TestCampaignContinuesAsNewWhilePaused, with the Update that paused it still in
// flight, and another one behind it.
func TestCampaignContinuesAsNewWhilePaused(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := fleet(t, 3)
		first := w.newRun(night)
		var pause, late *asked
		time.AfterFunc(time.Minute, func() { // it soaks
			pause = first.ask(workflows.PauseUpdate, workflows.Ask{Reason: "first"})
			first.suggested()
			late = first.ask(workflows.PauseUpdate, workflows.Ask{Reason: "second"})
		})
		in := first.continues(nightly())
		pause.granted(t)
		if !late.done || late.rejected == nil && late.failed == nil {
			t.Errorf("the second pause was answered %v", late.failed)
		}
		second := w.newRun(night)
		var resume *asked
		time.AfterFunc(24*time.Hour, func() {
			if c, _ := (view{w}).Campaign(night); c.State != campaign.Paused || !strings.Contains(c.Reason, "first") || len(w.starts) != 1 {
				t.Errorf("after a day it is %+v, and %v were started", c, w.starts)
			}
			resume = second.ask(workflows.ResumeUpdate, workflows.Ask{})
		})
		ended(t, second.campaign(in), campaign.Tally{Links: 3, Rotated: 3}, "all 3")
		resume.granted(t)
		w.onEpochs(2, 2, 2)
	})
}

// TestCampaignContinuesAsNewWhileItSaves has Updates arrive during the activities of
// the last step: each is answered, and what it asked for is done.
func TestCampaignContinuesAsNewWhileItSaves(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := fleet(t, 3)
		w.change(dead, "l1-down1")
		w.lag = time.Second
		first := w.newRun(night)
		first.suggested()
		var pause, resume, abort *asked
		w.onCampaign(night, inWave(0), func() { // this record is being written
			pause = first.ask(workflows.PauseUpdate, workflows.Ask{})
			resume = first.ask(workflows.ResumeUpdate, workflows.Ask{})
		})
		w.onCampaign(night, is(campaign.Paused), func() {
			abort = first.ask(workflows.AbortUpdate, workflows.AbortRequest{Reason: "enough", Staged: true})
		})
		w.onCampaign(night, is(campaign.Aborting), func() {
			time.Sleep(time.Minute)
			w.change(alive, "l1-down1")
		})
		in := first.continues(nightly())
		pause.granted(t)
		abort.granted(t)
		if !resume.done {
			t.Error("resume was never answered")
		}
		out := w.newRun(night).campaign(in)
		if !out.Aborted || !strings.Contains(out.Reason, "enough") {
			t.Errorf("it ended as %+v", out)
		}
		w.batchesEnd()
		w.epochs()
	})
}

// TestCampaignContinuesAsNewWhileItIsCancelled loses no cancellation.
func TestCampaignContinuesAsNewWhileItIsCancelled(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := fleet(t, 3)
		w.change(dead, "l1-down1")
		first := w.newRun(night)
		time.AfterFunc(time.Minute, func() {
			first.suggested()
			first.ask(workflows.PauseUpdate, workflows.Ask{})
			first.soon(first.env.CancelWorkflow)
		})
		in := first.continues(nightly())
		w.change(alive, "l1-down1")
		out := w.newRun(night).campaign(in)
		ended(t, out, campaign.Tally{Links: 3, Aborted: 1}, "the workflow was cancelled")
		w.batchesEnd()
		w.onEpochs(1, 1, 1)
	})
}

// TestCampaignRetriesInTwoRuns gives every retry batches of its own.
func TestCampaignRetriesInTwoRuns(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := fleet(t, 2)
		w.change(func(n *node) { n.fault = "refused" }, "l1-down1")
		first := w.newRun(night)
		w.onCampaign(night, is(campaign.Paused), func() {
			time.Sleep(time.Minute)
			first.suggested()
			first.ask(workflows.RetryUpdate, workflows.Ask{})
		})
		in := first.continues(nightly())
		second := w.newRun(night)
		time.AfterFunc(time.Hour, func() {
			w.locked(func() { w.nodes["l1-down1"].fault = "" })
			second.ask(workflows.RetryUpdate, workflows.Ask{})
			time.Sleep(time.Minute)
			second.ask(workflows.ResumeUpdate, workflows.Ask{})
		})
		ended(t, second.campaign(in), campaign.Tally{Links: 2, Rotated: 2}, "all 2")
		w.batchesEnd()
		if got := strings.Join(w.starts, " "); got != "rotate-night-1 rotate-night-3 rotate-night-4 rotate-night-2" {
			t.Errorf("started %s", got)
		}
		w.epochs()
	})
}

// TestCommandsOfOneCampaign compares every command of a campaign of two waves with
// its input.
func TestCommandsOfOneCampaign(t *testing.T) {
	var got string
	timeless(t, func(t *testing.T) {
		w := fleet(t, 3)
		r := w.newRun(night)
		ended(t, r.campaign(nightly()), campaign.Tally{Links: 3, Rotated: 3}, "all 3")
		var b strings.Builder
		for _, c := range r.trace {
			b.WriteString(c.String() + "\n\n")
		}
		got = instant.ReplaceAllString(b.String(), `"TIME"`)
	})
	file := filepath.Join("testdata", "golden", "two-waves.txt")
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	a, b := strings.Split(string(golden), "\n"), strings.Split(got, "\n")
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			t.Fatalf("%s:%d: the commands are not what they were. If that is meant, run go test ./workflows -update\n%s", file, i+1, got)
		}
	}
}
