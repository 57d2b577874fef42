package devstack_test

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/e2e/devstack/devstacktest"
)

func nothing(context.Context) error { return nil }

// oneByOne runs n activities, each after the one before.
func oneByOne(ctx workflow.Context, n int) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	for range n {
		if err := workflow.ExecuteActivity(ctx, nothing).Get(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

// sideBySide runs n activities at once.
func sideBySide(ctx workflow.Context, n int) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	var running []workflow.Future
	for range n {
		running = append(running, workflow.ExecuteActivity(ctx, nothing))
	}
	for _, f := range running {
		if err := f.Get(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

func temporalClient(t testing.TB, s *devstack.Stack) client.Client {
	t.Helper()
	c, err := client.DialContext(t.Context(), client.Options{
		HostPort: s.TemporalAddress, Namespace: s.TemporalNamespace,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// startWorker runs a worker of the workflows above on a task queue named after
// the test.
func startWorker(t testing.TB, c client.Client) {
	t.Helper()
	w := worker.New(c, t.Name(), worker.Options{})
	w.RegisterWorkflow(oneByOne)
	w.RegisterWorkflow(sideBySide)
	w.RegisterActivity(nothing)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
}

func run(t testing.TB, c client.Client, wf any, n int) {
	t.Helper()
	r, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: t.Name()}, wf, n)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Get(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}

// Temporal by itself looks into its queues 20 times a second, and a rotation is a
// chain of activities.
func TestAChainOfActivitiesIsNotThrottled(t *testing.T) {
	const chain, usual = 80, 20 // activities, and activities a second
	c := temporalClient(t, devstacktest.Shared(t))
	startWorker(t, c)
	run(t, c, oneByOne, 1)
	begin := time.Now()
	run(t, c, oneByOne, chain)
	if took := time.Since(begin); took > chain*time.Second/usual {
		t.Errorf("%d activities one by one took %v, as if throttled to %d a second", chain, took, usual)
	}
}

// BenchmarkActivity measures what Temporal costs: one activity after the other
// is the latency that a rotation pays for each of its steps.
func BenchmarkActivity(b *testing.B) {
	for name, wf := range map[string]any{"one by one": oneByOne, "side by side": sideBySide} {
		b.Run(name, func(b *testing.B) {
			c := temporalClient(b, devstacktest.Shared(b))
			startWorker(b, c)
			run(b, c, wf, 1) // the task queue exists, the worker polls
			const batch = 100
			n := 0
			b.ResetTimer()
			for b.Loop() {
				run(b, c, wf, batch)
				n += batch
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "activities/s")
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(n), "ms/activity")
		})
	}
}

// BenchmarkStart measures a start on a new directory and on an old one.
func BenchmarkStart(b *testing.B) {
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			start(b, b.TempDir())
		}
	})
	b.Run("old", func(b *testing.B) {
		data := b.TempDir()
		start(b, data)
		b.ResetTimer()
		for b.Loop() {
			start(b, data)
		}
	})
}

// start starts a stack and stops it again, with the clock of b running for the
// start only.
func start(b *testing.B, data string) {
	s, err := devstack.Start(b.Context(), devstack.Options{Data: data, UI: true})
	b.StopTimer()
	if err != nil {
		b.Fatal(err)
	}
	devstacktest.Stop(b, s)
	b.StartTimer()
}
