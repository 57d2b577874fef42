package wiring

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/workflows"
)

// Get is one schedule. Faults: Invalid when there is none, Refused when it is
// another program's, Unavailable.
func (s Schedules) Get(ctx context.Context, name string) (ScheduleState, error) {
	ctx, cancel := context.WithTimeout(ctx, scheduleTime)
	defer cancel()
	d, err := s.handle(ctx, name).Describe(ctx)
	if err != nil {
		return ScheduleState{}, scheduleFault(err, "look up schedule "+name)
	}
	return s.readSchedule(name, d)
}

// List is every schedule, sorted by name. Temporal lists a new one with a delay of
// about a second. Faults: Unavailable.
func (s Schedules) List(ctx context.Context) ([]ScheduleState, error) {
	names, err := s.names(ctx)
	if err != nil {
		return nil, err
	}
	var all []ScheduleState
	for _, name := range names {
		one, err := s.Get(ctx, name)
		switch {
		case err == nil:
			all = append(all, one)
		case fault.Is(err, fault.Unavailable):
			return nil, err
		}
		// Anything else: it was deleted meanwhile, or is another program's.
	}
	return all, nil
}

func (s Schedules) names(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, scheduleTime)
	defer cancel()
	list, err := s.Client.ScheduleClient().List(ctx, client.ScheduleListOptions{})
	if err != nil {
		return nil, scheduleFault(err, "list schedules")
	}
	var names []string
	for list.HasNext() {
		entry, err := list.Next()
		if err != nil {
			return nil, scheduleFault(err, "list schedules")
		}
		if name, ours := strings.CutPrefix(entry.ID, scheduleIDs); ours {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Delete removes a schedule. What it has started goes on. Faults as of Get.
func (s Schedules) Delete(ctx context.Context, name string) error {
	if _, err := s.Get(ctx, name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, scheduleTime)
	defer cancel()
	return scheduleFault(s.handle(ctx, name).Delete(ctx), "delete schedule "+name)
}

// Pause keeps a schedule from firing. Faults as of Get.
func (s Schedules) Pause(ctx context.Context, name, reason string) error {
	if _, err := s.Get(ctx, name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, scheduleTime)
	defer cancel()
	return scheduleFault(s.handle(ctx, name).Pause(ctx, client.SchedulePauseOptions{Note: reason}), "pause schedule "+name)
}

// Resume lets a paused schedule fire again; what it missed meanwhile is not made up
// for. Faults: as of Get, and Refused when it is not paused.
func (s Schedules) Resume(ctx context.Context, name string) error {
	is, err := s.Get(ctx, name)
	if err != nil {
		return err
	}
	if !is.Paused {
		return fault.New(fault.Refused, "resume schedule %s: it is not paused", name)
	}
	ctx, cancel := context.WithTimeout(ctx, scheduleTime)
	defer cancel()
	return scheduleFault(s.handle(ctx, name).Unpause(ctx, client.ScheduleUnpauseOptions{Note: "resumed"}), "resume schedule "+name)
}

// lookAgain is how often RunNow asks whether the run has begun.
const lookAgain = 100 * time.Millisecond

// RunNow starts a run besides those of the schedule, also of a paused one, and gives
// its workflow ID. Faults: as of Get, Refused while a run is going on, and Unknown
// when Temporal does not say in time whether it began.
func (s Schedules) RunNow(ctx context.Context, name string) (string, error) {
	before, err := s.Get(ctx, name)
	if err != nil {
		return "", err
	}
	if n := len(before.Running); n > 0 {
		return "", fault.New(fault.Refused, "run schedule %s: %s is going on", name, workflows.CampaignName(before.Running[n-1]))
	}
	ctx, cancel := context.WithTimeout(ctx, scheduleTime)
	defer cancel()
	err = s.handle(ctx, name).Trigger(ctx, client.ScheduleTriggerOptions{Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP})
	if err != nil {
		return "", scheduleFault(err, "run schedule "+name)
	}
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		now, err := s.Get(ctx, name)
		if err != nil && ctx.Err() == nil {
			return "", err
		}
		if n := len(now.Recent); n > 0 && !slices.Contains(before.Recent, now.Recent[n-1]) {
			return now.Recent[n-1], nil // or one that the schedule began in the same moment
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", fault.New(fault.Unknown, "run schedule %s: temporal does not say whether it began: see keyorch schedule show %s", name, name)
		}
	}
}

func (s Schedules) handle(ctx context.Context, name string) client.ScheduleHandle {
	return s.Client.ScheduleClient().GetHandle(ctx, scheduleIDs+name)
}

// readSchedule is what Temporal describes, in our words.
func (s Schedules) readSchedule(name string, d *client.ScheduleDescription) (ScheduleState, error) {
	out := ScheduleState{
		Next: d.Info.NextActionTimes, Skipped: d.Info.NumActionsSkippedOverlap, Missed: d.Info.NumActionsMissedCatchupWindow,
		CatchUp: d.Schedule.Policy.CatchupWindow, Overlap: d.Schedule.Policy.Overlap, Paused: d.Schedule.State.Paused,
	}
	out.Name, out.TimeZone, out.When.Jitter = name, d.Schedule.Spec.TimeZoneName, d.Schedule.Spec.Jitter
	if out.Paused {
		out.Reason = d.Schedule.State.Note
	}
	for _, w := range d.Info.RunningWorkflows {
		out.Running = append(out.Running, w.WorkflowID)
	}
	for _, a := range d.Info.RecentActions {
		if a.StartWorkflowResult != nil {
			out.Recent = append(out.Recent, a.StartWorkflowResult.WorkflowID)
		}
	}
	var memo scheduleMemo
	action, ok := d.Schedule.Action.(*client.ScheduleWorkflowAction)
	if !ok || action.TaskQueue != workflows.TaskQueue || len(action.Args) != 1 ||
		s.decode(action.Args[0], &out.Request) != nil || s.decode(action.Memo[memoKey], &memo) != nil {
		if err := s.sealed(action); err != nil {
			return out, fault.Wrap(fault.Of(err), err, "read schedule %s", name)
		}
		return out, fault.New(fault.Refused, "read schedule %s: temporal has one as %s%s that keyorch did not make", name, scheduleIDs, name)
	}
	out.When.Cron, out.OfPolicy = memo.Cron, memo.OfPolicy
	out.Altered = out.altered(d.Schedule)
	return out, nil
}

// decode reads a payload into v.
func (s Schedules) decode(payload, v any) error {
	p, ok := payload.(*commonpb.Payload)
	if !ok || p == nil {
		return fault.New(fault.Invalid, "it is no payload")
	}
	return s.Keys.Converter().FromPayload(p, v)
}

// sealed says why what a schedule starts cannot be opened; nil when that is not what
// is wrong with it.
func (s Schedules) sealed(action *client.ScheduleWorkflowAction) error {
	if action == nil || len(action.Args) != 1 {
		return nil
	}
	if p, ok := action.Args[0].(*commonpb.Payload); ok && p != nil {
		_, err := s.Keys.Decode([]*commonpb.Payload{p})
		return err
	}
	return nil
}

// scheduleFault is what went wrong at Temporal, in our words and without its own.
func scheduleFault(err error, doing string) error {
	ours, gone := new(fault.Error), new(serviceerror.NotFound)
	invalid, denied := new(serviceerror.InvalidArgument), new(serviceerror.PermissionDenied)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ours):
		return err
	case errors.As(err, &gone):
		return fault.New(fault.Invalid, "%s: there is none under that name: see keyorch schedule list", doing)
	case errors.As(err, &invalid), errors.As(err, &denied):
		return fault.New(fault.Refused, "%s: temporal refuses it", doing)
	}
	return fault.New(fault.Unavailable, "%s: temporal does not answer", doing)
}
