package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/fault"
)

func (a *app) scheduleRestoreVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "restore",
		Short: "Make the schedules that policies declare, after Temporal was lost",
		Long: `Restore makes a schedule for every policy that declares one and that no schedule is
of, under the name of the policy: as "keyorch schedule set POLICY --policy POLICY"
does. Schedules that are there stay as they are. Those with a --cron or a selection
of their own stood in Temporal alone: set them again.`,
		Args: noArguments,
		RunE: a.inWorld(func(ctx context.Context, w *world, _ []string) error { return w.restoreSchedules(ctx) }),
	}
}

func (w *world) restoreSchedules(ctx context.Context) error {
	if err := w.openTemporal(ctx); err != nil {
		return err
	}
	are, err := w.temporal.Schedules().List(ctx)
	if err != nil {
		return err
	}
	var due []wiring.Schedule
	for _, p := range w.view.Topology().Policies {
		of := slices.ContainsFunc(are, func(s wiring.ScheduleState) bool { return s.Request.Policy == p.Name || s.Name == p.Name })
		if p.Schedule.Cron == "" || of {
			continue
		}
		want, err := w.scheduled(&setting{links: &selecting{}, policy: p.Name}, p.Name, nil)
		if fault.Is(err, fault.Invalid) {
			_, _ = fmt.Fprintf(w.app.err, "%s: left out: %v\n", p.Name, err)
			continue
		}
		if err != nil {
			return err
		}
		due = append(due, want)
	}
	if len(due) == 0 {
		_, err := fmt.Fprintln(w.app.out, "every schedule that a policy declares is there")
		return err
	}
	for _, want := range due {
		r := audit.Record{Details: map[string]string{"schedule": want.Name, "cron": want.When.Cron, "policy": want.Request.Policy}}
		if err := w.announce(ctx, deed("schedule restore", outcomeAsked, r)); err != nil {
			return err
		}
		if err := w.setSchedule(ctx, want); err != nil {
			return err
		}
	}
	return nil
}
