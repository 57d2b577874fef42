package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/workflows"
)

// answerTime is how long a campaign's workflow may take to answer.
const answerTime = 10 * time.Second

// asking is a verb that asks one campaign something.
type asking struct {
	verb, short, long, update, done string
	needsReason                     bool
}

func (a *app) pauseVerb() *cobra.Command {
	return a.askVerb(asking{
		verb: "pause", short: "Let a campaign begin nothing more", update: workflows.PauseUpdate, done: "paused",
		long: `Pause lets a campaign begin no more links. Links that have begun go on to their
end: a pause takes nothing back. Go on with keyorch resume.`,
		needsReason: true,
	})
}

func (a *app) resumeVerb() *cobra.Command {
	return a.askVerb(asking{
		verb: "resume", short: "Let a paused campaign go on", update: workflows.ResumeUpdate, done: "goes on",
		long: `Resume lets a paused campaign go on. When it paused because its error budget was
spent, what has failed so far does not spend it again.`,
	})
}

func (a *app) promoteVerb() *cobra.Command {
	return a.askVerb(asking{
		verb: "promote", short: "Skip the waiting of a wave, and after it", update: workflows.PromoteUpdate, done: "promoted",
		long: `Promote lets a campaign begin its next wave without waiting for what is left of
this one, and without the time between the two. Links that are in flight go on.`,
	})
}

func (a *app) askVerb(q asking) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: q.verb + " CAMPAIGN", Short: q.short, Long: q.long,
		ValidArgsFunction: a.completeCampaigns,
		Args:              named(1, 1, "name one campaign: see keyorch get campaigns"),
	}
	if q.needsReason {
		c.Flags().StringVar(&reason, "reason", "", "why: it is kept with the campaign")
	}
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		r, err := w.campaign(args[0])
		if err != nil {
			return err
		}
		if err := w.announce(ctx, deed(q.verb, outcomeAsked, audit.Record{Campaign: r.Name, Reason: reason})); err != nil {
			return err
		}
		if err := w.ask(ctx, r, q.update, workflows.Ask{Reason: reason}); err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.out, "%s: %s\n", r.Name, q.done)
		return err
	})
	return c
}

func (a *app) retryVerb() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use: "retry CAMPAIGN", Short: "Try the links again that a campaign left held, aborted or refused",
		Long: `Retry gives another key to the links of a campaign that are held before the
switch, were aborted, or were refused. The key that is staged is discarded first.
A campaign that still runs does so itself; of one that has ended, a new campaign
takes up the links, and the command follows it.`,
		ValidArgsFunction: a.completeCampaigns,
		Args:              named(1, 1, "name one campaign: see keyorch get campaigns"),
	}
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait for confirmations; 0 waits for ever")
	out := formatFlag(c)
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		r, err := w.campaign(args[0])
		if err != nil {
			return err
		}
		if r.State != campaign.Ended {
			if err := w.announce(ctx, deed("retry", outcomeAsked, audit.Record{Campaign: r.Name})); err != nil {
				return err
			}
			if err := w.ask(ctx, r, workflows.RetryUpdate, workflows.Ask{}); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s: tries again\n", r.Name)
			return err
		}
		return w.retry(ctx, r, timeout, *out)
	})
	return c
}

// retry starts a campaign over what r has left.
func (w *world) retry(ctx context.Context, r campaign.Record, timeout time.Duration, out format) error {
	standings, err := w.standings(ctx, r)
	if err != nil {
		return err
	}
	in := workflows.CampaignRequest{
		Name: newCampaign(campaign.Retry), Kind: campaign.Retry, Policy: r.Policy, By: w.by(), Reason: "what " + r.Name + " left",
	}
	for _, s := range standings {
		if s.Failed() {
			in.Selection.Links = append(in.Selection.Links, s.Link)
		}
	}
	if len(in.Selection.Links) == 0 {
		return fault.New(fault.Refused, "retry campaign %s: none of its links is held, aborted or refused", r.Name)
	}
	slices.Sort(in.Selection.Links)
	if err := w.openTemporal(ctx); err != nil {
		return err
	}
	if err := w.announce(ctx, deed("retry", outcomeAsked, ofCampaign(in, in.Selection.Links))); err != nil {
		return err
	}
	return w.run(ctx, in, in.Selection.Links, timeout, out)
}

// ask sends an Update to the workflow of a campaign.
func (w *world) ask(ctx context.Context, r campaign.Record, update string, q any) error {
	if w.temporal == nil {
		if err := w.openTemporal(ctx); err != nil {
			return err
		}
	}
	return w.temporal.Campaigns().Ask(ctx, answerTime, w.workflowOf(r), update, q, nil)
}

// campaign finds a campaign by its name.
func (w *world) campaign(name string) (campaign.Record, error) {
	r, ok := w.view.Campaign(name)
	if !ok {
		return r, fault.New(fault.Invalid, "find campaign %q: there is none: see keyorch get campaigns", name)
	}
	return r, nil
}

// standings is how every link of a campaign stands.
func (w *world) standings(ctx context.Context, r campaign.Record) ([]campaign.Standing, error) {
	denied := map[string]*campaign.Denial{}
	for _, d := range w.view.Denials(r.Name) {
		denied[string(d.Link)] = &d
	}
	now := time.Now()
	var out []campaign.Standing
	for _, wave := range r.Waves {
		batches, err := w.store.Batches(ctx, r.Name, wave.First, wave.Count)
		if err != nil {
			return nil, err
		}
		for _, b := range batches {
			for _, id := range b.Links {
				record, _ := w.view.Record(id)
				record.Link = id
				out = append(out, campaign.Stand(record, r.Name, wave.Begun, now, r.Wait, denied[string(id)]))
			}
		}
	}
	return out, nil
}

// completeCampaigns completes the names of campaigns, where etcd answers.
func (a *app) completeCampaigns(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	s, err := a.openStore(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer func() { _ = s.Close() }()
	all, err := s.Campaigns(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, r := range all {
		names = append(names, r.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
