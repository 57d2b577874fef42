package workflows

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// Starter starts a Rotate workflow under an ID; a running workflow with that ID is
// left alone, and that is no error.
type Starter interface {
	Start(ctx context.Context, id string, in Batch) error
}

// mendEvery is how often all links are looked at, whatever their news: a start
// that failed or was refused is tried again then.
const mendEvery = 30 * time.Second

// Mend watches Steady links and gives one a new epoch when a sender of it has
// lost its counter, and is silent until then. A link in flight is left to the
// workflow that has it. It runs until ctx ends. Only a loss that a node has
// reported starts anything: a restart of the worker starts nothing.
func Mend(ctx context.Context, view View, start Starter, runs Runs, log *slog.Logger) {
	sub := view.Subscribe(nil)
	defer sub.Close()
	again := time.NewTicker(mendEvery)
	defer again.Stop()
	look, all := view.Records(), false
	for {
		for _, r := range look {
			if !wantsMending(r, view.Reports(r.Link)) || owned(ctx, r, all, runs) {
				continue
			}
			id := fmt.Sprintf("mend-%s-%d", r.Link, r.State.To.Epoch)
			err := start.Start(ctx, id, Batch{Campaign: id, Intent: ToMend, Links: []keychain.LinkID{r.Link}})
			if err != nil {
				log.WarnContext(ctx, "cannot give a link its new epoch", "link", r.Link, "error", err)
			} else {
				log.InfoContext(ctx, "a sender lost its counter: the link gets a new epoch", "link", r.Link, "campaign", id)
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
