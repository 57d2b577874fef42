package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"

	commonpb "go.temporal.io/api/common/v1"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/workflows"
)

const (
	// longPoll is how long a worker waits for work before it asks again.
	longPoll = 70 * time.Second
	// shortMemory is less than what histories should be kept for.
	shortMemory = 24 * time.Hour
	// nowhere is a workflow that there is not.
	nowhere = "keyorch-doctor"
)

// temporal looks at Temporal, at what it lets this side do, and at who works there.
func (p Patient) temporal(ctx context.Context, me person) []Finding {
	a := about{subject: Temporal}
	switch {
	case me.known && me.Role == identity.Agent:
		a.skip("connection", "an agent needs none")
		return a.found
	case !p.TemporalSet && me.known && (me.Role == identity.Auditor || me.Role == identity.Admin):
		a.skip("connection", "TEMPORAL_ADDRESS is not set, and "+described(me.Identity)+" can do without")
		return a.found
	}
	var c *wiring.TemporalClient
	p.within(ctx, func(ctx context.Context) {
		var err error
		if c, err = p.Dial(ctx); err != nil {
			a.failed("connection", err)
		}
	})
	if c == nil {
		return a.found
	}
	defer c.Close()
	p.within(ctx, func(ctx context.Context) { frontend(ctx, &a, c) })
	p.within(ctx, func(ctx context.Context) { permitted(ctx, &a, c) })
	p.within(ctx, func(ctx context.Context) { p.workers(ctx, &a, c) })
	return a.found
}

// frontend looks at the server and the namespace.
func frontend(ctx context.Context, a *about, c *wiring.TemporalClient) {
	info, err := c.WorkflowService().GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{})
	switch {
	case err != nil:
		a.skip("version", "the server does not say")
	case older(info.GetServerVersion(), 1, 28):
		a.warn("version", "Temporal "+info.GetServerVersion()+" answers: it does not know versions of workers", "upgrade it to 1.28 or later, or start workers without --deployment")
	default:
		a.ok("version", "Temporal "+info.GetServerVersion()+" answers")
	}
	n, err := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: c.Namespace})
	if err != nil {
		a.failed("namespace", fmt.Errorf("temporal does not describe namespace %s", c.Namespace))
		return
	}
	kept := n.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration()
	switch {
	case n.GetNamespaceInfo().GetState() != enumspb.NAMESPACE_STATE_REGISTERED:
		a.fail("namespace", c.Namespace+" is deprecated or deleted", "use another, or make it anew")
	case kept < shortMemory:
		a.warn("namespace", fmt.Sprintf("%s keeps what has ended for %s only", c.Namespace, span(kept)), "temporal operator namespace update --retention 72h")
	default:
		a.ok("namespace", fmt.Sprintf("%s keeps what has ended for %s", c.Namespace, span(kept)))
	}
}

// permitted asks for something that needs the right to write, of a workflow that there
// is not.
func permitted(ctx context.Context, a *about, c *wiring.TemporalClient) {
	_, err := c.WorkflowService().RequestCancelWorkflowExecution(ctx, &workflowservice.RequestCancelWorkflowExecutionRequest{
		Namespace: c.Namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: nowhere},
	})
	var missing *serviceerror.NotFound
	var denied *serviceerror.PermissionDenied
	switch {
	case errors.As(err, &missing):
		a.ok("rights", "it may write to namespace "+c.Namespace)
	case errors.As(err, &denied):
		a.fail("rights", "it may not write to namespace "+c.Namespace, "have its API key or certificate allowed to write there")
	case err != nil:
		a.skip("rights", "the server does not say")
	}
}

// workers looks who takes work from the task queue.
func (p Patient) workers(ctx context.Context, a *about, c *wiring.TemporalClient) {
	q, err := c.WorkflowService().DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
		Namespace: c.Namespace, TaskQueue: &taskqueuepb.TaskQueue{Name: workflows.TaskQueue}, TaskQueueType: enumspb.TASK_QUEUE_TYPE_WORKFLOW,
	})
	if err != nil {
		a.skip("workers", "the server does not say")
		return
	}
	var polls []poll
	for _, w := range q.GetPollers() {
		if p.Now().Sub(w.GetLastAccessTime().AsTime()) > longPoll {
			continue
		}
		o := w.GetDeploymentOptions()
		one := poll{who: w.GetIdentity()}
		if o.GetWorkerVersioningMode() == enumspb.WORKER_VERSIONING_MODE_VERSIONED {
			one.version = o.GetBuildId()
		}
		polls = append(polls, one)
	}
	judgeWorkers(a, polls, q.GetVersioningInfo().GetCurrentDeploymentVersion().GetBuildId())
}

// poll is a worker that asked for work lately; without a version it takes what belongs
// to none.
type poll struct{ who, version string }

// judgeWorkers compares who asks for work with which version gets it.
func judgeWorkers(a *about, polls []poll, current string) {
	serves := func(w poll) bool { return w.version == current }
	switch {
	case len(polls) == 0:
		a.warn("workers", "no worker asks for work: rotations do not go on", "start keyorch worker, or look at its log")
	case current != "" && !slices.ContainsFunc(polls, serves):
		a.fail("workers", fmt.Sprintf("version %s is current, and no worker is of it: rotations do not go on", current),
			"start a worker of that version, or one with --allow-downgrade")
	case current == "" && !slices.ContainsFunc(polls, serves):
		a.fail("workers", "workers have versions, and none is current: rotations do not go on", "wait for a moment after its start, then look at the worker's log")
	default:
		said := fmt.Sprintf("%d ask for work", len(polls))
		if len(polls) == 1 {
			said = "1 asks for work"
		}
		if current != "" {
			said += ", version " + current + " is current"
		}
		a.ok("workers", strings.TrimSpace(said))
	}
}
