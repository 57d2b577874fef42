package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/workflows"
)

// A run is kept busy by an agent that is dead. At the next full minute its schedule
// fires and begins nothing, another one fires and rotates its link.
func TestScheduleFiresAndDoesNotOverlap(t *testing.T) {
	w := rotatingWorld(t)
	w.agents["dc3"].Kill()
	w.keyorch(0, "schedule", "set", "busy", "dc1-dc3", "--cron", "0 0 29 2 *") // not in this minute
	begun := w.keyorch(0, "schedule", "run-now", "busy").Out
	w.keyorch(0, "schedule", "set", "busy", "dc1-dc3", "--cron", "* * * * *")
	w.keyorch(0, "schedule", "set", "lively", "dc1-dc2", "--cron", "* * * * *")
	w.until("the run has begun", func() bool { return len(w.campaignsOf("busy")) == 1 })
	first := w.campaignsOf("busy")[0].Name
	said(t, begun, "busy: begun as campaign "+first)
	said(t, w.keyorch(3, "schedule", "run-now", "busy").Err, first+" is going on")
	said(t, w.keyorch(0, "schedule", "list").Out, "running "+first)

	// Neither a worker that comes nor one that goes starts anything.
	w.worker.Kill()
	w.startWorker()

	w.until("the lively one has rotated its link by itself", func() bool {
		all := w.campaignsOf("lively")
		return len(all) > 0 && all[len(all)-1].State == campaign.Ended
	})
	last := w.campaignsOf("lively")
	if c := last[len(last)-1]; c.Tally.Rotated != 1 || c.Workflow == "" {
		t.Errorf("the run that fired ended as %+v", c)
	}
	w.eventually("the busy one has skipped a run", func() bool { return w.schedule("busy").Skipped > 0 })
	if all := w.campaignsOf("busy"); len(all) != 1 || all[0].Name != first {
		t.Errorf("runs overlap: %+v", all)
	}
	w.keyorch(0, "schedule", "delete", "lively")

	// Teeth: it is the schedule's policy that keeps a second run from beginning.
	must(t, w.temporal().ScheduleClient().GetHandle(t.Context(), "keyorch-busy").
		Trigger(t.Context(), client.ScheduleTriggerOptions{Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL}))
	w.until("a run that may overlap has begun, and its link refused", func() bool {
		all := w.campaignsOf("busy")
		return len(all) == 2 && all[0].State == campaign.Ended
	})
	second := w.campaignsOf("busy")[0].Name

	// A campaign that is paused keeps the next one from beginning, and that is said.
	w.keyorch(0, "pause", first, "--reason", "looking into it")
	note := "the next run is skipped while " + first + " is paused"
	for _, verb := range []string{"list", "show busy", "next busy"} {
		said(t, w.keyorch(0, append([]string{"schedule"}, strings.Fields(verb)...)...).Out, note)
	}
	w.keyorch(0, "schedule", "pause", "busy", "--reason", "enough")
	w.startAgent("dc3")
	w.settled("dc1-dc3", 2)
	w.eventually("the campaign has ended", func() bool { return len(w.schedule("busy").Running) == 0 })
	if c, _ := w.view.Campaign(first); c.State != campaign.Ended || c.Tally.Rotated != 1 {
		t.Errorf("the first run is %+v", c)
	}
	s := w.schedule("busy")
	if s.Last == nil || s.Last.Campaign != second || s.Last.Tally.Refused != 1 || s.Missed != 0 {
		t.Errorf("the last run is %+v, %d missed", s.Last, s.Missed)
	}
	said(t, w.keyorch(0, "schedule", "list").Out, second+": 0 of 1 link rotated, 1 refused", "paused: enough")
	w.noLoss()
}

// campaignsOf is the campaigns of a schedule, the newest first.
func (w *world) campaignsOf(name string) []campaign.Record {
	return slices.DeleteFunc(w.view.Campaigns(), func(c campaign.Record) bool { return c.By != "schedule "+name })
}

// A restart of everything leaves the schedules, and starts nothing. Being away over a
// firing is told by the catch-up window, which TestScheduleVerbs reads: a minute of
// standstill for each case is more than a test may take.
func TestScheduleOutlivesServersAndWorkers(t *testing.T) {
	w := rotatingWorld(t)
	w.keyorch(0, "schedule", "set", "nightly", "--all", "--cron", "0 2 * * *", "--time-zone", "Europe/Berlin")
	before := w.schedule("nightly")
	w.restartStack()
	for range 2 {
		w.worker.Kill()
		w.startWorker()
	}
	r := w.rotate(0, "dc1-dc2") // the worker is there, and had its chance
	after := w.schedule("nightly")
	if fmt.Sprint(after) != fmt.Sprint(before) || len(w.campaignsOf("nightly")) > 0 {
		t.Errorf("a restart changed the schedule or started a run:\n%+v\n%+v\n%+v", before, after, w.campaignsOf("nightly"))
	}
	for _, c := range w.view.Campaigns() {
		if c.Name != r.Campaign && !strings.HasPrefix(c.By, "keyorch-operator") {
			t.Errorf("a campaign began by itself: %+v", c)
		}
	}
	// A run that no worker takes is said, and begins when one comes.
	w.worker.Kill()
	w.keyorch(0, "schedule", "run-now", "nightly")
	s := w.schedule("nightly")
	if len(s.Running) != 1 || !slices.ContainsFunc(s.Notes, func(n string) bool { return strings.Contains(n, "waits for a worker") }) {
		t.Errorf("without a worker: %+v", s)
	}
	w.startWorker()
	w.until("the run has ended", func() bool {
		all := w.campaignsOf("nightly")
		return len(all) == 1 && all[0].State == campaign.Ended
	})
	if c := w.campaignsOf("nightly")[0]; c.Name != workflows.CampaignName(c.Workflow) || c.Name != s.Running[0] || c.Tally.Rotated != len(w.topo.Links) {
		t.Errorf("the run is %+v", c)
	}
	w.noLoss()
}

// A link that stays held costs no night: the campaign ends without it, and the next
// one adopts it.
func TestScheduleIsNotHeldByAHeldLink(t *testing.T) {
	w := rotatingWorld(t)
	w.declare(hasty)
	w.keyorch(0, "schedule", "set", "nightly", "--policy", "hasty", "--cron", "0 0 29 2 *")
	w.agents["dc3"].Kill()
	for night := range 2 {
		w.keyorch(0, "schedule", "run-now", "nightly")
		w.until("the run has ended", func() bool {
			all := w.campaignsOf("nightly")
			return len(all) == night+1 && all[0].State == campaign.Ended
		})
		if c := w.campaignsOf("nightly")[0]; c.Tally.Held != 1 {
			t.Errorf("night %d ended as %+v", night, c)
		}
		w.eventually("Temporal knows", func() bool { return len(w.schedule("nightly").Running) == 0 })
	}
	w.startAgent("dc3")
	w.settled("dc1-dc3", 2)
	w.noLoss()
}

// hasty is a policy that does not wait long.
const hasty = `
---
apiVersion: keyorch/v1
kind: Policy
metadata: {name: hasty}
spec: {drain: 300ms, wait: 4s}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: dc1-dc3}
spec: {upstream: [dc1-spine1], downstream: [dc3-spine1], policy: hasty}
`
