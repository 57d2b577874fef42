package e2e_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/topology"
)

// nights is a policy with a schedule, in a zone and with windows. That of the other
// links has none.
const nights = `
---
apiVersion: keyorch/v1
kind: Policy
metadata: {name: core}
spec:
  drain: 300ms
  timeZone: Asia/Kathmandu
  windows: [{from: "01:00", to: "05:00"}]
  schedule: {cron: "0 2 * * *", jitter: 10m}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: dc1-dc3}
spec: {upstream: [dc1-spine1], downstream: [dc3-spine1], policy: core}
`

// schedule is what the tests read of `schedule show -o json`.
type schedule struct {
	Name, State, Paused, Cron, TimeZone, Jitter, Policy, Reason, Overlap, CatchUp string

	Selection       campaign.Selection
	Next            []time.Time
	Running, Notes  []string
	Skipped, Missed int
	Last            *struct {
		Campaign string
		State    campaign.State
		Reason   string
		Tally    campaign.Tally
	}
}

func (w *world) schedule(name string) schedule {
	w.t.Helper()
	var s schedule
	must(w.t, json.Unmarshal([]byte(w.keyorch(0, "schedule", "show", name, "-o", "json").Out), &s))
	return s
}

// listed waits until Temporal's own list has the schedules, which is behind.
func (w *world) listed(names ...string) []schedule {
	w.t.Helper()
	var all struct{ Schedules []schedule }
	w.eventually("the list has "+strings.Join(names, ", "), func() bool {
		all.Schedules = nil
		must(w.t, json.Unmarshal([]byte(w.keyorch(0, "schedule", "list", "-o", "json").Out), &all))
		var is []string
		for _, s := range all.Schedules {
			is = append(is, s.Name)
		}
		return slices.Equal(is, names)
	})
	return all.Schedules
}

// eventually waits for a condition on what the verbs say, each of which takes a
// while.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for over := time.Now().Add(patience + 15*time.Second); !ok(); <-tick.C {
		if time.Now().After(over) {
			w.t.Fatalf("waited in vain until %s\n%s", what, w.standing())
		}
	}
}

// said wants every part in a text.
func said(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("it does not say %q:\n%s", p, text)
		}
	}
}

// No worker and no agent runs here: they are needed for nothing but running.
func TestScheduleVerbs(t *testing.T) {
	w := newWorld(t)
	w.declare(threeSites)
	w.declare(nights)
	w.run("set is idempotent and validates first", w.scheduleSet)
	w.run("what is wrong is refused", w.scheduleRefused)
	w.run("next times are the operator's", w.scheduleNext)
	w.run("a policy that changes is noted", w.schedulePolicyChanged)
	w.run("pause, resume, delete", w.schedulePaused)
	w.run("what Temporal was told by others is put right", w.scheduleAltered)
	w.run("Temporal fires when topology says", w.scheduleFiresAsDeclared)
}

func (w *world) scheduleSet(t *testing.T) {
	said(t, w.keyorch(0, "schedule", "set", "nightly", "--policy", "core", "--reason", "house rule").Out, "nightly: created", "+05:45")
	said(t, w.keyorch(0, "schedule", "set", "nightly", "--policy", "core", "--reason", "house rule").Out, "nightly: unchanged")
	said(t, w.keyorch(0, "schedule", "set", "nightly", "--policy", "core").Out, "nightly: configured")
	said(t, w.keyorch(0, "schedule", "set", "every-week", "--all", "--cron", "30 2 * * sun").Out, "every-week: created", "Sun ", "02:30:00 +00:00")

	s := w.schedule("nightly")
	if s.Cron != "0 2 * * *" || s.TimeZone != "Asia/Kathmandu" || s.Jitter != "10m0s" || s.Policy != "core" ||
		s.Selection.Policy != "core" || s.State != "active" || s.Reason != "" {
		t.Errorf("the schedule is not the policy's: %+v", s)
	}
	// Runs that are missed do not pile up, and runs never overlap.
	if s.CatchUp != "1m0s" || s.Overlap != "skip" {
		t.Errorf("catch-up %s, overlap %s, want 1m0s and skip", s.CatchUp, s.Overlap)
	}
	all := w.listed("every-week", "nightly")
	if all[0].Selection.All != true || all[0].TimeZone != "UTC" {
		t.Errorf("the weekly one is %+v", all[0])
	}
	said(t, w.keyorch(0, "schedule", "list").Out, "NAME", "ZONE", "NEXT", "LAST", "STATE", "nightly", "30 2 * * sun", "Asia/Kathmandu")
	said(t, w.keyorch(0, "schedule", "list", "-o", "yaml").Out, "schedules:", "name: nightly")
	said(t, w.keyorch(0, "schedule", "show", "nightly").Out, "schedule:", "core", "skipped:")
}

func (w *world) scheduleRefused(t *testing.T) {
	before := w.schedule("nightly")
	for _, c := range []struct {
		says string
		code int
		args []string
	}{
		{"not a schedule", 2, []string{"set", "nightly", "--policy", "core", "--cron", "often"}},
		{"it has 6 fields", 2, []string{"set", "nightly", "--all", "--cron", "0 0 2 * * *"}},
		{"never fires", 2, []string{"set", "nightly", "--all", "--cron", "0 2 30 2 *"}},
		{"only when the windows are closed", 2, []string{"set", "nightly", "--policy", "core", "--cron", "0 12 * * *"}},
		{"no time zone \"Europe/Berlni\"", 2, []string{"set", "nightly", "--policy", "core", "--time-zone", "Europe/Berlni"}},
		{"cannot be negative", 2, []string{"set", "nightly", "--policy", "core", "--jitter", "-1s"}},
		{"longer than a day", 2, []string{"set", "nightly", "--policy", "core", "--jitter", "25h"}},
		{"none is declared under that name", 2, []string{"set", "nightly", "--policy", "cor"}},
		{"has no schedule: say when with --cron", 2, []string{"set", "nightly", "--policy", "quick"}},
		{"matches no link", 2, []string{"set", "nightly", "--policy", "core", "-l", "tier=canary"}},
		{"no link dc9 is declared", 2, []string{"set", "nightly", "dc9", "--cron", "0 2 * * *"}},
		{"no links are selected", 2, []string{"set", "nightly", "--cron", "0 2 * * *"}},
		{"is not a name", 2, []string{"set", "Nightly", "--policy", "core"}},
		{"at most 40 fit", 2, []string{"set", strings.Repeat("n", 41), "--policy", "core"}},
		{"give the schedule a name", 2, []string{"set"}},
		{"there is none under that name", 2, []string{"show", "hourly"}},
		{"there is none under that name", 2, []string{"delete", "hourly"}},
		{"there is none under that name", 2, []string{"pause", "hourly", "--reason", "r"}},
		{"there is none under that name", 2, []string{"run-now", "hourly"}},
		{"--reason", 2, []string{"pause", "nightly"}},
		{"it is not paused", 3, []string{"resume", "nightly"}},
		{"ask for 1 to 10", 2, []string{"next", "nightly", "-n", "11"}},
	} {
		if err := w.keyorch(c.code, append([]string{"schedule"}, c.args...)...).Err; !strings.Contains(strings.ReplaceAll(err, `"dc9"`, "dc9"), c.says) {
			t.Errorf("keyorch schedule %s says: %s\nwant %q", strings.Join(c.args, " "), err, c.says)
		}
	}
	if after := w.schedule("nightly"); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("what was refused changed the schedule:\n%+v\n%+v", before, after)
	}
	away := w.Run(t.Context(), []string{"TEMPORAL_ADDRESS=127.0.0.1:1"}, "schedule", "list")
	if away.Code != 6 {
		t.Errorf("without Temporal: exit %d, want 6: %s", away.Code, away.Err)
	}
}

func (w *world) scheduleNext(t *testing.T) {
	zone, err := time.LoadLocation("Asia/Kathmandu")
	must(t, err)
	var out struct {
		TimeZone string
		Next     []struct {
			At    time.Time
			Notes []string
		}
	}
	must(t, json.Unmarshal([]byte(w.keyorch(0, "schedule", "next", "nightly", "-n", "3", "-o", "json").Out), &out))
	if len(out.Next) != 3 || out.TimeZone != "Asia/Kathmandu" {
		t.Fatalf("asked for three times, got %+v", out)
	}
	for i, n := range out.Next {
		_, offset := n.At.Zone()
		local := n.At.In(zone)
		if offset != 5*3600+45*60 || local.Hour() != 2 || local.Minute() > 10 || len(n.Notes) > 0 {
			t.Errorf("run %d is at %v %v, want 02:00 to 02:10 in Kathmandu without a note", i, n.At, n.Notes)
		}
		if i > 0 && local.YearDay() == out.Next[i-1].At.In(zone).YearDay() {
			t.Errorf("two runs on one day: %+v", out.Next)
		}
	}
	said(t, w.keyorch(0, "schedule", "next", "nightly").Out, " 02:", "+05:45")
	// Sunday 02:30 UTC is in the morning in Kathmandu, when the window of core is over.
	said(t, w.keyorch(0, "schedule", "next", "every-week", "-n", "1").Out, "1 of 4 links would be skipped: policy core is outside of the windows")
}

func (w *world) schedulePolicyChanged(t *testing.T) {
	w.declare(strings.ReplaceAll(nights, "0 2 * * *", "0 3 * * *"))
	if s := w.schedule("nightly"); s.Cron != "0 2 * * *" {
		t.Errorf("the schedule followed its policy: %+v", s)
	}
	said(t, w.keyorch(0, "schedule", "list").Out, "note: nightly: policy core says 0 3 * * * (Asia/Kathmandu)", "keyorch schedule set nightly --policy core\n")
	said(t, w.keyorch(0, "schedule", "set", "nightly", "--policy", "core").Out, "nightly: configured")
	if s := w.schedule("nightly"); s.Cron != "0 3 * * *" || len(s.Notes) > 0 {
		t.Errorf("after set again: %+v", s)
	}
}

func (w *world) schedulePaused(t *testing.T) {
	said(t, w.keyorch(0, "schedule", "pause", "nightly", "--reason", "a fair in town").Out, "nightly: paused")
	said(t, w.keyorch(0, "schedule", "list").Out, "paused: a fair in town")
	said(t, w.keyorch(0, "schedule", "next", "nightly").Out, "no run begins until keyorch schedule resume nightly")
	w.keyorch(0, "schedule", "set", "nightly", "--policy", "core", "--reason", "new")
	if s := w.schedule("nightly"); s.State != "paused" || s.Paused != "a fair in town" || s.Reason != "new" {
		t.Errorf("set resumed what was paused: %+v", s)
	}
	said(t, w.keyorch(0, "schedule", "resume", "nightly").Out, "nightly: resumed")
	if s := w.schedule("nightly"); s.State != "active" || s.Paused != "" {
		t.Errorf("after resume: %+v", s)
	}
	said(t, w.keyorch(0, "schedule", "delete", "every-week").Out, "every-week: deleted")
	w.keyorch(2, "schedule", "show", "every-week")
	w.listed("nightly")
	said(t, w.keyorch(0, "schedule", "set", "every-week", "dc1-dc2", "--cron", "30 2 * * sun").Out, "every-week: created")
}

// temporal is a client of Temporal, as other programs have.
func (w *world) temporal() client.Client {
	w.t.Helper()
	c, err := wiring.DialTemporal(w.t.Context(), w.Lab.Stack.TemporalAddress, w.Lab.Stack.TemporalNamespace, w.Lab.Logger)
	must(w.t, err)
	w.t.Cleanup(c.Close)
	return c
}

// What somebody changes in Temporal itself is seen, and put right by set.
func (w *world) scheduleAltered(t *testing.T) {
	w.keyorch(0, "schedule", "set", "nightly", "--policy", "core")
	must(t, w.temporal().ScheduleClient().GetHandle(t.Context(), "keyorch-nightly").Update(t.Context(), client.ScheduleUpdateOptions{
		DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
			in.Description.Schedule.Spec.Calendars[0].Hour = []client.ScheduleRange{{Start: 12}}
			return &client.ScheduleUpdate{Schedule: &in.Description.Schedule}, nil
		},
	}))
	said(t, w.keyorch(0, "schedule", "show", "nightly").Out, "somebody changed it in Temporal itself", " 12:")
	said(t, w.keyorch(0, "schedule", "set", "nightly", "--policy", "core").Out, "nightly: configured", " 03:")
	said(t, w.keyorch(0, "schedule", "set", "nightly", "--policy", "core").Out, "nightly: unchanged")
}

// Temporal has a reader of crons of its own, which differs from topology's; what it
// fires by must be what was checked.
func (w *world) scheduleFiresAsDeclared(t *testing.T) {
	for _, c := range []struct{ cron, zone string }{
		{"*/7 1-5/2 * * *", "Europe/Berlin"}, {"0 2 * * 1/2", ""}, {"0 0 29 feb *", "UTC"}, {"5/15 3 * * mon-fri", "America/St_Johns"},
		{"59 23 31 * *", "Pacific/Auckland"}, {"0 4 * jan,jul sun", "Asia/Kathmandu"},
	} {
		args := []string{"schedule", "set", "declared", "dc1-dc2", "--cron", c.cron}
		if c.zone != "" {
			args = append(args, "--time-zone", c.zone)
		}
		w.keyorch(0, args...)
		is := w.schedule("declared").Next
		want := topology.Policy{TimeZone: c.zone, Schedule: topology.Schedule{Cron: c.cron}}.Next(time.Now(), 5)
		if len(is) < 5 || !slices.EqualFunc(is[:5], want, time.Time.Equal) {
			t.Errorf("%s in %s fires at\n%v, want\n%v", c.cron, c.zone, is, want)
		}
	}
	// Another program's schedules are left alone.
	_, err := w.temporal().ScheduleClient().Create(t.Context(), client.ScheduleOptions{
		ID: "keyorch-theirs", Action: &client.ScheduleWorkflowAction{ID: "x", Workflow: "Report", TaskQueue: "theirs"},
	})
	must(t, err)
	for _, args := range [][]string{{"set", "theirs", "--policy", "core"}, {"delete", "theirs"}, {"run-now", "theirs"}} {
		said(t, w.keyorch(3, append([]string{"schedule"}, args...)...).Err, "keyorch did not make")
	}
}
