package workflows_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/workflows"
)

// theCampaign is the ID of the workflow under test.
const theCampaign = "rotate-1"

// run is one run of Rotate in Temporal's test environment. All of it lives in a
// synctest bubble, so that hours cost nothing.
type run struct {
	t     *testing.T
	w     *world
	env   *testsuite.TestWorkflowEnvironment
	trace []command
	timed struct{ run, execution bool } // leave these timeouts in place
}

// timeless runs a test in a bubble of its own.
func timeless(t *testing.T, test func(t *testing.T)) { synctest.Test(t, test) }

// newRun prepares a run under an ID.
func (w *world) newRun(id string) *run {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	r := &run{t: w.t, w: w, env: suite.NewTestWorkflowEnvironment()}
	stop := make(chan struct{})
	w.t.Cleanup(func() {
		close(stop)
		time.Sleep(time.Minute) // every activity ends before the bubble does
	})
	r.env.SetWorkerStopChannel(stop)
	r.env.SetTestTimeout(forEver)
	r.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: id, TaskQueue: workflows.TaskQueue})
	r.env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{&unlimited{run: r}}})
	workflows.Register(r.env, w.activities(), workflows.NewFleet(store{w}, view{w}, w), workflows.NewResealing(nil), workflows.NewTrial(nil))
	r.env.RegisterActivityWithOptions(wait, activity.RegisterOptions{Name: "wait"})
	w.mu.Lock()
	w.running[id] = true
	w.mu.Unlock()
	return r
}

func (w *world) activities() *workflows.Activities {
	return workflows.NewActivities(store{w}, view{w}, w, w)
}

// rotate runs a batch to its end.
func (w *world) rotate(ids ...keychain.LinkID) workflows.Outcome {
	w.t.Helper()
	return w.newRun(theCampaign).outcome(workflows.Batch{Campaign: theCampaign, Intent: workflows.ToRotate, Links: ids})
}

// outcome runs Rotate and wants a result.
func (r *run) outcome(in workflows.Batch) workflows.Outcome {
	r.t.Helper()
	if err := r.execute(in); err != nil {
		r.t.Fatal(err)
	}
	var out workflows.Outcome
	if err := r.env.GetWorkflowResult(&out); err != nil {
		r.t.Fatal(err)
	}
	return out
}

func (r *run) execute(in workflows.Batch) error {
	r.env.ExecuteWorkflow(workflows.Rotate, in)
	synctest.Wait() // for what the test does beside it
	r.w.mu.Lock()
	r.w.running[theCampaign] = false
	r.w.mu.Unlock()
	return r.env.GetWorkflowError()
}

// continued runs Rotate and wants it to continue as new.
func (r *run) continued(in workflows.Batch) (next workflows.Batch) {
	r.t.Helper()
	err := r.execute(in)
	again := new(workflow.ContinueAsNewError)
	if !errors.As(err, &again) {
		r.t.Fatalf("it ended with %v, want it continued as new", err)
	}
	if err := converter.GetDefaultDataConverter().FromPayloads(again.Input, &next); err != nil {
		r.t.Fatal(err)
	}
	return next
}

// soon does something in the loop of the test environment.
func (r *run) soon(do func()) { r.env.RegisterDelayedCallback(do, 0) }

// update is an abort on its way.
type update struct {
	answer   workflows.AbortAnswer
	rejected error
	done     bool
}

// abort sends an abort and returns at once.
func (r *run) abort(q workflows.AbortRequest) *update {
	u := &update{}
	r.soon(func() {
		r.env.UpdateWorkflow(workflows.AbortUpdate, "", &testsuite.TestUpdateCallback{
			OnReject: func(err error) { u.rejected, u.done = err, true },
			OnAccept: func() {},
			OnComplete: func(success any, err error) {
				u.answer, _ = success.(workflows.AbortAnswer)
				u.done = err == nil
			},
		}, q)
	})
	return u
}

// progress asks how the run stands, and hands it to look.
func (r *run) progress(look func(workflows.Outcome)) {
	r.soon(func() {
		v, err := r.env.QueryWorkflow(workflows.ProgressQuery)
		var out workflows.Outcome
		if err == nil {
			err = v.Get(&out)
		}
		if err != nil {
			r.t.Error("ask for progress:", err)
		}
		look(out)
	})
}

// want compares results with what they should be: outcome and epoch by link, in
// order.
func want(t *testing.T, out workflows.Outcome, results ...workflows.Result) {
	t.Helper()
	if len(out.Links) != len(results) {
		t.Fatalf("%d results, want %d: %+v", len(out.Links), len(results), out.Links)
	}
	for i, w := range results {
		got := out.Links[i]
		if got.Link != w.Link || got.Outcome != w.Outcome || got.Epoch != w.Epoch {
			t.Errorf("result %d is %+v, want %s %s on epoch %d", i, got, w.Link, w.Outcome, w.Epoch)
		}
	}
}

func res(id keychain.LinkID, o link.Outcome, e keychain.Epoch) workflows.Result {
	return workflows.Result{Link: id, Outcome: o, Epoch: e}
}

// steady wants a link to be at rest, driven by nobody, with a record of how the
// rotation ended.
func (w *world) steady(id keychain.LinkID, e keychain.Epoch, o link.Outcome) {
	w.t.Helper()
	r := w.record(id)
	if r.State.Phase != link.Steady || r.Owner != "" || r.State.To.Epoch != e || r.Last.Outcome != o || r.Last.Ended.IsZero() {
		w.t.Errorf("%s: %v on epoch %v, owner %q, last %+v; want it Steady on %d, %s, owned by nobody",
			id, r.State.Phase, r.State.To.Ref, r.Owner, r.Last, e, o)
	}
}

// command is what a workflow asked of Temporal.
type command struct {
	Name    string
	Options string
	Args    []any
}

func (c command) String() string {
	args, err := json.MarshalIndent(c.Args, "", "  ")
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s (%s) %s", c.Name, c.Options, args)
}

// forEver is longer than any test.
const forEver = 1000 * time.Hour

// unlimited takes away the timeouts that the test environment gives every
// workflow, and writes down the commands.
type unlimited struct {
	interceptor.WorkerInterceptorBase
	run *run
}

func (u *unlimited) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	in := &inbound{run: u.run}
	in.Next = next
	return in
}

type inbound struct {
	interceptor.WorkflowInboundInterceptorBase
	run *run
}

func (i *inbound) Init(next interceptor.WorkflowOutboundInterceptor) error {
	out := &outbound{run: i.run}
	out.Next = next
	return i.Next.Init(out)
}

type outbound struct {
	interceptor.WorkflowOutboundInterceptorBase
	run *run
}

func (o *outbound) GetInfo(ctx workflow.Context) *workflow.Info {
	info := o.Next.GetInfo(ctx)
	if !o.run.timed.run {
		info.WorkflowRunTimeout = 0
	}
	if !o.run.timed.execution {
		info.WorkflowExecutionTimeout = 0
	}
	return info
}

func (o *outbound) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	o.Next.GetInfo(ctx).WorkflowRunTimeout = forEver // the bound of every timeout of an activity
	if name != "wait" {
		p := workflow.GetActivityOptions(ctx)
		options := fmt.Sprintf("start to close %v, heartbeat %v, %d attempts, waits for a cancellation %v",
			p.StartToCloseTimeout, p.HeartbeatTimeout, p.RetryPolicy.MaximumAttempts, p.WaitForCancellation)
		o.run.trace = append(o.run.trace, command{name, options, args})
	}
	return o.Next.ExecuteActivity(ctx, name, args...)
}

// NewTimer waits in an activity: the test environment's own clock runs apart from
// that of the bubble.
func (o *outbound) NewTimer(ctx workflow.Context, d time.Duration) workflow.Future {
	o.run.trace = append(o.run.trace, command{"timer", d.String(), nil})
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: d + time.Hour})
	return workflow.ExecuteActivity(ctx, "wait", d)
}

// Now is the time of the bubble, which stands still while anything happens.
//
//workflowcheck:ignore
func (o *outbound) Now(workflow.Context) time.Time { return time.Now() }

// wait is the activity behind NewTimer.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	case <-activity.GetWorkerStopChannel(ctx): // nobody waits any more
	}
	return ctx.Err()
}
