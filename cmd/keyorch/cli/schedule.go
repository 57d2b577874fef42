package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/workflows"
)

func (a *app) scheduleVerb() *cobra.Command {
	c := &cobra.Command{
		Use:   "schedule",
		Short: "Let campaigns begin by themselves, every night for example",
		Long: `A schedule begins a campaign over the same links again and again. Temporal keeps
it: it fires without any command or worker running, and a worker is needed only
for the campaign itself.

Campaigns of one schedule never overlap: while one runs or is paused, the next
run is skipped. A campaign has ended when its last wave is over; links that it
leaves held go on by themselves and hold no later run. A run that is missed,
because Temporal was away, begins within a minute of its time or not at all.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.scheduleSetVerb(), a.scheduleListVerb(), a.scheduleShowVerb(), a.scheduleNextVerb(),
		a.scheduleRunVerb(), a.schedulePauseVerb(), a.scheduleResumeVerb(), a.scheduleDeleteVerb(), a.scheduleRestoreVerb())
	return c
}

// inSchedules makes a verb out of what it does to the schedule that is named first.
func (a *app) inSchedules(c *cobra.Command, do func(ctx context.Context, s wiring.Schedules, name string) error) *cobra.Command {
	c.Args, c.ValidArgsFunction = oneSchedule, a.completeSchedules
	c.RunE = func(c *cobra.Command, args []string) error {
		t, err := a.openTemporal(c.Context(), "error")
		if err != nil {
			return err
		}
		defer t.Close()
		if err := a.tellSchedule(c, args[0]); err != nil {
			return err
		}
		return do(c.Context(), t.Schedules(), args[0])
	}
	return c
}

// tellSchedule writes down which verb is used on which schedule, which only Temporal keeps.
func (a *app) tellSchedule(c *cobra.Command, name string) error {
	s, err := a.openStore(c.Context())
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	r := audit.Record{Details: map[string]string{"schedule": name}}
	if f := c.Flags().Lookup("reason"); f != nil {
		r.Reason = f.Value.String()
	}
	return announce(c.Context(), s, deed("schedule "+c.Name(), outcomeAsked, r))
}

func oneSchedule(c *cobra.Command, args []string) error {
	return named(1, 1, "name one schedule: see keyorch schedule list")(c, args)
}

func (a *app) scheduleRunVerb() *cobra.Command {
	return a.inSchedules(&cobra.Command{
		Use: "run-now NAME", Short: "Begin a run of a schedule at once",
		Long: `Run-now begins a run besides those that the schedule begins by itself, also when
it is paused. It is refused while a run of the same schedule is going on.`,
	}, func(ctx context.Context, s wiring.Schedules, name string) error {
		id, err := s.RunNow(ctx, name)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.out, "%s: begun as campaign %s\n", name, workflows.CampaignName(id))
		return err
	})
}

func (a *app) schedulePauseVerb() *cobra.Command {
	var reason string
	c := a.inSchedules(&cobra.Command{
		Use: "pause NAME --reason TEXT", Short: "Keep a schedule from beginning runs",
		Long: `Pause keeps a schedule from beginning runs until keyorch schedule resume. A run
that is going on is not touched: see keyorch pause for that.`,
	}, func(ctx context.Context, s wiring.Schedules, name string) error {
		if err := s.Pause(ctx, name, reason); err != nil {
			return err
		}
		_, err := fmt.Fprintf(a.out, "%s: paused\n", name)
		return err
	})
	c.Flags().StringVar(&reason, "reason", "", "why: it is shown until the schedule is resumed")
	c.PreRunE = func(*cobra.Command, []string) error {
		if strings.TrimSpace(reason) == "" {
			return fault.New(fault.Invalid, "--reason: say why, for whoever finds the schedule paused")
		}
		return nil
	}
	return c
}

func (a *app) scheduleResumeVerb() *cobra.Command {
	return a.inSchedules(&cobra.Command{
		Use: "resume NAME", Short: "Let a paused schedule go on",
		Long: "Resume lets a paused schedule go on. What it missed meanwhile is not made up for.",
	}, func(ctx context.Context, s wiring.Schedules, name string) error {
		if err := s.Resume(ctx, name); err != nil {
			return err
		}
		_, err := fmt.Fprintf(a.out, "%s: resumed\n", name)
		return err
	})
}

func (a *app) scheduleDeleteVerb() *cobra.Command {
	return a.inSchedules(&cobra.Command{
		Use: "delete NAME", Short: "Remove a schedule",
		Long: "Delete removes a schedule. A run of it that is going on goes on to its end.",
	}, func(ctx context.Context, s wiring.Schedules, name string) error {
		if err := s.Delete(ctx, name); err != nil {
			return err
		}
		_, err := fmt.Fprintf(a.out, "%s: deleted\n", name)
		return err
	})
}

// completeSchedules completes the names of schedules, where Temporal answers.
func (a *app) completeSchedules(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	t, err := a.openTemporal(c.Context(), "error")
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer t.Close()
	all, err := t.Schedules().List(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
