package wiring

import (
	"context"
	"sync/atomic"

	"github.com/keyorch/keyorch/agents"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/metrics"
	"github.com/keyorch/keyorch/store"
)

// WorkerHealth is what a supervisor may ask of a worker. Its zero value is a
// worker that is beginning.
type WorkerHealth struct{ view atomic.Pointer[store.View] }

// Probes answer for the worker. It is alive as long as its view of the store can
// be looked at, which would not be so in a deadlock; and ready when that view has
// everything that etcd has. Vault and Temporal are not asked: while one of them is
// away a new process gets no further than the old one.
func (h *WorkerHealth) Probes() metrics.Probes {
	return metrics.Probes{
		Live: func(ctx context.Context) error {
			view := h.view.Load()
			if view == nil {
				return nil // it ends by itself when it cannot begin
			}
			looked := make(chan struct{})
			go func() {
				defer close(looked)
				_ = view.Revision()
			}()
			select {
			case <-looked:
				return nil
			case <-ctx.Done():
				return fault.New(fault.Unavailable, "the view of the store is locked")
			}
		},
		Ready: func(ctx context.Context) error {
			view := h.view.Load()
			if view == nil {
				return fault.New(fault.Unavailable, "the worker is reading etcd")
			}
			return view.CatchUp(ctx)
		},
	}
}

// began takes note that the worker works. A nil WorkerHealth takes none.
func (h *WorkerHealth) began(view *store.View) {
	if h != nil {
		h.view.Store(view)
	}
}

// AgentProbes answer for the agent of p.
func AgentProbes(p *agents.Pulse) metrics.Probes {
	return metrics.Probes{
		Live:  func(context.Context) error { return p.Live() },
		Ready: func(context.Context) error { return p.Ready() },
	}
}
