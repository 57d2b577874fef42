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
	"github.com/keyorch/keyorch/link"
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

// sideBySide is how many batches a campaign drives at once.
const sideBySide = 64

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
		Workflow: activity.GetInfo(ctx).WorkflowExecution.ID, State: campaign.Running,
	}
	links, err := q.Selection.Resolve(t)
	if err != nil {
		r.State, r.Reason, r.Begun, r.Since, r.Ended = campaign.Ended, told(err), now, now, now
		return f.write(ctx, r)
	}
	policy := q.Kind.Policy(t.PolicyOf(topology.Link{Policy: q.Policy}))
	waves := campaign.Waves(policy, t, links)
	statuses, batches := campaign.Batches(waves, MaxBatch)
	if err := f.store.PutBatches(ctx, q.Name, batches); err != nil {
		return r, failure(err)
	}
	f.prune(ctx)
	begun := campaign.Begin(r, policy, statuses, now)
	begun.Policy, begun.Reason = q.Policy, q.Reason
	if takes := campaign.Expected(waves, f.view.Record); takes > 0 {
		begun.Expected = now.Add(takes)
	}
	return f.write(ctx, begun)
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

// launchAtOnce bounds the workflows that are started side by side.
const launchAtOnce = 8

// LaunchBatches starts the workflow of every batch. It may be repeated.
func (f *Fleet) LaunchBatches(ctx context.Context, q Launch) error {
	defer beat(ctx)()
	batches, err := f.store.Batches(ctx, q.Campaign, q.First, q.Count)
	if err != nil {
		return failure(err)
	}
	group, starting := errgroup.WithContext(ctx)
	group.SetLimit(launchAtOnce)
	for _, b := range batches {
		group.Go(func() error {
			return f.batches.Start(starting, BatchID(q.Campaign, b.Number), Batch{
				Campaign: q.Campaign, Intent: q.Intent, Links: b.Links, Urgent: q.Urgent, IgnoreWindows: q.IgnoreWindows,
			})
		})
	}
	return failure(group.Wait())
}

// BatchID is the ID of the workflow that drives a batch of a campaign.
func BatchID(campaign string, number int) string { return fmt.Sprintf("%s-%d", campaign, number+1) }

// FollowRequest asks how the waves of a campaign stand.
type FollowRequest struct {
	Campaign string `json:"campaign"`
	// Wait is how long a link may be in flight before it counts as held.
	Wait  time.Duration `json:"wait"`
	Waves []Followed    `json:"waves"`
}

// Followed is the batches of one wave that have begun, and how the workflow knows
// its links to stand.
type Followed struct {
	First int            `json:"first"`
	Count int            `json:"count"`
	Begun time.Time      `json:"begun,omitzero"`
	Known campaign.Tally `json:"known"`
}

const (
	// countEvery bounds how often the links of a campaign are counted.
	countEvery = 200 * time.Millisecond
	// tellEvery bounds how often a campaign hears of progress that decides nothing.
	tellEvery = 2 * time.Second
)

// Follow waits until the waves stand otherwise than the workflow knows, and gives
// a tally for each: at once when a wave is settled or more has failed, and every
// now and then when it is only progress.
func (f *Fleet) Follow(ctx context.Context, q FollowRequest) ([]campaign.Tally, error) {
	defer beat(ctx)()
	waves := make([][]keychain.LinkID, len(q.Waves))
	var all []keychain.LinkID
	for i, w := range q.Waves {
		batches, err := f.store.Batches(ctx, q.Campaign, w.First, w.Count)
		if err != nil {
			return nil, failure(err)
		}
		for _, b := range batches {
			waves[i] = append(waves[i], b.Links...)
		}
		all = append(all, waves[i]...)
	}
	sub := f.view.Subscribe(all)
	defer sub.Close()
	if err := f.view.CatchUp(ctx); err != nil && ctx.Err() == nil {
		return nil, failure(err)
	}
	stopping := activity.GetWorkerStopChannel(ctx)
	over := time.NewTimer(awaitFor)
	defer over.Stop()
	tell := time.Now().Add(tellEvery)
	for {
		now := time.Now()
		tallies, news := f.count(q, waves, now)
		if news == settling || news == moving && now.After(tell) {
			return tallies, nil
		}
		timer := time.NewTimer(tellEvery) // links become held with time alone
		select {
		case <-ctx.Done():
		case <-stopping:
		case <-over.C:
		case <-timer.C:
			continue
		case <-sub.Changed():
			timer.Stop()
			sub.Take()
			pause(ctx, countEvery)
			continue
		}
		timer.Stop()
		return tallies, nil
	}
}

// news is how much a tally says that the workflow does not know.
type news int

const (
	none     news = iota
	moving        // it is further than it was
	settling      // a wave is settled, or more has failed
)

// count is how the links of every wave stand.
func (f *Fleet) count(q FollowRequest, waves [][]keychain.LinkID, now time.Time) ([]campaign.Tally, news) {
	denied := map[keychain.LinkID]*campaign.Denial{}
	for _, d := range f.view.Denials(q.Campaign) {
		denied[d.Link] = &d
	}
	worth := none
	tallies := make([]campaign.Tally, len(waves))
	for i, ids := range waves {
		known := q.Waves[i].Known
		standings := make([]campaign.Standing, 0, len(ids))
		for _, id := range ids {
			r, _ := f.view.Record(id)
			r.Link = id
			standings = append(standings, campaign.Stand(r, q.Campaign, q.Waves[i].Begun, now, q.Wait, denied[id]))
		}
		t := campaign.Count(standings)
		t.Links = known.Links // those that have not begun count, too
		tallies[i] = t
		switch {
		case t == known:
		case t.Failed() > known.Failed(), t.Done() != known.Done() && t.Done() >= len(ids):
			worth = settling
		default:
			worth = max(worth, moving)
		}
	}
	return tallies, worth
}

// Halt is what to take back of a campaign.
type Halt struct {
	Campaign string `json:"campaign"`
	Count    int    `json:"count"` // the batches launched so far
	Reason   string `json:"reason"`
	// Switched takes back what has switched, too.
	Switched bool `json:"switched,omitempty"`
}

// HaltBatches takes back what can be. It may be repeated.
func (f *Fleet) HaltBatches(ctx context.Context, q Halt) error {
	defer beat(ctx)()
	for n := range q.Count {
		err := f.batches.Abort(ctx, BatchID(q.Campaign, n), AbortRequest{Reason: q.Reason, Staged: !q.Switched})
		if err != nil {
			return failure(err)
		}
	}
	return nil
}

// RetryRequest asks to try links of a campaign again.
type RetryRequest struct {
	Campaign string        `json:"campaign"`
	Wait     time.Duration `json:"wait"`  // how long a link may take before it is held
	Count    int           `json:"count"` // the batches launched so far
	Try      int           `json:"try"`   // counts the retries of the campaign
}

// RetryHeld gives the links of a campaign that are held before the switch, were
// aborted or refused another key in workflows of their own, and says how many. It
// may be repeated.
func (f *Fleet) RetryHeld(ctx context.Context, q RetryRequest) (int, error) {
	defer beat(ctx)()
	batches, err := f.store.Batches(ctx, q.Campaign, 0, q.Count)
	if err != nil {
		return 0, failure(err)
	}
	denied := f.view.Denials(q.Campaign)
	now := time.Now()
	var again []keychain.LinkID

	for _, b := range batches {
		for _, id := range b.Links {
			r, _ := f.view.Record(id)
			r.Link = id
			no := slices.ContainsFunc(denied, func(d campaign.Denial) bool { return d.Link == id && !d.Skips() })
			if no || retryable(campaign.Stand(r, q.Campaign, time.Time{}, now, q.Wait, nil)) {
				again = append(again, id)
			}
		}
	}
	if err := f.store.Undeny(ctx, q.Campaign, again); err != nil {
		return 0, failure(err)
	}
	n := 0
	for links := range slices.Chunk(again, MaxBatch) {
		n++
		err := f.batches.Start(ctx, fmt.Sprintf("%s-retry%d-%d", q.Campaign, q.Try, n), Batch{
			Campaign: q.Campaign, Intent: ToRenew, Links: links,
		})
		if err != nil {
			return 0, failure(err)
		}
	}
	return len(again), nil
}

// retryable reports whether another key would help a link: its rotation was taken
// back, or is held before the switch.
func retryable(s campaign.Standing) bool {
	return s.Outcome == string(link.Aborted) || s.Outcome == string(link.Held) && s.Phase == link.Staging
}
