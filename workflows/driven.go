package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// firstPatience and mostPatience bound the wait before Begin is asked again for
// links that it could not begin.
const (
	firstPatience = 500 * time.Millisecond
	mostPatience  = 15 * time.Second
)

// tookOver takes in the answer of Begin.
func (r *rotation) tookOver(f workflow.Future) error {
	var begun []Begun
	r.beginning = nil
	if err := f.Get(r.ctx, &begun); err != nil {
		return err
	}
	later := false
	for k, b := range begun {
		d := r.links[r.asked[k]]
		switch {
		case b.Denied != "":
			if d.Owner != r.id {
				d.Record = b.Record
			}
			r.drop(d, link.Denied, b.Denied)
		case b.Later != "" && d.abort != "":
			r.drop(d, link.Aborted, d.abort)
		case b.Later != "":
			d.result.Reason = b.Later
			later = true
		default:
			d.Record, d.begun, r.stale = b.Record, true, true
			d.joins = link.Members{Upstream: b.Upstream, Downstream: b.Downstream}
			d.result.Reason = ""
			d.renew = b.Renew != ""
			if !d.State.Restaging() && !d.State.Reverting && !d.renew {
				d.goal = d.State.To
			}
			if b.Renew != "" && d.State.Phase == link.Staging {
				_ = r.apply(d, link.Abort{Reason: b.Renew, At: workflow.Now(r.ctx)}) // else it goes on first
			}
			if r.in.Intent == ToAbort && d.why == "" {
				d.abort = r.in.Reason
			}
			if d.abort != "" && r.mayReverse(d) {
				d.why = r.reverse(d, d.abort)
			}
			d.abort = ""
		}
	}
	if later {
		r.patience = min(max(2*r.patience, firstPatience), mostPatience)
		r.retry = workflow.NewTimer(r.ctx, r.patience)
	}
	return nil
}

// heard takes in the answer of Await.
func (r *rotation) heard(f workflow.Future) error {
	var news []News
	r.awaiting = nil
	if err := f.Get(r.ctx, &news); err != nil {
		return err
	}
	for _, n := range news {
		d := r.find(n.Link)
		if d == nil || !d.begun || d.done {
			continue
		}
		if n.Gone != "" {
			r.finish(d, link.Held, n.Gone)
			continue
		}
		if n.Expired != "" {
			d.why = r.reverse(d, n.Expired)
			continue
		}
		turn := d.State.Turn

		if len(n.Upstream) > 0 {
			_ = r.apply(d, link.Members{Upstream: n.Upstream, Downstream: n.Downstream, At: n.At})
		}
		for _, report := range n.Reports {
			// A report that Step refuses holds the link; `keyorch why` shows it.
			_ = r.apply(d, link.Reported{Report: report, At: n.At})
		}
		r.leaveBehind(d, n)
		if n.Proceed {
			_ = r.apply(d, link.Cleared{Turn: turn, At: n.At})
			_ = r.apply(d, link.Drained{Turn: turn, At: n.At})
		}
	}
	return nil
}

// apply lets link.Step decide, and marks what has to be saved.
func (r *rotation) apply(d *driven, e link.Event) error {
	after, err := link.Step(d.State, e)
	if err != nil {
		return err
	}
	if after.Turn != d.State.Turn || !slices.Equal(after.Lost, d.State.Lost) ||
		!slices.Equal(after.Upstream, d.State.Upstream) || !slices.Equal(after.Downstream, d.State.Downstream) {
		d.dirty = true
	}
	d.State = after
	return nil
}

// reverse aborts the rotation of d, and says why it could not.
func (r *rotation) reverse(d *driven, reason string) string {
	if d.State.Reverting {
		return reason
	}
	if err := r.apply(d, link.Abort{Reason: reason, At: workflow.Now(r.ctx)}); err != nil {
		return err.Error()
	}
	return reason
}

// save writes what has changed, and finishes the links that are Steady.
func (r *rotation) save() error {
	var records []link.Record
	var written []*driven
	for _, d := range r.links {
		if !d.dirty || d.done {
			continue
		}
		r.join(d)
		if d.State.Phase == link.Steady && !r.more(d) {
			d.Owner = ""
			d.Last.Outcome, d.Last.Reason, d.Last.Epoch = d.ended(), d.reason(), d.State.To.Epoch
			d.Last.Ended = workflow.Now(r.ctx).UTC()
			if d.Last.Outcome == link.Rotated {
				d.Completed = d.Last
			}
		}
		d.Quarantined = stillOut(d.Quarantined, d.State)
		records, written = append(records, d.Record), append(written, d)
	}
	if len(records) == 0 {
		return nil
	}
	var saved []Saved
	var a *Activities
	if err := workflow.ExecuteActivity(withServers(r.ctx), a.Save, records).Get(r.ctx, &saved); err != nil {
		return err
	}
	r.stale = true
	for i, d := range written {
		d.dirty = false
		switch {
		case saved[i].Gone != "":
			r.finish(d, link.Held, saved[i].Gone)
			continue
		case d.State.Phase == link.Steady && r.more(d):
			d.begun, r.retry = false, nil // Begin gives it its new epoch, and at once
		case d.State.Phase == link.Steady:
			r.finish(d, d.ended(), d.reason())
		}
		d.Revision = saved[i].Revision
	}
	return nil
}

// more reports whether a link that has come to Steady needs another epoch: a
// sender has lost its counter, the nodes were staged again first, or the machine
// turned round by itself because a sender lost the new key before it used it.
//
// A link that was to go back only is let go: Mend gives it its epoch.
func (r *rotation) more(d *driven) bool {
	switch {
	case r.in.Intent == ToAbort || d.verdict != "":
		return false
	case d.State.NeedsEpoch(), d.renew && d.why == "" && !r.cancelled:
		return true
	}
	return d.State.To.Epoch != d.goal.Epoch && d.why == "" && !r.cancelled
}

// ended is how the rotation of a Steady link ended.
func (d *driven) ended() link.Outcome {
	if d.verdict != "" {
		return d.verdict
	}
	if d.State.To.Epoch == d.goal.Epoch && !d.goal.IsZero() {
		return link.Rotated
	}
	return link.Aborted
}

// reason is why the rotation of a Steady link did not end as it was begun. A link
// that was to go back may have had to go on: to a key whose counter was lost
// meanwhile there is no way back.
func (d *driven) reason() string {
	if d.ended() == link.Rotated && d.why != "" {
		return "it did not go back: " + d.why
	}
	return d.why
}

// drop ends a link that is not begun. One between two epochs is Steady and still
// ours: the next save lets it go.
func (r *rotation) drop(d *driven, o link.Outcome, reason string) {
	if d.Owner != r.id {
		r.finish(d, o, reason)
		return
	}
	d.begun, d.dirty, d.verdict, d.why = true, true, o, reason
}

func (r *rotation) finish(d *driven, o link.Outcome, reason string) {
	d.done, d.begun, r.stale = true, false, true
	d.result = d.standing(workflow.Now(r.ctx))
	d.result.Outcome, d.result.Reason = o, reason
}

// standing is the Result of a link as it is now.
func (d *driven) standing(now time.Time) Result {
	return Result{
		Link: d.Link, Outcome: link.Held, Reason: d.result.Reason,
		Epoch: d.State.Sends().Epoch, Phase: d.State.Phase, Seconds: seconds(now.Sub(d.started)),
	}
}

// seconds is d to the millisecond: more would only look like knowledge.
func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

func (r *rotation) outcome() Outcome {
	out := Outcome{Campaign: r.in.Campaign}
	for _, d := range r.links {
		if d.done {
			out.Links = append(out.Links, d.result)
			continue
		}
		out.Links = append(out.Links, d.standing(workflow.Now(r.ctx)))
	}
	return out
}

// continueAsNew starts over with an empty history. The store has the states, so
// only the results of what has ended are carried along, and what was aborted.
func (r *rotation) continueAsNew() (Outcome, error) {
	if r.beginning != nil {
		if err := r.tookOver(r.beginning); err != nil {
			return Outcome{}, err
		}
	}
	if err := r.answerAll(); err != nil {
		return Outcome{}, err
	}
	next := r.in
	next.Results, next.Aborting = nil, nil
	for _, d := range r.links {
		switch {
		case d.done:
			next.Results = append(next.Results, d.result)
		case d.why != "":
			next.Aborting = append(next.Aborting, Denial{Link: d.Link, Reason: d.why})
		}
	}
	return Outcome{}, workflow.NewContinueAsNewError(r.ctx, Rotate, next)
}

func (r *rotation) find(id keychain.LinkID) *driven {
	for _, d := range r.links {
		if d.Link == id {
			return d
		}
	}
	return nil
}
