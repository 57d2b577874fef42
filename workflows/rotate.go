package workflows

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/keyorch/keyorch/link"
)

// errRunTimeout refuses a run that Temporal would end between two steps.
var errRunTimeout = temporal.NewNonRetryableApplicationError(
	"start rotation: it must not have a run or execution timeout, which would end it between two steps", "invalid", nil)

// Rotate drives a batch of links, each from where it stands to Steady, or for as
// long as something holds it. link.Step decides every step; this loop only
// brings it events and has its answers saved. Cancelling the workflow means
// Abort, and it runs on until every link is safe.
func Rotate(ctx workflow.Context, in Batch) (Outcome, error) {
	info := workflow.GetInfo(ctx)
	if info.WorkflowRunTimeout > 0 || info.WorkflowExecutionTimeout > 0 {
		return Outcome{}, errRunTimeout
	}
	r := newRotation(ctx, in)
	if err := r.answerQuestions(); err != nil {
		return Outcome{}, err
	}
	for !r.settled() {
		if info.GetContinueAsNewSuggested() {
			return r.continueAsNew()
		}
		r.beginDue()
		r.watch()
		if err := r.next(); err != nil {
			return Outcome{}, err
		}
		if err := r.save(); err != nil {
			return Outcome{}, err
		}
	}
	err := r.answerAll()
	return r.outcome(), err
}

// rotation is the batch in the memory of its workflow: derived from events
// alone, and in the order of the batch throughout.
type rotation struct {
	ctx   workflow.Context // goes on after a cancellation
	outer workflow.Context // ends with one
	in    Batch
	id    string
	links []*driven

	beginning workflow.Future // of Begin, while it runs
	asked     []int           // the links that it was asked about
	awaiting  workflow.Future // of Await, while it runs
	forget    workflow.CancelFunc
	stale     bool             // the links that Await was asked about have changed
	calls     workflow.Channel // of *abortCall, from the Update handler
	cancelled bool
	patience  time.Duration // before Begin is asked again
	retry     workflow.Future
}

// driven is one link of the batch.
type driven struct {
	link.Record
	begun bool         // ours, and in flight
	done  bool         // its Result is final
	dirty bool         // to be saved
	goal  link.Key     // what the rotation was to lead to
	joins link.Members // the declared nodes, if some have yet to join
	renew bool         // where it is going is not where it was to go: another epoch follows
	abort string       // why it is to go back as soon as it is begun
	// approval is on whose strength, should it have switched.
	approval string
	why      string       // why it went back, or could not
	verdict  link.Outcome // how it ends, when that is not for its State to say
	started  time.Time
	result   Result
}

func newRotation(ctx workflow.Context, in Batch) *rotation {
	inner, _ := workflow.NewDisconnectedContext(ctx)
	r := &rotation{
		ctx: inner, outer: ctx, in: in, id: workflow.GetInfo(ctx).WorkflowExecution.ID,
		calls: workflow.NewBufferedChannel(inner, maxCalls),
	}
	for _, id := range in.Links {
		d := &driven{Record: link.Record{Link: id}, started: workflow.Now(ctx)}
		d.result = Result{Link: id, Outcome: link.Held, Reason: "not begun"}
		for _, earlier := range in.Results {
			if earlier.Link == id {
				d.result, d.done = earlier, true
			}
		}
		for _, a := range in.Aborting {
			if a.Link == id {
				d.why = a.Reason
			}
		}
		r.links = append(r.links, d)
	}
	return r
}

func (r *rotation) settled() bool {
	for _, d := range r.links {
		if !d.done {
			return false
		}
	}
	return true
}

// beginDue asks Begin about every link that is not begun, unless it is being
// asked already or was just told to wait.
func (r *rotation) beginDue() {
	if r.beginning != nil || r.retry != nil {
		return
	}
	q := BeginRequest{Owner: r.id, Campaign: r.in.Campaign, Intent: r.in.Intent, Urgent: r.in.Urgent, IgnoreWindows: r.in.IgnoreWindows, Approval: r.in.Approval}
	r.asked = nil
	for i, d := range r.links {
		if !d.begun && !d.done {
			q.Links = append(q.Links, d.Link)
			r.asked = append(r.asked, i)
		}
	}
	if len(q.Links) > 0 {
		var a *Activities
		r.beginning = workflow.ExecuteActivity(withServers(r.ctx), a.Begin, q)
	}
}

// watch keeps one Await running over the links in flight.
func (r *rotation) watch() {
	if r.awaiting != nil && !r.stale {
		return
	}
	if r.forget != nil {
		r.forget() // its answer would be about another set of links
	}
	r.awaiting, r.forget, r.stale = nil, nil, false
	q := AwaitRequest{Owner: r.id}
	for _, d := range r.links {
		if d.begun && !d.done {
			q.Links = append(q.Links, Watch{
				Link: d.Link, Revision: d.Revision, FromKCV: d.State.From.KCV, ToKCV: d.State.To.KCV,
				Awaiting: d.State.Awaiting, Lost: d.State.Lost,
			})
		}
	}
	if len(q.Links) == 0 {
		return
	}
	ctx, cancel := workflow.WithCancel(watching(r.ctx))
	var a *Activities
	r.awaiting, r.forget = workflow.ExecuteActivity(ctx, a.Await, q), cancel
}

// next waits for whatever comes first and takes it in.
func (r *rotation) next() error {
	var err error
	s := workflow.NewSelector(r.ctx)
	if r.beginning != nil {
		s.AddFuture(r.beginning, func(f workflow.Future) { err = errors.Join(err, r.tookOver(f)) })
	}
	if r.awaiting != nil {
		s.AddFuture(r.awaiting, func(f workflow.Future) { err = errors.Join(err, r.heard(f)) })
	}
	if r.retry != nil {
		s.AddFuture(r.retry, func(workflow.Future) { r.retry = nil })
	}
	s.AddReceive(r.calls, func(c workflow.ReceiveChannel, _ bool) {
		var call *abortCall
		c.Receive(r.ctx, &call)
		r.answer(call)
	})
	if !r.cancelled {
		s.AddReceive(r.outer.Done(), func(workflow.ReceiveChannel, bool) {
			r.cancelled = true
			q := AbortRequest{Reason: "the workflow was cancelled"}
			q.Staged = r.unapproved("cancel-approvals", q) != "" // what has switched then runs to its end
			r.abort(q)
		})
	}
	s.Select(r.ctx)
	return err
}
