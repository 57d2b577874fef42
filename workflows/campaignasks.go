package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/keyorch/keyorch/fault"
)

// take takes in what an operator asks.
func (c *fleetRun) take(a *ask) error {
	if a.err = c.can(a.kind); a.err != nil { // something else came first
		a.done = true
		return nil
	}
	c.asks.Reason = a.reason
	switch a.kind {
	case PauseUpdate:
		c.asks.Pause = true
	case ResumeUpdate:
		c.asks.Resume = true
	case PromoteUpdate:
		c.asks.Promote = true
	case AbortUpdate:
		if err := c.consented(a); err != nil || a.done {
			return err
		}
		c.asks.Abort, c.switched, c.approval = true, !a.staged, a.approval
	case RetryUpdate:
		return c.retry(a)
	}
	c.open = append(c.open, a)
	return nil
}

// retry has links tried again.
func (c *fleetRun) retry(a *ask) error {
	q := RetryRequest{
		Campaign: c.in.Name, Urgent: c.in.Kind.Urgent(), IgnoreWindows: c.in.IgnoreWindows, Wait: c.record.Wait,
		Count: c.launched(), At: workflow.Now(c.ctx).UTC(),
	}
	before := c.retried()
	q.First = before.First + before.Count
	var f *Fleet
	var batches int
	if err := workflow.ExecuteActivity(withServers(c.ctx), f.RetryHeld, q).Get(c.ctx, &batches); err != nil {
		return err
	}
	c.in.Retried += batches
	c.news()
	c.open = append(c.open, a)
	return nil
}

// can says why something asked for cannot be done now, or nil.
func (c *fleetRun) can(kind string) error {
	r := c.record
	if r.Name == "" {
		return fault.New(fault.Refused, "%s campaign %s: it is still being planned: ask again", kind, c.in.Name)
	}
	switch kind {
	case PauseUpdate:
		return r.CanPause()
	case ResumeUpdate:
		return r.CanResume()
	case PromoteUpdate:
		return r.CanPromote()
	case AbortUpdate:
		return r.CanAbort()
	}
	return r.CanRetry()
}

// answerAsks registers the Updates of Campaign.
func (c *fleetRun) answerAsks() error {
	refuse := func(kind string) error {
		if err := c.can(kind); err != nil {
			return refused(err.Error())
		}
		return nil
	}
	handle := func(ctx workflow.Context, a *ask) error {
		c.calls.Send(ctx, a)
		if err := workflow.Await(ctx, func() bool { return a.done }); err != nil {
			return err
		}
		if a.err != nil {
			return refused(a.err.Error())
		}
		return nil
	}
	for _, kind := range []string{PauseUpdate, ResumeUpdate, PromoteUpdate, RetryUpdate} {
		err := workflow.SetUpdateHandlerWithOptions(c.outer, kind,
			func(ctx workflow.Context, q Ask) error { return handle(ctx, &ask{kind: kind, reason: q.Reason}) },
			workflow.UpdateHandlerOptions{Validator: func(Ask) error { return refuse(kind) }})
		if err != nil {
			return err
		}
	}
	return workflow.SetUpdateHandlerWithOptions(c.outer, AbortUpdate,
		func(ctx workflow.Context, q AbortRequest) error {
			return handle(ctx, &ask{kind: AbortUpdate, reason: q.Reason, staged: q.Staged, approval: q.Approval})
		},
		workflow.UpdateHandlerOptions{Validator: func(AbortRequest) error { return refuse(AbortUpdate) }})
}

// answerRest answers every Update that came too late: the run must not end
// before.
func (c *fleetRun) answerRest() error {
	c.unfollow()
	for {
		for c.calls.Len() > 0 {
			var a *ask
			c.calls.Receive(c.ctx, &a)
			a.done = true
			a.err = fault.New(fault.Refused, "%s campaign %s: it has ended: %s", a.kind, c.in.Name, c.record.Reason)
		}
		err := workflow.Await(c.ctx, func() bool { return c.calls.Len() > 0 || workflow.AllHandlersFinished(c.ctx) })
		if err != nil || c.calls.Len() == 0 {
			return err
		}
	}
}
