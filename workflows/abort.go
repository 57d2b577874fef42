package workflows

import (
	"errors"
	"fmt"
	"slices"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/link"
)

// maxCalls is how many Updates may wait for the loop. Temporal lets fewer be in
// flight.
const maxCalls = 64

// abortCall is an Update on its way to the main loop, which alone calls Step.
type abortCall struct {
	request AbortRequest
	answer  AbortAnswer
	err     error
	done    bool
}

// answerQuestions registers the Update and the Query of Rotate.
func (r *rotation) answerQuestions() error {
	err := workflow.SetQueryHandler(r.outer, ProgressQuery, func() (Outcome, error) { return r.outcome(), nil })
	if err != nil {
		return err
	}
	handle := func(ctx workflow.Context, q AbortRequest) (AbortAnswer, error) {
		call := &abortCall{request: q}
		r.calls.Send(ctx, call)
		if err := workflow.Await(ctx, func() bool { return call.done }); err != nil {
			return AbortAnswer{}, err
		}
		return call.answer, call.err
	}
	return workflow.SetUpdateHandlerWithOptions(r.outer, AbortUpdate, handle,
		workflow.UpdateHandlerOptions{Validator: func(q AbortRequest) error { return r.validate(q) }})
}

// validate refuses an abort at once that could not do anything. It tries Step
// and drops what comes out.
func (r *rotation) validate(q AbortRequest) error {
	if len(q.Links) == 0 {
		for _, d := range r.links {
			if r.abortable(d) == nil {
				return nil
			}
		}
		return refused("abort rotation: there is nothing left to abort")
	}
	for _, id := range q.Links {
		d := r.find(id)
		if d == nil {
			return refused(fmt.Sprintf("abort %s: it is not part of %s", id, r.in.Campaign))
		}
		if err := r.abortable(d); err != nil {
			return refused(fmt.Sprintf("abort %s: %v", id, err))
		}
	}
	return nil
}

func refused(message string) error {
	return temporal.NewNonRetryableApplicationError(message, fault.Refused.String(), nil)
}

func (r *rotation) abortable(d *driven) error {
	switch {
	case d.done:
		return fmt.Errorf("it has ended: %s", d.result.Outcome)
	case !d.begun:
		return nil
	}
	_, err := link.Step(d.State, link.Abort{})
	return err
}

// answerAll answers every Update that is still on its way, and saves what that
// changes: the run must not end before.
func (r *rotation) answerAll() error {
	for {
		for r.calls.Len() > 0 {
			var call *abortCall
			r.calls.Receive(r.ctx, &call)
			r.answer(call)
		}
		if err := r.save(); err != nil {
			return err
		}
		err := workflow.Await(r.ctx, func() bool { return r.calls.Len() > 0 || workflow.AllHandlersFinished(r.ctx) })
		if err != nil || r.calls.Len() == 0 {
			return err
		}
	}
}

func (r *rotation) answer(c *abortCall) {
	if why := r.unapproved("abort-approvals", c.request); why != "" {
		c.err = refused("abort: " + why)
	} else {
		c.answer = r.abort(c.request)
	}
	c.done = true
}

// abort takes back the links named, or all for none, as far as that is still
// possible.
func (r *rotation) abort(q AbortRequest) AbortAnswer {
	ids, reason := q.Links, q.Reason
	if reason == "" {
		reason = "aborted by the operator"
	}
	var answer AbortAnswer
	for _, d := range r.links {
		switch {
		case len(ids) > 0 && !slices.Contains(ids, d.Link):
			continue
		case d.done && len(ids) > 0:
			answer.Refused = append(answer.Refused, Denial{Link: d.Link, Reason: fmt.Sprintf("it has ended: %s", d.result.Outcome)})
			continue
		case d.done, q.Staged && d.begun && d.State.Phase != link.Staging:
			continue
		case !d.begun && r.beginning != nil && slices.Contains(r.asked, slices.Index(r.links, d)):
			d.abort, d.approval = reason, q.Approval // for tookOver
			answer.Aborting = append(answer.Aborting, d.Link)
			continue
		case !d.begun:
			r.drop(d, link.Aborted, reason)
			answer.Aborting = append(answer.Aborting, d.Link)
			continue
		}
		if err := r.apply(d, link.Abort{Reason: reason, At: workflow.Now(r.ctx)}); err != nil {
			if d.State.Reverting || d.State.Restaging() {
				d.why = reason // so it gets no other epoch when it arrives
			}
			if !errors.Is(err, link.ErrRefused) || len(ids) > 0 || d.State.Phase != link.Steady {
				answer.Refused = append(answer.Refused, Denial{Link: d.Link, Reason: err.Error()})
			}
			continue
		}
		d.why, r.stale = reason, true
		answer.Aborting = append(answer.Aborting, d.Link)
	}
	return answer
}
