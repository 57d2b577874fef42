package cli

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/workflows"
)

// setting is what an operator asks of a schedule.
type setting struct {
	links          *selecting
	policy, reason string
	cron, zone     *string // nil: that of the policy
	jitter         *time.Duration
}

func (a *app) scheduleSetVerb() *cobra.Command {
	var q setting
	var cron, zone string
	var jitter time.Duration
	c := &cobra.Command{
		Use:   "set NAME [LINK...] [--policy P] [-l SELECTOR] [--cron CRON]",
		Short: "Make a schedule, or change one",
		Long: `Set makes a schedule, or makes an existing one as it is said here. Repeating it
changes nothing, and a paused schedule stays paused.

The links are those selected; without any, those that name the policy. They are
looked up anew at every run, so that links which come later take part. When
nothing else is said the schedule is that of the policy: its cron, its time zone
and its jitter, each of which a flag replaces.

The schedule is copied: when the policy changes, run set again. keyorch schedule
list says when the two differ.`,
		Example: `  keyorch schedule set nightly --policy core
  keyorch schedule set canaries --policy core -l tier=canary --cron "0 1 * * *"
  keyorch schedule set weekly --all --cron "30 2 * * sun" --time-zone Europe/Berlin --jitter 10m`,
		Args: named(1, math.MaxInt, "give the schedule a name"),
		ValidArgsFunction: func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return a.completeSchedules(c, args, typed)
			}
			return a.completeLinks(c, args, typed)
		},
	}
	q.links = selectFlags(c)
	f := c.Flags()
	f.StringVar(&q.policy, "policy", "", "rotate by the waves and the budget of this policy")
	f.StringVar(&q.reason, "reason", "", "why: it is kept with every campaign")
	f.StringVar(&cron, "cron", "", `when, in five fields, as in "0 2 * * *" (default: the policy's schedule)`)
	f.StringVar(&zone, "time-zone", "", "the zone that --cron is meant in, as in Europe/Berlin (default: the policy's, or UTC)")
	f.DurationVar(&jitter, "jitter", 0, "put every run off at random by up to this (default: the policy's)")
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		if f.Changed("cron") {
			q.cron = &cron
		}
		if f.Changed("time-zone") {
			q.zone = &zone
		}
		if f.Changed("jitter") {
			q.jitter = &jitter
		}
		want, err := w.scheduled(&q, args[0], args[1:])
		if err != nil {
			return err
		}
		if err := w.openTemporal(ctx); err != nil {
			return err
		}
		r := audit.Record{Reason: want.Request.Reason, Details: map[string]string{
			"schedule": want.Name, "cron": want.When.Cron, "time zone": want.TimeZone, "policy": want.Request.Policy,
		}}
		if err := w.announce(ctx, deed("schedule set", outcomeAsked, r)); err != nil {
			return err
		}
		return w.setSchedule(ctx, want)
	})
	return c
}

// scheduled is the schedule that was asked for. Everything that can be wrong with it
// is found here, before anything is changed.
func (w *world) scheduled(q *setting, name string, links []string) (wiring.Schedule, error) {
	var none wiring.Schedule
	if err := keychain.ValidName(name); err != nil {
		return none, fault.Wrap(fault.Invalid, err, "set schedule")
	}
	if len(name) > wiring.MaxScheduleName {
		return none, fault.New(fault.Invalid, "set schedule %s: the name has %d characters, at most %d fit: every run writes its time behind it",
			name, len(name), wiring.MaxScheduleName)
	}
	t := w.view.Topology()
	if _, err := policyFor(t, q.policy, nil); err != nil {
		return none, err
	}
	selection := q.links.of(links)
	if !q.links.given(links) {
		if q.policy == "" {
			return none, fault.New(fault.Invalid, "set schedule %s: no links are selected: say --policy P for those of a policy, name some, or say --all", name)
		}
		selection = campaign.Selection{Policy: q.policy}
	}
	found, err := selection.Resolve(t)
	if err != nil {
		return none, err
	}
	policy, err := policyFor(t, q.policy, found)
	if err != nil {
		return none, err
	}
	s := wiring.Schedule{
		Name:     name,
		Request:  workflows.CampaignRequest{Kind: campaign.Rotation, Policy: policy, Selection: selection, Reason: q.reason},
		OfPolicy: q.cron == nil && q.zone == nil && q.jitter == nil,
	}
	p := t.PolicyOf(topology.Link{Policy: policy})
	s.When, s.TimeZone = p.Schedule, p.TimeZone
	if q.cron == nil && s.When.Cron == "" {
		which := "the default policy"
		if policy != "" {
			which = "policy " + policy
		}
		return none, fault.New(fault.Invalid, "set schedule %s: %s has no schedule: say when with --cron", name, which)
	}
	if q.cron != nil {
		s.When.Cron = *q.cron
	}
	if q.zone != nil {
		s.TimeZone = *q.zone
	}
	if q.jitter != nil {
		s.When.Jitter = *q.jitter
	}
	return s, fault.Wrap(fault.Invalid, checkSchedule(p, s), "set schedule %s", name)
}

// checkSchedule holds a schedule against the rules of documents.
func checkSchedule(p topology.Policy, s wiring.Schedule) error {
	if s.TimeZone != p.TimeZone {
		p.Windows = nil // they are on another clock; keyorch schedule next compares the two
	}
	p.Schedule, p.TimeZone = s.When, s.TimeZone
	return topology.CheckSchedule(p)
}

// setSchedule makes it so, and says when it fires next.
func (w *world) setSchedule(ctx context.Context, want wiring.Schedule) error {
	schedules := w.temporal.Schedules()
	did, err := schedules.Set(ctx, want)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(w.app.out, "%s: %s\n", want.Name, did)
	is, err := schedules.Get(ctx, want.Name)
	if err != nil {
		return err
	}
	s := w.scheduleStatus(is)
	for _, n := range w.upcoming(is, 1) {
		_, _ = fmt.Fprintf(w.app.out, "next: %s\n", wallClock(n.At))
		s.Notes = append(s.Notes, n.Notes...)
	}
	printNotes(w.app.out, "", s.Notes)
	return nil
}
