package cli

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/workflows"
)

func (a *app) abortVerb() *cobra.Command {
	var reason string
	var switched bool
	var with approving
	c := &cobra.Command{
		Use:   "abort CAMPAIGN|LINK... [--switched] [--reason TEXT]",
		Short: "Take links back to the key that their rotation came from",
		Long: `Abort takes back the rotation of links that are in flight. Before the switch the
new key is dropped; after it, upstream goes back to the old key, which every
downstream node still accepts. It is refused when the old key is already being
forgotten, when there is none, and after the switch when a sender has lost its
counter under it.

Of a campaign nothing more is begun, and what has not switched goes back. What has
switched runs to its end, or with --switched goes back, too, where it still can. An
abort cannot be taken back: see keyorch pause for less.`,
		Example: `  keyorch abort dc1-dc2 --reason "the wrong site"
  keyorch abort rotate-20260301-020000-a1b2c3`,
		ValidArgsFunction: a.completeLinksAndCampaigns,
		Args:              named(1, math.MaxInt, "name a campaign, or at least one link"),
	}
	c.Flags().StringVar(&reason, "reason", "", "why: it is kept with the campaign, or with each rotation")
	with.flags(c)
	c.Flags().BoolVar(&switched, "switched", false, "of a campaign: take back what has switched, too")
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		ids, campaigns, err := w.linksAndCampaigns(args)
		if err != nil {
			return err
		}
		if err := w.openTemporal(ctx); err != nil {
			return err
		}
		id, err := w.consentToAbort(ctx, campaigns, ids, reason, switched, with)
		if err != nil {
			return err
		}
		return w.abort(ctx, campaigns, ids, workflows.AbortRequest{Reason: reason, Staged: !switched, Approval: id})
	})
	return c
}

// consentToAbort is the request for approvals that lets what has switched go back, if
// there is any.
func (w *world) consentToAbort(ctx context.Context, campaigns []campaign.Record, ids []keychain.LinkID, reason string, switched bool, with approving) (string, error) {
	var needs []approval.Need
	for _, c := range campaigns {
		if switched {
			needs = append(needs, workflows.NeedOfAbort("campaign "+c.Name, nil, reason))
		}
	}
	var links []approval.Link
	for _, id := range ids {
		if r, ok := w.view.Record(id); ok && workflows.Switched(r.State) {
			links = append(links, workflows.Rotation(r))
		}
	}
	if len(links) > 0 {
		needs = append(needs, workflows.NeedOfAbort("", links, reason))
	}
	switch {
	case len(needs) == 0 || !w.view.Rules().Asks(needs[0]):
		return "", nil
	case len(needs) > 1:
		return "", fault.New(fault.Invalid, "abort: this needs approvals, which are for one campaign or for links: abort them one after the other")
	}
	return w.consent(ctx, needs[0], with)
}

// linksAndCampaigns tells links from campaigns. A name that is both is the link.
func (w *world) linksAndCampaigns(names []string) (ids []keychain.LinkID, campaigns []campaign.Record, err error) {
	for _, n := range names {
		known, noLink := w.known([]string{n})
		if noLink == nil {
			ids = append(ids, known...)
			continue
		}
		c, ok := w.view.Campaign(n)
		if !ok {
			return nil, nil, fault.New(fault.Invalid, "find %q: it is neither a link nor a campaign: see keyorch get links and keyorch get campaigns", n)
		}
		campaigns = append(campaigns, c)
	}
	return ids, campaigns, nil
}

// completeLinksAndCampaigns completes the names of both, where etcd answers.
func (a *app) completeLinksAndCampaigns(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	links, _ := a.completeLinks(c, args, begun)
	campaigns, _ := a.completeCampaigns(c, args, begun)
	return append(links, campaigns...), cobra.ShellCompDirectiveNoFileComp
}

// abort asks the workflow of every campaign and of every link, and adopts the
// links that have none any more. All are tried; the first failure is the command's.
func (w *world) abort(ctx context.Context, campaigns []campaign.Record, ids []keychain.LinkID, q workflows.AbortRequest) error {
	var failed error
	tried := func(name string, err error) {
		if err != nil {
			say(w.app.err, err)
			if ExitCode(err) == exitRefused {
				_ = w.store.Append(ctx, refusal("abort", []string{name}, err))
			}
			failed = cmp.Or(failed, err)
			return
		}
		_, _ = fmt.Fprintf(w.app.out, "%s: going back\n", name)
	}
	if err := w.tellAbort(ctx, campaigns, ids, q); err != nil {
		return err
	}
	for _, c := range campaigns {
		tried(c.Name, w.abortCampaign(ctx, c, q))
	}
	temporal := w.temporal.Campaigns()
	for _, id := range ids {
		tried(string(id), w.abortOne(ctx, temporal, id, cmp.Or(q.Reason, "aborted by the operator"), q.Approval))
	}
	if failed != nil {
		return &exitError{code: ExitCode(failed)}
	}
	return nil
}

// tellAbort writes down what is to be taken back, each thing in a record of its own.
func (w *world) tellAbort(ctx context.Context, campaigns []campaign.Record, ids []keychain.LinkID, q workflows.AbortRequest) error {
	var all []audit.Record
	for _, c := range campaigns {
		r := audit.Record{Campaign: c.Name, Reason: q.Reason}
		if !q.Staged {
			r.Details = map[string]string{"switched": "goes back, too"}
		}
		all = append(all, deed("abort", outcomeAsked, r))
	}
	for _, id := range ids {
		now, _ := w.view.Record(id)
		all = append(all, deed("abort", outcomeAsked, audit.Record{
			Link: id, Turn: now.State.Turn, Epoch: now.State.To.Epoch, Campaign: now.Last.Campaign, Reason: q.Reason,
			Details: map[string]string{"phase": now.State.Phase.String()},
		}))
	}
	return unsaid(w.store.Append(ctx, all...))
}

// abortCampaign asks the workflow of a campaign. What its record refuses is
// refused with the record's words, for its workflow may be long gone.
func (w *world) abortCampaign(ctx context.Context, c campaign.Record, q workflows.AbortRequest) error {
	if err := c.CanAbort(); err != nil {
		return err
	}
	err := w.ask(ctx, c, workflows.AbortUpdate, q)
	if fault.Is(err, fault.Unavailable) {
		return fault.New(fault.Unknown, "abort campaign %s: no worker answers; one that comes back may still carry it out: see keyorch status", c.Name)
	}
	return err
}

func (w *world) abortOne(ctx context.Context, campaigns wiring.Campaigns, id keychain.LinkID, reason, approved string) error {
	record, _ := w.view.Record(id)
	owner := record.Owner
	running := false
	if owner != "" {
		var err error
		if running, err = campaigns.Running(ctx, owner); err != nil {
			return err
		}
	}
	if running {
		return w.askToAbort(ctx, owner, id, reason, approved)
	}
	if _, err := link.Step(record.State, link.Abort{}); err != nil {
		return fault.Wrap(fault.Refused, err, "abort %s", id)
	}
	// Nobody drives it: a workflow of its own adopts it and takes it back.
	name := fmt.Sprintf("abort-%s-%d", id, record.State.Turn)
	return campaigns.Start(ctx, name, workflows.Batch{
		Campaign: name, Intent: workflows.ToAbort, Links: []keychain.LinkID{id}, Reason: reason, Approval: approved,
	})
}

func (w *world) askToAbort(ctx context.Context, owner string, id keychain.LinkID, reason, approved string) error {
	var answer workflows.AbortAnswer
	err := w.temporal.Campaigns().Ask(ctx, 2*dialTime, owner, workflows.AbortUpdate,
		workflows.AbortRequest{Links: []keychain.LinkID{id}, Reason: reason, Approval: approved}, &answer)
	if fault.Is(err, fault.Unavailable) {
		return fault.New(fault.Unknown, "abort %s: no worker answers for %s; one that comes back may still carry it out: see keyorch status", id, owner)
	}
	if err != nil {
		return err
	}
	i := slices.IndexFunc(answer.Refused, func(d workflows.Denial) bool { return d.Link == id })
	if i >= 0 {
		return fault.New(fault.Refused, "abort %s: %s", id, answer.Refused[i].Reason)
	}
	return nil
}
