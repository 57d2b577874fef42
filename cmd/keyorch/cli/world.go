package cli

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
)

// world is what an operator's verb looks at.
type world struct {
	app      *app
	store    *store.Store
	view     *store.View
	temporal client.Client // nil until openTemporal
	stop     context.CancelFunc
}

// openWorld connects to etcd and reads what there is.
func (a *app) openWorld(ctx context.Context) (*world, error) {
	s, err := a.openStore(ctx)
	if err != nil {
		return nil, err
	}
	// The view outlives a signal, so that a verb can still say how things stand.
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	view, err := s.View(ctx)
	if err != nil {
		stop()
		return nil, errors.Join(err, s.Close())
	}
	return &world{app: a, store: s, view: view, stop: stop}, nil
}

// inWorld makes a verb out of what it does in the world, which it opens first
// and closes afterwards.
func (a *app) inWorld(do func(ctx context.Context, w *world, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		w, err := a.openWorld(c.Context())
		if err != nil {
			return err
		}
		defer w.close()
		return do(c.Context(), w, args)
	}
}

func (w *world) openTemporal(ctx context.Context) error {
	c, err := w.app.openTemporal(ctx, "error")
	w.temporal = c
	return err
}

func (w *world) close() {
	w.stop()
	if w.temporal != nil {
		w.temporal.Close()
	}
	_ = w.store.Close()
}

// snapshot is everything that there is to know about one link now. ok is false
// when the link was never rotated.
func (w *world) snapshot(id keychain.LinkID) (s link.Snapshot, record link.Record, ok bool) {
	record, ok = w.view.Record(id)
	t := w.view.Topology()
	declared, _ := t.Link(id)
	if !ok {
		record = link.Record{Link: id, State: link.New(declared.Upstream, declared.Downstream)}
	}
	s = link.Snapshot{
		State: record.State, Reports: w.view.Reports(id), Present: w.view.Present(record.State.Nodes()),
		Now: time.Now(), Drain: t.PolicyOf(declared).Drain,
	}
	// The record is written when the phase changes; what single nodes have
	// confirmed since is in their reports.
	for _, r := range s.Reports {
		after, err := link.Step(s.State, link.Reported{Report: r, At: r.At})
		switch {
		case err != nil:
		case after.Turn == s.State.Turn:
			s.State = after
		default: // the last confirmation, which a worker has yet to take in
			s.State.Awaiting = nil
		}
	}
	return s, record, ok
}

func (w *world) explain(id keychain.LinkID) link.Explanation {
	s, _, _ := w.snapshot(id)
	return link.Explain(id, s)
}

// completeLinks completes the names of links, where etcd answers.
func (a *app) completeLinks(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	s, err := a.openStore(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer func() { _ = s.Close() }()
	t, err := s.Topology(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, l := range t.Links {
		names = append(names, string(l.Name))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
