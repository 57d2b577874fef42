package cli

import (
	"context"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/cmd/keyorch/tui"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/workflows"
)

// watchEvery is how often `status --watch` looks where there is no terminal.
const watchEvery = 500 * time.Millisecond

// watch shows a campaign, or whatever runs, until the operator has seen enough:
// on a terminal the whole screen, elsewhere lines.
func (w *world) watch(ctx context.Context, names []string, out format) error {
	switch {
	case out != asTable:
		return fault.New(fault.Invalid, "status --watch: it shows a screen or lines, so leave out -o")
	case len(names) > 1:
		return fault.New(fault.Invalid, "status --watch: name one campaign, or none for the one that runs")
	}
	s := newScreens(w.view, w.store.Batches)
	s.explain, s.tell = w.explain, w.tell
	if len(names) == 1 {
		s.campaign = names[0]
		if _, err := w.campaign(s.campaign); err != nil {
			return err
		}
	}
	if !w.app.fullScreen() {
		return w.watchLines(ctx, s)
	}
	o := &operator{world: w}
	aside, stop := context.WithCancel(ctx)
	u := &upcoming{ctx: aside, list: o.schedules}
	defer u.group.Wait()
	defer stop()
	s.next = u.next
	return tui.Run(ctx, w.app.in, w.app.out, s, o)
}

// watchLines prints lines, until a campaign that was named has ended.
func (w *world) watchLines(ctx context.Context, s *screens) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if s.campaign != "" {
		go func() {
			defer stop()
			look := time.NewTicker(watchEvery)
			defer look.Stop()
			for last := false; ; { // it is told of once more when it has ended
				select {
				case <-ctx.Done():
					return
				case <-look.C:
				}
				if last {
					return
				}
				c, _ := w.view.Campaign(s.campaign)
				last = c.State == campaign.Ended
			}
		}()
	}
	return tui.Lines(ctx, w.app.out, s, watchEvery)
}

// fullScreen reports whether there is a terminal that can do more than lines.
func (a *app) fullScreen() bool {
	return terminal(a.in) && terminal(a.out) && a.getenv("TERM") != "dumb" && a.getenv("TERM") != ""
}

func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// operator is who presses the keys of the screen. Temporal is connected to when
// it is needed first: without it the screen still shows.
type operator struct {
	world *world
	mu    sync.Mutex
}

// Pause implements tui.Actions.
func (o *operator) Pause(ctx context.Context, name, reason string) error {
	return o.ask(ctx, name, workflows.PauseUpdate, workflows.Ask{Reason: reason})
}

// Resume implements tui.Actions.
func (o *operator) Resume(ctx context.Context, name string) error {
	return o.ask(ctx, name, workflows.ResumeUpdate, workflows.Ask{})
}

// Promote implements tui.Actions.
func (o *operator) Promote(ctx context.Context, name string) error {
	return o.ask(ctx, name, workflows.PromoteUpdate, workflows.Ask{})
}

// connected opens Temporal once.
func (o *operator) connected(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.world.temporal != nil {
		return nil
	}
	return o.world.openTemporal(ctx)
}

func (o *operator) ask(ctx context.Context, name, update string, q workflows.Ask) error {
	r, err := o.world.campaign(name)
	if err != nil {
		return err
	}
	if err := o.connected(ctx); err != nil {
		return err
	}
	return o.world.ask(ctx, r, update, q)
}

func (o *operator) schedules(ctx context.Context) ([]wiring.ScheduleState, error) {
	if err := o.connected(ctx); err != nil {
		return nil, err
	}
	return o.world.temporal.Schedules().List(ctx)
}
