package workflows

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// mendEvery is how often all links are looked at, whatever their news: a start
// that failed or was refused is tried again then.
const mendEvery = 30 * time.Second

// Mend watches Steady links and gives one a new epoch when a sender of it has
// lost its counter, and is silent until then; or when a quarantined node of it is
// back. A link in flight is left to the workflow that has it. It runs until ctx
// ends. Only a loss that a node has reported, or a node that was left behind,
// starts anything: a restart of the worker starts nothing.
func Mend(ctx context.Context, view View, start Starter, runs Runs, log *slog.Logger) {
	sub := view.Subscribe(nil)
	defer sub.Close()
	again := time.NewTicker(mendEvery)
	defer again.Stop()
	look, all := view.Records(), false
	left := returns{}
	for {
		for _, r := range look {
			in, why := remedy(view, r, left.due(view, r, time.Now()))
			if why == "" || owned(ctx, r, all, runs) {
				continue
			}
			if err := start.Start(ctx, in.Campaign, in); err != nil {
				log.WarnContext(ctx, "cannot give a link its new epoch", "link", r.Link, "error", err)
			} else {
				log.InfoContext(ctx, why+": the link gets a new epoch", "link", r.Link, "campaign", in.Campaign)
				left.tried(r, in.Intent)
			}
		}
		look, all = nil, false
		select {
		case <-ctx.Done():
			return
		case <-sub.Changed():
			for _, id := range sub.Take() {
				if r, ok := view.Record(id); ok {
					look = append(look, r)
				}
			}
		case <-again.C:
			look, all = view.Records(), true
		}
	}
}

// owned reports whether somebody else is about to give r its epoch. Whether an
// owner still runs, or was terminated, is asked for only when all links are looked
// at: links pass through here with an owner in every rotation.
func owned(ctx context.Context, r link.Record, ask bool, runs Runs) bool {
	if r.Owner == "" || !ask {
		return r.Owner != ""
	}
	running, err := runs.Running(ctx, r.Owner)
	return err != nil || running
}

// remedy is the rotation that a link needs by itself, and why; empty for none. A
// lost counter leaves it without traffic, so no window counts for that.
func remedy(view View, r link.Record, rejoin bool) (Batch, string) {
	in := Batch{Links: []keychain.LinkID{r.Link}}
	switch {
	case wantsMending(r, view.Reports(r.Link)):
		in.Campaign, in.Intent, in.Urgent = fmt.Sprintf("mend-%s-%d", r.Link, r.State.To.Epoch), ToMend, true
		return in, "a sender lost its counter"
	case rejoin:
		in.Campaign, in.Intent = fmt.Sprintf("rejoin-%s-%d", r.Link, r.State.To.Epoch), ToRejoin
		return in, "a quarantined node is back"
	}
	return Batch{}, ""
}

func wantsMending(r link.Record, reports []keychain.Report) bool {
	if r.State.Phase != link.Steady {
		return false
	}
	s := r.State
	for _, report := range reports {
		s = applied(s, link.Reported{Report: report})
	}
	return s.NeedsEpoch() || s.Bereft(reports) != ""
}

// longestReturn is the longest time between two tries to take a node back that has
// an agent and does not confirm.
const longestReturn = time.Hour

// returns is when the quarantined nodes of links are tried again. One whose agent
// was away, and is back, is due at once. One whose agent was there all the time has
// a device that does not answer: every try costs the link an epoch, so each waits
// twice as long as the one before.
type returns map[returning]*comeback

type returning struct {
	link keychain.LinkID
	node keychain.NodeID
}

type comeback struct {
	away  bool           // seen without an agent since the last try
	tries int            // in a row
	epoch keychain.Epoch // of the last
}

// due reports whether a node of r is to be taken back now.
func (l returns) due(view View, r link.Record, now time.Time) bool {
	for k := range l {
		if k.link == r.Link && !slices.ContainsFunc(r.Quarantined, func(q link.Quarantine) bool { return q.Node == k.node }) &&
			r.State.Phase == link.Steady {
			delete(l, k)
		}
	}
	if len(r.Quarantined) == 0 {
		return false
	}
	present, due := back(view, r), false
	for _, q := range r.Quarantined {
		k := returning{r.Link, q.Node}
		c := l[k]
		if c == nil {
			c = &comeback{}
			l[k] = c
		}
		switch wait := min(mendEvery<<min(c.tries, 10), longestReturn); {
		case !slices.Contains(present, q.Node):
			c.away, c.tries = true, 0
		case c.away, !now.Before(q.Since.Add(wait)):
			due = true
		}
	}
	return due && r.State.Phase == link.Steady && isOpen(view, r, now)
}

// tried notes that the nodes of r which are back were tried, once for each epoch
// from which that was begun.
func (l returns) tried(r link.Record, as Intent) {
	for k, c := range l {
		if k.link == r.Link && as == ToRejoin && c.epoch != r.State.To.Epoch {
			c.away, c.tries, c.epoch = false, c.tries+1, r.State.To.Epoch
		}
	}
}

// isOpen reports whether a link may be rotated now, with no hurry.
func isOpen(view View, r link.Record, now time.Time) bool {
	t, standing := view.Topology(), view.Standing()
	l, _ := t.Link(r.Link)
	if !t.PolicyOf(l).Closed(now).Open() {
		return false
	}
	return !slices.ContainsFunc(t.SitesOf(slices.Concat(l.Upstream, l.Downstream)), func(s keychain.SiteID) bool {
		_, in := standing.Maintained(s, now)
		return in
	})
}
