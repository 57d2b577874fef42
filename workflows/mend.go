package workflows

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// Starter starts a Rotate workflow under an ID; a workflow that has or had that
// ID is left alone, and that is no error.
type Starter interface {
	Start(ctx context.Context, id string, in Batch) error
}

// mendEvery bounds how long a start that failed is left before it is tried
// again.
const mendEvery = 5 * time.Second

// Mend watches Steady links and gives one a new epoch when a sender of it has
// lost its counter, and is silent until then. A link in flight is left to the
// workflow that has it. It runs until ctx ends. Only a loss that a node has
// reported starts anything: a restart of the worker starts nothing.
func Mend(ctx context.Context, view View, start Starter, log *slog.Logger) {
	sub := view.Subscribe(nil)
	defer sub.Close()
	again := time.NewTicker(mendEvery)
	defer again.Stop()
	failed := false
	look := view.Records()
	for {
		for _, r := range look {
			if !wantsMending(r, view.Reports(r.Link)) {
				continue
			}
			id := fmt.Sprintf("mend-%s-%d", r.Link, r.State.To.Epoch)
			err := start.Start(ctx, id, Batch{Campaign: id, Intent: ToRotate, Links: []keychain.LinkID{r.Link}})
			if err != nil {
				failed = true
				log.WarnContext(ctx, "cannot give a link its new epoch", "link", r.Link, "error", err)
			} else {
				log.InfoContext(ctx, "a sender lost its counter: the link gets a new epoch", "link", r.Link, "campaign", id)
			}
		}
		look = nil
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
			if failed {
				look, failed = view.Records(), false
			}
		}
	}
}

func wantsMending(r link.Record, reports []keychain.Report) bool {
	if r.State.Phase != link.Steady || r.Owner != "" {
		return false
	}
	s := r.State
	for _, report := range reports {
		s = applied(s, link.Reported{Report: report})
	}
	return s.NeedsEpoch()
}
