package wiring

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/sealing"
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/workflows"
)

// Schedules is Temporal's schedules, as far as they are keyorch's: those that start
// Campaign. Nothing else keeps them. Keys may be nil.
type Schedules struct {
	Client client.Client
	Keys   *sealing.Keys
}

// Schedule is when campaigns begin by themselves, and which.
type Schedule struct {
	Name string
	// Request is that of every campaign, without a name: each run has one of its own.
	Request workflows.CampaignRequest
	// When is the cron as it was written, and the jitter, in TimeZone; empty is UTC.
	When     topology.Schedule
	TimeZone string
	// OfPolicy says that When and TimeZone are those that the policy had.
	OfPolicy bool
}

// ScheduleState is a schedule and how it stands.
type ScheduleState struct {
	Schedule
	Paused bool
	Reason string // why it is paused
	// Next is up to ten times at which it fires, with the jitter. A paused schedule
	// has them, too, and does not fire.
	Next []time.Time
	// Running and Recent are the workflow IDs of runs that are going on, and of the
	// last ten that began, the oldest first.
	Running, Recent []string
	// Skipped counts the runs that did not begin because the one before was going on,
	// Missed those that could not begin within CatchUp.
	Skipped, Missed int
	// CatchUp is how late a run may begin, after Temporal was away.
	CatchUp time.Duration
	// Overlap is what becomes of a run while the one before is going on.
	Overlap enumspb.ScheduleOverlapPolicy
	// Altered says that somebody changed it in Temporal itself, so that it does not do
	// what Set asked for. Set puts it right.
	Altered bool
}

const (
	// catchUp is how late a run may begin: runs that were missed do not pile up.
	// Temporal allows no less than 10 s.
	catchUp = time.Minute
	// scheduleTime is how long Temporal may take for one request.
	scheduleTime = 10 * time.Second
	// scheduleIDs begin with it: other programs may have schedules, too.
	scheduleIDs = "keyorch-"
	// memoKey is what the action's memo has a scheduleMemo under.
	memoKey = "keyorch"
)

// MaxScheduleName is how long a schedule's name may be, so that the name of a run,
// which has the time in it, is no longer than other names.
const MaxScheduleName = 40

// scheduleMemo is what Temporal has no field for: it keeps a cron as calendars.
type scheduleMemo struct {
	Cron     string `json:"cron"`
	OfPolicy bool   `json:"ofPolicy,omitempty"`
}

// By is who a schedule's campaigns are asked for by.
func (s Schedule) By() string { return "schedule " + s.Name }

// Set makes a schedule, or makes it as it should be. A paused one stays paused. It
// says what it did: "created", "configured" or "unchanged". Faults: Invalid for a
// cron that is none, Refused when Temporal refuses it or another program has a
// schedule under that ID, Unavailable.
func (s Schedules) Set(ctx context.Context, want Schedule) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, scheduleTime)
	defer cancel()
	want.Request.Name, want.Request.By = "", want.By()
	spec, err := want.spec()
	if err != nil {
		return "", err
	}
	did, err := s.update(ctx, want, spec)
	if !fault.Is(err, fault.Invalid) { // it is there
		return did, err
	}
	_, err = s.Client.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID: scheduleIDs + want.Name, Spec: *spec, Action: want.action(),
		Overlap: policies().Overlap, CatchupWindow: policies().CatchupWindow,
	})
	if errors.Is(err, temporal.ErrScheduleAlreadyRunning) { // somebody else just made it
		return s.update(ctx, want, spec)
	}
	if err != nil {
		return "", scheduleFault(err, "set schedule "+want.Name)
	}
	return "created", nil
}

func (s Schedules) update(ctx context.Context, want Schedule, spec *client.ScheduleSpec) (string, error) {
	did := "configured"
	err := s.handle(ctx, want.Name).Update(ctx, client.ScheduleUpdateOptions{
		DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
			is, err := s.readSchedule(want.Name, &in.Description)
			if err != nil {
				return nil, err
			}
			if is.same(want) {
				did = "unchanged"
				return nil, temporal.ErrSkipScheduleUpdate
			}
			next := in.Description.Schedule // with its state: what is paused stays paused
			next.Spec, next.Action = spec, want.action()
			next.Policy, next.State.LimitedActions = policies(), false
			return &client.ScheduleUpdate{Schedule: &next}, nil
		},
	})
	if err != nil {
		return "", scheduleFault(err, "set schedule "+want.Name)
	}
	return did, nil
}

// same reports whether Set has nothing to do.
func (s ScheduleState) same(want Schedule) bool {
	is, err := json.Marshal(s.Schedule)
	if err != nil {
		return false
	}
	wanted, err := json.Marshal(want)
	return err == nil && string(is) == string(wanted) && !s.Altered
}

// altered reports whether what Temporal has is not what Set made of s.
func (s Schedule) altered(is client.Schedule) bool {
	made, err := s.spec()
	if err != nil {
		return true
	}
	spec := is.Spec
	return *is.Policy != *policies() || is.State.LimitedActions || len(spec.Calendars) != 1 || len(spec.Intervals) > 0 || len(spec.Skip) > 0 ||
		!reflect.DeepEqual(numbersOf(spec.Calendars[0]), numbersOf(made.Calendars[0]))
}

// numbersOf is the seconds, minutes, hours, days, months and weekdays of a calendar.
func numbersOf(c client.ScheduleCalendarSpec) [6][]int {
	var out [6][]int
	for i, field := range [...][]client.ScheduleRange{c.Second, c.Minute, c.Hour, c.DayOfMonth, c.Month, c.DayOfWeek} {
		for _, r := range field {
			for n := r.Start; n <= max(r.Start, r.End); n += max(1, r.Step) {
				out[i] = append(out[i], n)
			}
		}
	}
	return out
}

// policies are those of every schedule.
func policies() *client.SchedulePolicies {
	return &client.SchedulePolicies{Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP, CatchupWindow: catchUp}
}

// spec is when it fires, for Temporal.
func (s Schedule) spec() (*client.ScheduleSpec, error) {
	c, err := s.When.Calendar()
	if err != nil {
		return nil, err
	}
	return &client.ScheduleSpec{
		Calendars: []client.ScheduleCalendarSpec{{
			Second: ranges([]int{0}), Minute: ranges(c.Minutes), Hour: ranges(c.Hours), DayOfMonth: ranges(c.Days), Month: ranges(c.Months),
			DayOfWeek: ranges(c.Weekdays), Comment: s.When.Cron,
		}},
		Jitter: s.When.Jitter, TimeZoneName: s.TimeZone,
	}, nil
}

// ranges are sorted numbers as stretches without a gap.
func ranges(numbers []int) []client.ScheduleRange {
	var out []client.ScheduleRange
	for _, n := range numbers {
		if last := len(out) - 1; last >= 0 && out[last].End == n-1 {
			out[last].End = n
			continue
		}
		out = append(out, client.ScheduleRange{Start: n, End: n})
	}
	return out
}

// action is what it starts. Temporal writes the time of the run behind the ID.
func (s Schedule) action() *client.ScheduleWorkflowAction {
	return &client.ScheduleWorkflowAction{
		ID: s.Name, Workflow: workflows.Campaign, Args: []any{s.Request}, TaskQueue: workflows.TaskQueue,
		Memo: map[string]any{memoKey: scheduleMemo{Cron: s.When.Cron, OfPolicy: s.OfPolicy}},
	}
}
