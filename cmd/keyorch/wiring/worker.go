package wiring

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/sdk/worker"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/metrics"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/workflows"
)

// stopTime is how long a stopping worker waits for its activities.
const stopTime = 5 * time.Second

// Worker is what a worker is made of.
type Worker struct {
	Store    *store.Store
	Custody  *custody.Custody
	Temporal *TemporalClient
	Logger   *slog.Logger
	Metrics  *metrics.Worker // nil: none
	// Deployment is the version that it is of; the zero value is none.
	Deployment Deployment
	Health     *WorkerHealth // nil: nobody asks
	// WebhookSecrets is the directory with the secrets of webhooks; empty: none.
	WebhookSecrets string
}

// Run works until ctx ends, then finishes what it is doing and returns nil.
func (w Worker) Run(ctx context.Context) error {
	if err := w.Store.Whole(ctx); err != nil {
		return err
	}
	view, err := w.Store.View(ctx)
	if err != nil {
		return err
	}
	shown := watched{view}
	campaigns := w.Temporal.Campaigns()
	t := worker.New(w.Temporal.Client, workflows.TaskQueue, worker.Options{
		WorkerStopTimeout: stopTime,
		// Await holds a slot for as long as a batch has a link in flight.
		MaxConcurrentActivityExecutionSize: 4096,
		MaxHeartbeatThrottleInterval:       workflows.HeartbeatEvery,
		Interceptors:                       w.interceptors(),
		DeploymentOptions:                  w.Deployment.options(),
	})
	kept := records{w.Store}
	workflows.Register(t, workflows.NewActivities(kept, shown, w.Custody, campaigns), workflows.NewFleet(kept, shown, campaigns),
		workflows.NewResealing(resealing{w.Store, w.Custody}), workflows.NewTrial(w.webhooks(view)))
	if err := t.Start(); err != nil {
		return fault.New(fault.Unavailable, "start worker: temporal does not answer")
	}
	w.Health.began(view)
	w.Logger.InfoContext(ctx, "working", "queue", workflows.TaskQueue)
	var mending sync.WaitGroup
	mending.Go(func() { tellRights(ctx, w.Store, w.Logger) })
	mending.Go(func() { workflows.Tend(ctx, kept, shown, campaigns, w.Logger) })
	mending.Go(func() { workflows.Mend(ctx, shown, campaigns, campaigns, w.Logger) })
	mending.Go(func() { w.watch(ctx, shown) })
	mending.Go(func() { w.scribe(ctx) })
	mending.Go(func() { w.guardRules(ctx, view) })
	mending.Go(func() { w.notify(ctx, shown) })
	mending.Go(func() { w.Deployment.claim(ctx, w.Temporal, w.Logger) })
	<-ctx.Done()
	t.Stop()
	mending.Wait()
	return nil
}

// records is the store as the workflows see it.
type records struct{ *store.Store }

func (r records) Records(ctx context.Context, ids []keychain.LinkID) ([]link.Record, error) {
	found, err := r.Store.Records(ctx, ids)
	if fault.Is(err, fault.Mismatch) {
		// A record that cannot be read is nobody else's trouble. It is left out here,
		// and cannot be overwritten: Commit finds that it is there.
		err = nil
	}
	return found, err
}

func (r records) Commit(ctx context.Context, changes []workflows.Change) ([]workflows.Committed, error) {
	in := make([]store.Change, len(changes))
	for i, c := range changes {
		in[i] = store.Change(c)
	}
	out, err := r.Store.Commit(ctx, in)
	if err != nil {
		return nil, err
	}
	committed := make([]workflows.Committed, len(out))
	for i, c := range out {
		committed[i] = workflows.Committed{Revision: c.Revision, Err: c.Err}
	}
	return committed, nil
}

// watched is the store's view as the workflows see it.
type watched struct{ *store.View }

func (v watched) Subscribe(ids []keychain.LinkID) workflows.Subscription {
	return subscribed{v.View.Subscribe(ids)}
}

type subscribed struct{ *store.Subscription }

func (s subscribed) Changed() <-chan struct{} { return s.C }
