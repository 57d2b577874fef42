package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/temporal"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/workflows"
)

func (a *app) rotateVerb() *cobra.Command {
	var site string
	var all bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "rotate [LINK...] [--site S] [--all]",
		Short: "Give links a new key and wait for it",
		Long: `Rotate gives each of the links a new key: the nodes that receive accept it
first, the nodes that send switch to it when all of those have confirmed, and the
old key is forgotten when nothing keyed with it is in flight.

A link whose nodes do not all confirm keeps its old key. After --timeout it is
reported as held and the command ends with 4; the rotation stays in place and
goes on by itself when the node answers.`,
		Example: `  keyorch rotate dc1-dc2
  keyorch rotate --site dc2 --timeout 1m
  keyorch rotate --all -o json`,
		ValidArgsFunction: a.completeLinks,
	}
	c.Flags().StringVar(&site, "site", "", "every link with a node at this site")
	c.Flags().BoolVar(&all, "all", false, "every link")
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait for confirmations; 0 waits for ever")
	out := formatFlag(c)
	c.PreRunE = func(*cobra.Command, []string) error {
		if timeout < 0 {
			return fault.New(fault.Invalid, "--timeout %v: it cannot be negative", timeout)
		}
		return nil
	}
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		links, err := choose(w.view.Topology(), args, site, all)
		if err != nil {
			return err
		}
		if err := w.openTemporal(ctx); err != nil {
			return err
		}
		r, err := w.startRotation(ctx, links)
		if err != nil {
			return err
		}
		return a.follow(ctx, w, r, timeout, *out)
	})
	return c
}

// choose is the links that the operator named, in the order of the topology.
func choose(t topology.Topology, names []string, site string, all bool) ([]keychain.LinkID, error) {
	given := 0
	for _, is := range []bool{len(names) > 0, site != "", all} {
		if is {
			given++
		}
	}
	if given != 1 {
		return nil, fault.New(fault.Invalid, "choose links: name some, or give --site or --all (one of the three)")
	}
	var unknown []string
	for _, n := range names {
		if _, ok := t.Link(keychain.LinkID(n)); !ok {
			unknown = append(unknown, fmt.Sprintf("%q", n))
		}
	}
	if len(unknown) > 0 {
		return nil, fault.New(fault.Invalid, "choose links: no link %s is declared: see keyorch get links", strings.Join(unknown, ", "))
	}
	if site != "" && !slices.ContainsFunc(t.Sites, func(s topology.Site) bool { return string(s.Name) == site }) {
		return nil, fault.New(fault.Invalid, "choose links: no site %q is declared: see keyorch get sites", site)
	}
	var chosen []keychain.LinkID
	for _, l := range t.Links {
		at := t.SitesOf(slices.Concat(l.Upstream, l.Downstream))
		if all || slices.Contains(names, string(l.Name)) || slices.Contains(at, keychain.SiteID(site)) {
			chosen = append(chosen, l.Name)
		}
	}
	if len(chosen) == 0 {
		return nil, fault.New(fault.Invalid, "choose links: there are none")
	}
	return chosen, nil
}

// rotation is a campaign that was started: one workflow a batch.
type rotation struct {
	campaign string
	links    []keychain.LinkID
	batches  []string // workflow IDs
	begun    time.Time
}

// startRotation starts the workflows of a new campaign.
func (w *world) startRotation(ctx context.Context, links []keychain.LinkID) (*rotation, error) {
	r := &rotation{campaign: newCampaign(), links: links, begun: time.Now()}
	campaigns := wiring.Campaigns{Client: w.temporal}
	n := 0
	for batch := range slices.Chunk(links, workflows.MaxBatch) {
		n++
		id := r.campaign
		if len(links) > workflows.MaxBatch {
			id = fmt.Sprintf("%s-%d", r.campaign, n)
		}
		err := campaigns.Start(ctx, id, workflows.Batch{Campaign: r.campaign, Intent: workflows.ToRotate, Links: batch})
		if err != nil {
			return nil, err
		}
		r.batches = append(r.batches, id)
	}
	return r, nil
}

// newCampaign is a name that sorts by time and that nobody else has.
func newCampaign() string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return "rotate-" + time.Now().UTC().Format("20060102-150405") + "-" + hex.EncodeToString(b[:])
}

// ended waits for every batch, and gives the results in the order of the links.
// An error other than the end of ctx is a batch that failed.
func (w *world) ended(ctx context.Context, r *rotation) ([]workflows.Result, error) {
	var results []workflows.Result
	for _, id := range r.batches {
		out, err := w.endOf(ctx, id)
		if err != nil {
			return nil, err
		}
		results = append(results, out.Links...)
	}
	return results, nil
}

// askAgain is how long one question for the end of a workflow may hang. Temporal
// may lose the notification that a workflow has ended; a new question then finds
// that it has.
const askAgain = 2 * time.Second

func (w *world) endOf(ctx context.Context, id string) (out workflows.Outcome, err error) {
	for {
		asking, cancel := context.WithTimeout(ctx, askAgain)
		err := w.temporal.GetWorkflow(asking, id, "").Get(asking, &out)
		hung := asking.Err() != nil
		cancel()
		ended := new(temporal.WorkflowExecutionError)
		switch {
		case err == nil:
			return out, nil
		case ctx.Err() != nil:
			return out, ctx.Err()
		case errors.As(err, &ended):
			return out, fault.New(fault.Unknown, "wait for %s: it did not end by itself; its links keep their keys, see keyorch status", id)
		case !hung: // temporal is away; so the wait goes on
			pause(ctx, askAgain)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// noWorker is why a rotation does not begin.
const noWorker = "no worker answers; it begins when one does"

// asTheyStand is the results of a rotation that has not ended: from the
// workflows where a worker answers soon, and from the records otherwise.
func (w *world) asTheyStand(ctx context.Context, r *rotation) []workflows.Result {
	ctx, cancel := context.WithTimeout(ctx, askAgain)
	defer cancel()
	var results []workflows.Result
	for _, id := range r.batches {
		var out workflows.Outcome
		if v, err := w.temporal.QueryWorkflow(ctx, id, "", workflows.ProgressQuery); err == nil && v.Get(&out) == nil {
			results = append(results, out.Links...)
		}
	}
	all := make([]workflows.Result, 0, len(r.links))
	for _, id := range r.links {
		i := slices.IndexFunc(results, func(x workflows.Result) bool { return x.Link == id })
		res := workflows.Result{Link: id, Outcome: link.Held, Reason: noWorker}
		if i >= 0 {
			res = results[i]
		}
		if res.Outcome == link.Held {
			res = w.held(res, r)
		}
		all = append(all, res)
	}
	return all
}

// held completes the result of a link in flight with what its record and its
// nodes say.
func (w *world) held(res workflows.Result, r *rotation) workflows.Result {
	record, ok := w.view.Record(res.Link)
	if !ok || record.Last.Campaign != r.campaign {
		return res
	}
	res.Seconds = time.Since(r.begun).Round(time.Millisecond).Seconds()
	res.Epoch, res.Phase = record.State.Sends().Epoch, record.State.Phase
	if record.Owner == "" { // it ended while we were looking
		res.Outcome, res.Reason, res.Epoch = record.Last.Outcome, record.Last.Reason, record.Last.Epoch
		return res
	}
	if reason := w.explain(res.Link).Reason; reason != "" {
		res.Reason = reason
	}
	return res
}
