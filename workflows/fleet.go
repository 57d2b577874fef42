package workflows

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"
	"golang.org/x/sync/errgroup"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// CampaignsKept is how many campaigns that have ended are kept for the operator.
const CampaignsKept = 100

// Fleet is what a campaign does in the world. Make one with NewFleet.
type Fleet struct {
	store   Store
	view    View
	batches Batches
}

// NewFleet wires the activities of campaigns by hand.
func NewFleet(store Store, view View, batches Batches) *Fleet {
	return &Fleet{store: store, view: view, batches: batches}
}

// sideBySide is how many batches a campaign has under way at once: enough to keep
// the servers busy while links drain, and so few that each link is quick.
const sideBySide = 8

// PlanCampaign chooses the links of a campaign and its waves, and writes both
// down. Of a campaign that is there already it gives the record: it may be
// repeated, and a run that continues another begins with it. A selection that
// cannot be resolved gives a campaign that has ended, with the reason.
func (f *Fleet) PlanCampaign(ctx context.Context, q CampaignRequest) (campaign.Record, error) {
	defer beat(ctx)()
	if err := f.view.CatchUp(ctx); err != nil {
		return campaign.Record{}, failure(err)
	}
	if r, ok := f.view.Campaign(q.Name); ok {
		return r, nil
	}
	t := f.view.Topology()
	now := time.Now().UTC()
	r := campaign.Record{
		Name: q.Name, Kind: q.Kind, Policy: q.Policy, Selection: q.Selection, By: q.By, SideBySide: sideBySide,
		IgnoreWindows: q.IgnoreWindows,
		Workflow:      activity.GetInfo(ctx).WorkflowExecution.ID, State: campaign.Running,
	}
	links, err := q.Selection.Resolve(t)
	if err != nil {
		r.State, r.Reason, r.Begun, r.Since, r.Ended = campaign.Ended, told(err), now, now, now
		return f.write(ctx, r)
	}
	consent, why := f.consent(q, t, links)
	if why != "" {
		return f.refusedCampaign(ctx, r, q, consent, why)
	}
	policy := q.Kind.Policy(t.PolicyOf(topology.Link{Policy: q.Policy}))
	waves := campaign.Waves(policy, t, links)
	statuses, batches := campaign.Batches(waves, MaxBatch)
	if err := f.store.PutBatches(ctx, q.Name, batches); err != nil {
		return r, failure(err)
	}
	f.prune(ctx)
	begun := campaign.Begin(r, policy, statuses, now)
	begun.Policy, begun.Reason, begun.Asked = q.Policy, q.Reason, q.Reason
	if takes := campaign.Expected(waves, f.view.Record); takes > 0 {
		begun.Expected = now.Add(takes)
	}
	return f.consented(ctx, begun, q, consent)
}

func (f *Fleet) write(ctx context.Context, r campaign.Record) (campaign.Record, error) {
	revision, err := f.store.PutCampaign(ctx, r)
	r.Revision = revision
	return r, failure(err)
}

// prune forgets the oldest campaigns. What cannot be forgotten now is next time.
func (f *Fleet) prune(ctx context.Context) {
	kept := 0
	for _, c := range f.view.Campaigns() {
		if c.State != campaign.Ended {
			continue
		}
		if kept++; kept > CampaignsKept {
			_ = f.store.DropCampaign(ctx, c.Name)
		}
	}
}

// SaveCampaign writes a campaign's record and gives its revision.
func (f *Fleet) SaveCampaign(ctx context.Context, r campaign.Record) (int64, error) {
	r, err := f.write(ctx, r)
	return r.Revision, err
}

// Launch is which batches of a campaign to start, and as what.
type Launch struct {
	Campaign      string `json:"campaign"`
	Intent        Intent `json:"intent"`
	Urgent        bool   `json:"urgent,omitempty"`
	IgnoreWindows bool   `json:"ignoreWindows,omitempty"`
	First         int    `json:"first"`
	Count         int    `json:"count"`
}

// atOnce bounds the workflows that are started, or asked, side by side.
const atOnce = 8

// LaunchBatches starts the workflow of every batch. It may be repeated: a batch
// that has begun before, and may have ended, is left alone.
func (f *Fleet) LaunchBatches(ctx context.Context, q Launch) error {
	defer beat(ctx)()
	batches, err := f.store.Batches(ctx, q.Campaign, q.First, q.Count)
	if err == nil {
		err = f.view.CatchUp(ctx)
	}
	if err != nil {
		return failure(err)
	}
	batches = slices.DeleteFunc(batches, func(b campaign.Batch) bool { return f.hasBegun(q.Campaign, b, time.Time{}) })
	return failure(f.start(ctx, batches, Batch{
		Campaign: q.Campaign, Intent: q.Intent, Urgent: q.Urgent, IgnoreWindows: q.IgnoreWindows,
	}))
}

// hasBegun reports whether the campaign has begun some link of b since an instant.
func (f *Fleet) hasBegun(name string, b campaign.Batch, since time.Time) bool {
	return slices.ContainsFunc(b.Links, func(id keychain.LinkID) bool {
		r, _ := f.view.Record(id)
		return r.Last.Campaign == name && !r.Last.Begun.Before(since)
	})
}

// start starts the workflow of every batch, as in says.
func (f *Fleet) start(ctx context.Context, batches []campaign.Batch, in Batch) error {
	group, starting := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, b := range batches {
		batch := in
		batch.Links = b.Links
		group.Go(func() error { return f.batches.Start(starting, BatchID(in.Campaign, b.Number), batch) })
	}
	return group.Wait()
}

// BatchID is the ID of the workflow that drives a batch of a campaign.
func BatchID(campaign string, number int) string { return fmt.Sprintf("%s-%d", campaign, number+1) }
