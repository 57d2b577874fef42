package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/workflows"
)

func (a *app) rotateVerb() *cobra.Command {
	var ask asked
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "rotate [LINK...] [--site S] [-l SELECTOR] [--all]",
		Short: "Give links a new key and wait for it",
		Long: `Rotate gives each of the links a new key: the nodes that receive accept it
first, the nodes that send switch to it when all of those have confirmed, and the
old key is forgotten when nothing keyed with it is in flight.

The links are taken up in the waves of the policy that they name, or of --policy;
without one, more than ten links begin with one link and then a tenth of them.
What would refuse a link is checked before anything begins: see keyorch plan.

A link whose nodes do not all confirm keeps its old key. After --timeout it is
reported as held and the command ends with 4; the rotation stays in place and
goes on by itself when the node answers.`,
		Example: `  keyorch rotate dc1-dc2
  keyorch rotate --site dc2 --timeout 1m
  keyorch rotate -l tier=core --policy nightly
  keyorch rotate --all -o json`,
		ValidArgsFunction: a.completeLinks,
	}
	ask.flags(c)
	ask.approving.flags(c)
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait for confirmations; 0 waits for ever")
	out := formatFlag(c)
	c.PreRunE = func(*cobra.Command, []string) error {
		if timeout < 0 {
			return fault.New(fault.Invalid, "--timeout %v: it cannot be negative", timeout)
		}
		return nil
	}
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		if err := w.openTemporal(ctx); err != nil {
			return err
		}
		request, plan, err := w.prepare(ctx, &ask, args)
		if err != nil {
			return err
		}
		if err := refusedBy(plan); err != nil {
			return err
		}
		if need, may := workflows.NeedOf(request, w.view.Topology(), plan.All(), false); may {
			if request.Approval, err = w.consent(ctx, need, ask.approving); err != nil {
				return err
			}
		}
		if err := w.announce(ctx, deed("rotate", outcomeAsked, ofCampaign(request, plan.All()))); err != nil {
			return err
		}
		return w.run(ctx, request, plan.All(), timeout, *out)
	})
	return c
}

// asked is what an operator asks of a rotation, or of a plan of one.
type asked struct {
	links         *selecting
	policy        string
	reason        string
	ignoreWindows bool
	approving     approving
}

func (q *asked) flags(c *cobra.Command) {
	q.links = selectFlags(c)
	c.Flags().StringVar(&q.policy, "policy", "", "rotate by the waves and the budget of this policy")
	c.Flags().StringVar(&q.reason, "reason", "", "why: it is kept with the campaign")
	c.Flags().BoolVar(&q.ignoreWindows, "ignore-windows", false, "rotate though a window is closed")
}

// prepare is the campaign that was asked for, and what it would do.
func (w *world) prepare(ctx context.Context, q *asked, names []string) (workflows.CampaignRequest, campaign.Plan, error) {
	t := w.view.Topology()
	selection := q.links.of(names)
	links, err := selection.Resolve(t)
	if err != nil {
		return workflows.CampaignRequest{}, campaign.Plan{}, err
	}
	policy, err := policyFor(t, q.policy, links)
	if err != nil {
		return workflows.CampaignRequest{}, campaign.Plan{}, err
	}
	in := workflows.CampaignRequest{
		Name: newCampaign(campaign.Rotation), Kind: campaign.Rotation, Policy: policy, Selection: selection, By: w.by(),
		Reason: q.reason, IgnoreWindows: q.ignoreWindows,
	}
	plan, err := campaign.MakePlan(w.facts(ctx, in))
	return in, plan, err
}

// ofCampaign is what a record says of a campaign that is asked for.
func ofCampaign(in workflows.CampaignRequest, ids []keychain.LinkID) audit.Record {
	r := audit.Record{Campaign: in.Name, Approval: in.Approval, Link: only(ids), Reason: in.Reason, Details: map[string]string{"links": oneLine(ids)}}
	if in.Policy != "" {
		r.Details["policy"] = in.Policy
	}
	if in.IgnoreWindows {
		r.Details["windows"] = "ignored"
	}
	return r
}

// newCampaign is a name that sorts by time and that nobody else has.
func newCampaign(kind campaign.Kind) string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return string(kind) + "-" + time.Now().UTC().Format("20060102-150405") + "-" + hex.EncodeToString(b[:])
}

// rotation is a campaign that is followed.
type rotation struct {
	campaign string
	links    []keychain.LinkID
	begun    time.Time
}

// run starts a campaign and follows it.
func (w *world) run(ctx context.Context, in workflows.CampaignRequest, links []keychain.LinkID, timeout time.Duration, out format) error {
	r := &rotation{campaign: in.Name, links: links, begun: time.Now()}
	if err := w.temporal.Campaigns().StartCampaign(ctx, in); err != nil {
		return err
	}
	return w.app.follow(ctx, w, r, timeout, out)
}

// noWorker is why a rotation does not begin.
const noWorker = "no worker answers; it begins when one does"

// results is how every link of a campaign stands, in their order, and whether
// nothing more is going to happen but in its tail.
func (w *world) results(r *rotation) (results []workflows.Result, over bool) {
	c, known := w.view.Campaign(r.campaign)
	denied := map[keychain.LinkID]*campaign.Denial{}
	for _, d := range w.view.Denials(r.campaign) {
		denied[d.Link] = &d
	}
	now := time.Now()
	over = true
	for _, id := range r.links {
		record, _ := w.view.Record(id)
		record.Link = id
		s := campaign.Stand(record, r.campaign, r.begun, now, 1<<62, denied[id])
		res := workflows.Result{Link: id, Outcome: link.Outcome(s.Outcome), Epoch: s.Epoch, Phase: s.Phase, Reason: s.Reason}
		if record.Last.Campaign == r.campaign {
			until := record.Last.Ended
			if until.IsZero() {
				until = now
			}
			res.Seconds = until.Sub(record.Last.Begun).Round(time.Millisecond).Seconds()
		}
		switch s.Outcome {
		case campaign.InFlight:
			res.Outcome, over = link.Held, false
		case campaign.NotBegun:
			res.Outcome, res.Reason, over = link.Held, notBegun(c, known), false
			if c.State == campaign.Ended {
				res.Outcome = link.Denied
			}
		case campaign.Superseded:
			res.Outcome = link.Denied
		}
		results = append(results, res)
	}
	return results, over || c.State == campaign.Ended || c.State == campaign.Paused
}

// notBegun is why a link of a campaign has not been begun.
func notBegun(c campaign.Record, known bool) string {
	switch {
	case !known:
		return noWorker
	case c.State == campaign.Running:
		return "not begun yet"
	}
	return fmt.Sprintf("not begun: the campaign is %s: %s", c.State, c.Reason)
}

// explained completes the results of links in flight with what holds them.
func (w *world) explained(results []workflows.Result, r *rotation) []workflows.Result {
	for i, res := range results {
		record, ok := w.view.Record(res.Link)
		if res.Outcome != link.Held || !ok || record.Last.Campaign != r.campaign || record.Owner == "" {
			continue
		}
		if reason := w.explain(res.Link).Reason; reason != "" {
			results[i].Reason = reason
		}
	}
	return results
}
