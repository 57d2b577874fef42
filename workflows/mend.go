package workflows

import (
	"context"
	"fmt"
	"log/slog"
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
	for {
		for _, r := range look {
			in, why := remedy(view, r)
			if why == "" || owned(ctx, r, all, runs) {
				continue
			}
			if err := start.Start(ctx, in.Campaign, in); err != nil {
				log.WarnContext(ctx, "cannot give a link its new epoch", "link", r.Link, "error", err)
			} else {
				log.InfoContext(ctx, why+": the link gets a new epoch", "link", r.Link, "campaign", in.Campaign)
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
func remedy(view View, r link.Record) (Batch, string) {
	in := Batch{Links: []keychain.LinkID{r.Link}}
	switch {
	case wantsMending(r, view.Reports(r.Link)):
		in.Campaign, in.Intent, in.Urgent = fmt.Sprintf("mend-%s-%d", r.Link, r.State.To.Epoch), ToMend, true
		return in, "a sender lost its counter"
	case r.State.Phase == link.Steady && len(back(view, r)) > 0:
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
	return s.NeedsEpoch()
}
