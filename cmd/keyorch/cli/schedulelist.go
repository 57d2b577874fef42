package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/workflows"
)

// scheduleStatus is one schedule in `schedule list -o json`. Times are in its zone.
type scheduleStatus struct {
	Name string `json:"name"`
	// State is "active", "paused" or "running"; a paused one may have a run, too.
	State     string             `json:"state"`
	Paused    string             `json:"paused,omitempty"` // why
	Cron      string             `json:"cron"`
	TimeZone  string             `json:"timeZone"`
	Jitter    string             `json:"jitter"`
	Policy    string             `json:"policy,omitempty"`
	Selection campaign.Selection `json:"selection"`
	Reason    string             `json:"reason,omitempty"`
	Next      []time.Time        `json:"next"`
	Last      *scheduleRun       `json:"last,omitempty"`
	Running   []string           `json:"running"`
	// Skipped runs would have overlapped, Missed ones would have been later than
	// CatchUp.
	Skipped int      `json:"skipped"`
	Missed  int      `json:"missed"`
	Overlap string   `json:"overlap"`
	CatchUp string   `json:"catchUp"`
	Notes   []string `json:"notes"`
}

// scheduleRun is a campaign of a schedule.
type scheduleRun struct {
	Campaign string         `json:"campaign"`
	State    campaign.State `json:"state"`
	Reason   string         `json:"reason,omitempty"`
	Tally    campaign.Tally `json:"tally"`
	Begun    time.Time      `json:"begun"`
	Ended    time.Time      `json:"ended,omitzero"`
}

// String is how it stands, for the table.
func (r *scheduleRun) String() string {
	if r == nil {
		return ""
	}
	said := []string{r.Campaign}
	if r.State != campaign.Ended {
		said = append(said, string(r.State))
	}
	if r.Tally.Links > 0 {
		said = append(said, r.Tally.String())
	}
	if r.Reason != "" {
		said = append(said, r.Reason)
	}
	return strings.Join(said, ": ")
}

func (s scheduleStatus) stateWords() string {
	switch s.State {
	case "paused":
		return "paused: " + s.Paused
	case "running":
		return "running " + strings.Join(s.Running, ", ")
	}
	return s.State
}

func (a *app) scheduleListVerb() *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List the schedules, with their next and their last run", Args: noArguments,
		Long: `List shows every schedule, with its next run in the schedule's own time zone and
the jitter in it, and what became of its last one. A new schedule may take about
a second to appear.`,
	}
	out := formatFlag(c)
	c.RunE = a.inWorld(func(ctx context.Context, w *world, _ []string) error {
		if err := w.openTemporal(ctx); err != nil {
			return err
		}
		found, err := w.temporal.Schedules().List(ctx)
		if err != nil {
			return err
		}
		all := []scheduleStatus{}
		for _, s := range found {
			all = append(all, w.scheduleStatus(s))
		}
		if *out != asTable {
			return out.print(a.out, map[string]any{"schedules": all})
		}
		var rows [][]string
		for _, s := range all {
			rows = append(rows, []string{s.Name, s.Cron, s.TimeZone, s.nextWords(), dash(s.Last.String()), s.stateWords()})
		}
		table(a.out, []string{"NAME", "CRON", "ZONE", "NEXT", "LAST", "STATE"}, rows)
		for _, s := range all {
			printNotes(a.out, s.Name+": ", s.Notes)
		}
		return nil
	})
	return c
}

func (s scheduleStatus) nextWords() string {
	if len(s.Next) == 0 || s.State == "paused" {
		return "-"
	}
	return wallClock(s.Next[0])
}

func (a *app) scheduleShowVerb() *cobra.Command {
	c := &cobra.Command{
		Use: "show NAME", Short: "Show everything about one schedule", Args: oneSchedule, ValidArgsFunction: a.completeSchedules,
	}
	out := formatFlag(c)
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		is, err := w.getSchedule(ctx, args[0])
		if err != nil {
			return err
		}
		s := w.scheduleStatus(is)
		if *out != asTable {
			return out.print(a.out, s)
		}
		rows := [][]string{
			{"state:", s.stateWords()}, {"cron:", s.Cron}, {"zone:", s.TimeZone}, {"jitter:", s.Jitter}, {"links:", s.Selection.String()},
			{"policy:", cmp.Or(s.Policy, "the default")}, {"reason:", dash(s.Reason)}, {"next:", s.nextWords()}, {"last:", dash(s.Last.String())},
			{"skipped:", fmt.Sprintf("%d runs, because the one before was going on", s.Skipped)},
			{"missed:", fmt.Sprintf("%d runs, which would have been later than %s", s.Missed, s.CatchUp)},
		}
		table(a.out, []string{"schedule:", s.Name}, rows)
		printNotes(a.out, "", s.Notes)
		return nil
	})
	return c
}

// mostNext is how many times Temporal tells.
const mostNext = 10

func (a *app) scheduleNextVerb() *cobra.Command {
	var n int
	c := &cobra.Command{
		Use: "next NAME", Short: "Show when a schedule begins its next runs", Args: oneSchedule, ValidArgsFunction: a.completeSchedules,
		Long: `Next shows when a schedule begins its next runs, as Temporal has it, jitter and
changes of the clock included, in the time zone that the schedule was written in.
A run at which windows are closed says so: its links would be skipped.`,
	}
	c.Flags().IntVarP(&n, "number", "n", 5, "how many, at most 10")
	out := formatFlag(c)
	c.PreRunE = func(*cobra.Command, []string) error {
		if n < 1 || n > mostNext {
			return fault.New(fault.Invalid, "-n %d: ask for 1 to %d", n, mostNext)
		}
		return nil
	}
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		is, err := w.getSchedule(ctx, args[0])
		if err != nil {
			return err
		}
		s, next := w.scheduleStatus(is), w.upcoming(is, n)
		if *out != asTable {
			return out.print(a.out, map[string]any{"name": s.Name, "timeZone": s.TimeZone, "next": next, "notes": s.Notes})
		}
		for _, t := range next {
			_, _ = fmt.Fprintln(a.out, strings.Join(append([]string{wallClock(t.At)}, t.Notes...), "   "))
		}
		printNotes(a.out, "", s.Notes)
		return nil
	})
	return c
}

func (w *world) getSchedule(ctx context.Context, name string) (wiring.ScheduleState, error) {
	if err := w.openTemporal(ctx); err != nil {
		return wiring.ScheduleState{}, err
	}
	return w.temporal.Schedules().Get(ctx, name)
}

// scheduleStatus is a schedule as Temporal has it, with what the store knows of its
// campaigns.
func (w *world) scheduleStatus(is wiring.ScheduleState) scheduleStatus {
	s := scheduleStatus{
		Name: is.Name, State: "active", Paused: is.Reason, Cron: is.When.Cron, TimeZone: cmp.Or(is.TimeZone, "UTC"),
		Jitter: is.When.Jitter.String(), Policy: is.Request.Policy, Selection: is.Request.Selection, Reason: is.Request.Reason,
		Next: []time.Time{}, Running: []string{}, Skipped: is.Skipped, Missed: is.Missed,
		Overlap: strings.ToLower(is.Overlap.String()), CatchUp: is.CatchUp.String(),
	}
	zone := zoneOf(is)
	for _, t := range is.Next {
		s.Next = append(s.Next, t.In(zone))
	}
	for _, id := range is.Running {
		s.Running = append(s.Running, workflows.CampaignName(id))
	}
	switch {
	case is.Paused:
		s.State = "paused"
	case len(is.Running) > 0:
		s.State = "running"
	}
	for _, c := range w.view.Campaigns() { // the newest first
		if c.By == is.By() {
			s.Last = &scheduleRun{Campaign: c.Name, State: c.State, Reason: c.Reason, Tally: c.Tally, Begun: c.Begun, Ended: c.Ended}
			break
		}
	}
	s.Notes = append([]string{}, w.scheduleNotes(is)...)
	return s
}

// zoneOf is the zone that the schedule was written in.
func zoneOf(is wiring.ScheduleState) *time.Location {
	zone, err := time.LoadLocation(is.TimeZone)
	if err != nil {
		return time.UTC
	}
	return zone
}

// wallClock is a time as the clock of its zone shows it, with what it is ahead of UTC.
func wallClock(t time.Time) string { return t.Format("Mon 2006-01-02 15:04:05 -07:00") }

func printNotes(out io.Writer, about string, notes []string) {
	for _, n := range notes {
		_, _ = fmt.Fprintf(out, "note: %s%s\n", about, n)
	}
}
