package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/store"
)

// world is what an operator's verb looks at.
type world struct {
	app      *app
	store    *store.Store
	view     *store.View
	temporal *wiring.TemporalClient // nil until openTemporal
	stop     context.CancelFunc
	closed   closures
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
