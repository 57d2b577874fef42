package workflows

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// Halt is what to take back of a campaign.
type Halt struct {
	Campaign string `json:"campaign"`
	Count    int    `json:"count"` // the batches launched so far
	Retried  Span   `json:"retried,omitzero"`
	Reason   string `json:"reason"`
	// Switched takes back what has switched, too.
	Switched bool `json:"switched,omitempty"`
	// Approval is the request for approvals on whose strength it does.
	Approval string `json:"approval,omitempty"`
}

// HaltBatches takes back what can be. It may be repeated.
func (f *Fleet) HaltBatches(ctx context.Context, q Halt) error {
	defer beat(ctx)()
	group, asking := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, s := range []Span{{Count: q.Count}, q.Retried} {
		for n := range s.Count {
			group.Go(func() error {
				return f.batches.Abort(asking, BatchID(q.Campaign, s.First+n), AbortRequest{Reason: q.Reason, Staged: !q.Switched, Approval: q.Approval})
			})
		}
	}
	return failure(group.Wait())
}

// RetryRequest asks to try links of a campaign again.
type RetryRequest struct {
	Campaign      string        `json:"campaign"`
	Urgent        bool          `json:"urgent,omitempty"`
	IgnoreWindows bool          `json:"ignoreWindows,omitempty"`
	Wait          time.Duration `json:"wait"`  // how long a link may take before it is held
	Count         int           `json:"count"` // the batches launched so far
	First         int           `json:"first"` // the number of the first batch of this retry
	At            time.Time     `json:"at"`    // when it was asked for
}

// RetryHeld gives the links of a campaign that are held before the switch, were
// aborted or refused another key in batches of their own, and says how many
// batches these are. It may be repeated: the batches that it has written down are
// those that it starts.
func (f *Fleet) RetryHeld(ctx context.Context, q RetryRequest) (int, error) {
	defer beat(ctx)()
	err := f.view.CatchUp(ctx)
	if err != nil {
		return 0, failure(err)
	}
	batches, err := f.store.Batches(ctx, q.Campaign, q.First, maxRetried)
	if err != nil {
		return 0, failure(err)
	}
	if len(batches) == 0 {
		batches, err = f.retries(ctx, q)
	}
	if err == nil {
		err = f.store.Undeny(ctx, q.Campaign, f.deniedBefore(q, batches))
	}
	if err != nil {
		return 0, failure(err)
	}
	due := slices.DeleteFunc(slices.Clone(batches), func(b campaign.Batch) bool { return f.hasBegun(q.Campaign, b, q.At) })
	err = f.start(ctx, due, Batch{Campaign: q.Campaign, Intent: ToRenew, Urgent: q.Urgent, IgnoreWindows: q.IgnoreWindows})
	return len(batches), failure(err)
}

// deniedBefore is the links of batches whose denial is older than the request.
func (f *Fleet) deniedBefore(q RetryRequest, batches []campaign.Batch) []keychain.LinkID {
	var again []keychain.LinkID
	for _, d := range f.view.Denials(q.Campaign) {
		has := func(b campaign.Batch) bool { return slices.Contains(b.Links, d.Link) }
		if d.At.Before(q.At) && slices.ContainsFunc(batches, has) {
			again = append(again, d.Link)
		}
	}
	return again
}

// maxRetried is more batches than a campaign has.
const maxRetried = 1 << 16

// retries chooses the links that are tried again, and writes down their batches.
func (f *Fleet) retries(ctx context.Context, q RetryRequest) ([]campaign.Batch, error) {
	launched, err := f.store.Batches(ctx, q.Campaign, 0, q.Count)
	if err != nil {
		return nil, err
	}
	denied := map[keychain.LinkID]bool{}
	for _, d := range f.view.Denials(q.Campaign) {
		denied[d.Link] = !d.Skips()
	}
	now := time.Now()
	var again []keychain.LinkID
	for _, b := range launched {
		for _, id := range b.Links {
			r, _ := f.view.Record(id)
			r.Link = id
			s := campaign.Stand(r, q.Campaign, time.Time{}, now, q.Wait, nil)
			if retryable(s) || s.Outcome == campaign.NotBegun && denied[id] {
				again = append(again, id)
			}
		}
	}
	_, batches := campaign.Batches([]campaign.Wave{{Links: again}}, MaxBatch)
	for i := range batches {
		batches[i].Number += q.First
	}
	return batches, f.store.PutBatches(ctx, q.Campaign, batches)
}

// retryable reports whether another key would help a link: its rotation was taken
// back, or is held before the switch.
func retryable(s campaign.Standing) bool {
	return s.Outcome == string(link.Aborted) || s.Outcome == string(link.Held) && s.Phase == link.Staging
}
