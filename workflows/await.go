package workflows

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// gather is how long Await goes on collecting after the first news, so that a
// batch of links costs few rounds.
const gather = 15 * time.Millisecond

// Await waits until there is news about some of the links, and returns what
// there is. It returns empty-handed after awaitFor, or when its worker stops.
func (a *Activities) Await(ctx context.Context, q AwaitRequest) ([]News, error) {
	defer beat(ctx)()
	ids := make([]keychain.LinkID, len(q.Links))
	for i, w := range q.Links {
		ids[i] = w.Link
	}
	sub := a.view.Subscribe(ids)
	defer sub.Close()
	over := time.NewTimer(awaitFor)
	defer over.Stop()
	// What is declared must not look older than the records: a node that has just
	// joined would seem to leave.
	if err := a.view.CatchUp(ctx); err != nil && ctx.Err() == nil {
		return nil, failure(err)
	}
	stopping := activity.GetWorkerStopChannel(ctx)
	due := ids // look at every link once, then at those that change
	for {
		news, wake := a.look(q, due)
		if len(news) > 0 {
			return news, nil
		}
		timer := time.NewTimer(time.Until(wake))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, nil // nobody waits for the answer any more
		case <-stopping:
			timer.Stop()
			return nil, nil // so that another worker goes on at once
		case <-over.C:
			timer.Stop()
			return nil, nil
		case <-timer.C:
			due = ids // a gate may have opened
		case <-sub.Changed():
			timer.Stop()
			pause(ctx, gather)
			due = sub.Take()
		}
	}
}

// look asks every due link for news, and says when to look at all of them
// again: when the first gate may open with nobody doing anything.
func (a *Activities) look(q AwaitRequest, due []keychain.LinkID) (news []News, wake time.Time) {
	now := time.Now()
	wake = now.Add(awaitFor)
	for _, w := range q.Links {
		// A draining link waits for a clock, so it is always due.
		r, _ := a.view.Record(w.Link)
		if r.State.Phase != link.Draining && !slices.Contains(due, w.Link) {
			continue
		}
		n, until := a.newsOf(q.Owner, w, now)
		if n != nil {
			news = append(news, *n)
		}
		if !until.IsZero() && until.Before(wake) {
			wake = until
		}
	}
	return news, wake
}

// newsOf compares what the workflow knows of a link with what the store shows.
// until is when a gate may open with nobody doing anything; zero for never.
func (a *Activities) newsOf(owner string, w Watch, now time.Time) (n *News, until time.Time) {
	r, ok := a.view.Record(w.Link)
	if !ok || r.Revision < w.Revision {
		return nil, time.Time{} // the view has not caught up with our own write
	}
	if r.Owner != owner {
		by := cmp.Or(r.Owner, "somebody else, who has ended")
		return &News{Link: w.Link, Gone: "it was taken over by " + by, At: now}, time.Time{}
	}
	news := News{Link: w.Link, At: now.UTC()}
	s := w.state(r.State)
	if declared, ok := a.view.Topology().Link(w.Link); ok {
		kept := staying(s, declared, news.At)
		after := applied(s, kept)
		if !slices.Equal(after.Upstream, s.Upstream) || !slices.Equal(after.Downstream, s.Downstream) {
			news.Upstream, news.Downstream = kept.Upstream, kept.Downstream
			return &news, time.Time{}
		}
	}
	reports := a.view.Reports(w.Link)
	after := s
	for _, report := range reports {
		after = applied(after, link.Reported{Report: report, At: news.At})
	}
	moved := after.Turn != s.Turn
	if !moved { // the gates look at what the reports lead to, so that it takes one round
		news.Proceed, until = a.gates(w.Link, after, reports, now)
	}
	if !news.Proceed && !moved && slices.Equal(after.Awaiting, s.Awaiting) && slices.Equal(after.Lost, s.Lost) {
		return nil, until
	}
	news.Reports = brief(reports, s)
	return &news, time.Time{}
}

// gates reports whether the gates let the next step of s happen, and if not,
// when they may with nobody doing anything; zero if that depends on a node.
func (a *Activities) gates(id keychain.LinkID, s link.State, reports []keychain.Report, now time.Time) (open bool, until time.Time) {
	seen := s
	if s.Phase == link.Draining {
		seen.Since = a.drains.since(id, s.Turn, now)
	}
	event, refusal := link.Check(link.Snapshot{
		State: seen, Reports: reports, Present: a.view.Present(s.Nodes()), Now: now, Drain: a.drainTime(id),
	})
	if event != nil {
		a.drains.forget(id, s.Turn)
	}
	return event != nil, refusal.Until
}

func (a *Activities) drainTime(id keychain.LinkID) time.Duration {
	t := a.view.Topology()
	declared, _ := t.Link(id)
	return t.PolicyOf(declared).Drain
}

// brief leaves out what Step does not look at in state s, to keep histories
// small: above all the epochs lost long ago.
func brief(reports []keychain.Report, s link.State) []keychain.Report {
	out := slices.Clone(reports)
	for i := range out {
		r := &out[i]
		*r = keychain.Report{Node: r.Node, Turn: r.Turn, Accepts: r.Accepts, Sends: r.Sends, Lost: r.Lost, Fault: r.Fault}
		r.Lost = slices.DeleteFunc(slices.Clone(r.Lost), func(e keychain.Epoch) bool { return e != s.From.Epoch && e != s.To.Epoch })
	}
	return out
}

// drains measures draining by this process's own monotonic clock, from when it
// first saw the link drain: clocks that differ between workers, or that jump,
// can only make it longer.
type drains struct {
	mu   sync.Mutex
	from map[drainKey]time.Time
}

type drainKey struct {
	link keychain.LinkID
	turn keychain.Turn
}

func (d *drains) since(id keychain.LinkID, turn keychain.Turn, now time.Time) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := drainKey{id, turn}
	if t, ok := d.from[k]; ok {
		return t
	}
	if d.from == nil {
		d.from = map[drainKey]time.Time{}
	}
	d.from[k] = now
	return now
}

func (d *drains) forget(id keychain.LinkID, turn keychain.Turn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.from, drainKey{id, turn})
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
