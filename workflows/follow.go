package workflows

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// FollowRequest asks how the waves of a campaign stand.
type FollowRequest struct {
	Campaign string `json:"campaign"`
	// Wait is how long a link may be in flight before it counts as held.
	Wait  time.Duration `json:"wait"`
	Waves []Followed    `json:"waves"`
	// Retried are the batches of retries.
	Retried Span `json:"retried,omitzero"`
	// Idle says that the workflow knows that no batch runs.
	Idle bool `json:"idle,omitempty"`
}

// Span is batches of a campaign from number First on.
type Span struct {
	First int `json:"first"`
	Count int `json:"count"`
}

// Counted is how the waves of a campaign stand.
type Counted struct {
	Waves []campaign.Tally `json:"waves"`
	// Idle says that no batch runs any more.
	Idle bool `json:"idle,omitempty"`
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
	// countEvery and countLink bound how often the links of a campaign are counted,
	// so that a large one takes no more of the worker than a small one.
	countEvery = 200 * time.Millisecond
	countLink  = 50 * time.Microsecond
	// tellEvery bounds how often a campaign hears of progress that decides nothing
	// but which batches begin.
	tellEvery = time.Second
	// waitsAfter is how long a link stands in a phase until it is taken to wait for
	// somebody.
	waitsAfter = 10 * time.Second
)

// Follow waits until the waves stand otherwise than the workflow knows, and gives
// a tally for each: at once when a wave is settled or more has failed, and every
// now and then when it is only progress. When nothing moves any more it sees
// whether a batch still runs.
func (f *Fleet) Follow(ctx context.Context, q FollowRequest) (Counted, error) {
	defer beat(ctx)()
	waves := make([][]keychain.LinkID, len(q.Waves))
	var all []keychain.LinkID
	for i, w := range q.Waves {
		batches, err := f.store.Batches(ctx, q.Campaign, w.First, w.Count)
		if err != nil {
			return Counted{}, failure(err)
		}
		for _, b := range batches {
			waves[i] = append(waves[i], b.Links...)
		}
		all = append(all, waves[i]...)
	}
	sub := f.view.Subscribe(all)
	defer sub.Close()
	if err := f.view.CatchUp(ctx); err != nil && ctx.Err() == nil {
		return Counted{}, failure(err)
	}
	stopping := activity.GetWorkerStopChannel(ctx)
	over := time.NewTimer(awaitFor)
	defer over.Stop()
	tell := time.Now().Add(tellEvery)
	for {
		now := time.Now()
		tallies, news := f.count(q, waves, now)
		if news == settling || news == moving && now.After(tell) {
			return Counted{tallies, q.Idle}, nil
		}
		timer := time.NewTimer(tellEvery) // links become held with time alone
		select {
		case <-ctx.Done():
		case <-stopping:
		case <-over.C:
		case <-timer.C:
			if idle, err := f.idle(ctx, q, tallies); err != nil || !idle {
				continue // the next time tells
			}
			tallies, _ = f.count(q, waves, time.Now())
			return Counted{tallies, true}, nil
		case <-sub.Changed():
			timer.Stop()
			sub.Take()
			pause(ctx, countEvery+time.Duration(len(all))*countLink)
			continue
		}
		timer.Stop()
		return Counted{tallies, q.Idle}, nil
	}
}

// idle reports whether links of a campaign wait for batches of which none runs,
// which the workflow does not know. The view shows then all that those have done.
func (f *Fleet) idle(ctx context.Context, q FollowRequest, tallies []campaign.Tally) (bool, error) {
	open := false
	for i, t := range tallies {
		open = open || t.InFlight > 0 || t.Held > 0 || t.Superseded > 0 || q.Waves[i].Count > 0 && t.NotBegun() > 0
	}
	if q.Idle || !open {
		return false, nil
	}
	spans := []Span{q.Retried}
	for _, w := range q.Waves {
		spans = append(spans, Span{w.First, w.Count})
	}
	for _, s := range spans {
		for n := range s.Count {
			if running, err := f.batches.Running(ctx, BatchID(q.Campaign, s.First+n)); err != nil || running {
				return false, err
			}
		}
	}
	return true, f.view.CatchUp(ctx)
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
		waiting := 0
		standings := make([]campaign.Standing, 0, len(ids))
		for _, id := range ids {
			r, _ := f.view.Record(id)
			r.Link = id
			s := campaign.Stand(r, q.Campaign, q.Waves[i].Begun, now, q.Wait, denied[id])
			if s.Outcome == campaign.InFlight && r.State.Phase != link.Draining && now.Sub(r.State.Since) > waitsAfter {
				waiting++
			}
			standings = append(standings, s)

		}
		t := campaign.Count(standings)
		t.Waiting = waiting
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
