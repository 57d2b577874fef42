package workflows

import (
	"cmp"
	"context"
	"slices"
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
	err := a.view.CatchUp(ctx)
	if err != nil && ctx.Err() == nil {
		return nil, failure(err)
	}
	if err == nil {
		if news := a.forgotten(q); len(news) > 0 {
			return news, nil
		}
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

// forgotten is the links of which etcd knows less than was written before this call:
// it was put back, or emptied. The view has just caught up with it.
func (a *Activities) forgotten(q AwaitRequest) (news []News) {
	for _, w := range q.Links {
		if r, ok := a.view.Record(w.Link); !ok || r.Revision < w.Revision {
			news = append(news, News{Link: w.Link, At: time.Now().UTC(), Gone: "etcd was put back or emptied: keyorch recover"})
		}
	}
	return news
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
	t := a.view.Topology()
	declared, ok := a.declared(t, w.Link)
	policy := t.PolicyOf(declared)
	if why, since := a.shutOut(t, s); why != "" {
		if due := since.Add(emergencyTime); now.Before(due) {
			return nil, due
		}
		news.Expired = why
		return &news, time.Time{}
	}
	if ok {
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
		news.Proceed, until = a.gates(r, after, reports, policy, now)
		if news.Expired, until = expired(r, after, max(policy.Tail, policy.Wait), now, until); news.Expired != "" && !news.Proceed {
			return &news, time.Time{}
		}
		news.Expired = ""
		if news.Missing, until = missing(after, declared, policy, now, until); len(news.Missing) > 0 {
			news.Reports = brief(reports, s)
			return &news, time.Time{}
		}
	}
	if !news.Proceed && !moved && slices.Equal(after.Awaiting, s.Awaiting) && slices.Equal(after.Lost, s.Lost) {
		return nil, until
	}
	news.Reports = brief(reports, s)
	return &news, time.Time{}
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

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
