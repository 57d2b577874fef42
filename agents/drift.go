package agents

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// What is said of a device that differs from an order that it had obeyed.
const (
	wasMissing    = "epoch %d was missing"
	wasUnexpected = "epoch %d was unexpected"
	wasSent       = "epoch %d was sent with"
	wasNotSent    = "epoch %d was not sent with"
)

// findDrift looks at a device whose order was obeyed before, in this session or
// by an earlier agent, and notes what it shows other than that.
func (a *attempt) findDrift(ctx context.Context, e *errand) {
	var drift []string
	if before := a.reports.latest(a.order.Link); before.Turn == a.order.Turn && before.Fault == "" {
		if a.look(ctx); a.seen.whole { // or else obey says why
			drift = differences(a.order, a.seen)
		}
	}
	a.drift = a.notice(e, drift)
}

// counting reports whether somebody may wait for the counter of an old key to
// stand still: the device counts, and is to accept more than one key.
func (a *attempt) counting() bool {
	return a.seen.whole && len(a.order.Accept) > 1 && (a.seen.down.Packets != nil || a.seen.up.Packets != nil)
}

// differences is what seen shows other than o asks for. Another key under an
// epoch is not among them: nobody can put that right but a new epoch.
func differences(o store.Order, seen sight) (drift []string) {
	note := func(format string, e keychain.Epoch) { drift = append(drift, fmt.Sprintf(format, e)) }
	for _, w := range o.Accept {
		if w.Wrapped.IsZero() {
			continue // nobody can put it right
		}
		if !slices.ContainsFunc(seen.down.Accepts, func(r keychain.Ref) bool { return r.Epoch == w.Epoch }) {
			note(wasMissing, w.Epoch)
		}
	}
	if len(o.Accept) > 0 {
		for _, r := range seen.down.Accepts {
			if !slices.ContainsFunc(o.Accept, func(w store.Wanted) bool { return r.Epoch == w.Epoch }) {
				note(wasUnexpected, r.Epoch)
			}
		}
	}
	switch sends := seen.up.Sends.Epoch; {
	case o.Send.IsZero() || sends == o.Send.Epoch:
	case sends == 0:
		note(wasNotSent, o.Send.Epoch)
	default:
		note(wasSent, sends)
	}
	return drift
}

// notice adds to what e has to put right, and gives all of it.
func (a *attempt) notice(e *errand, drift []string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !equal(e.order, a.order) {
		return nil
	}
	if now := time.Now(); len(drift) > 0 && now.Sub(a.alarmed) > a.Resync {
		// It restarted, maybe, and has lost more than this.
		a.alarmed = now
		for _, other := range a.errands {
			if other != e && other.settled {
				a.enqueue(other)
			}
		}
	}
	for _, d := range drift {
		if !slices.Contains(e.drift, d) && len(e.drift) < keychain.MaxRepairs {
			e.drift = append(e.drift, d)
		}
	}
	return slices.Clone(e.drift)
}

// repaired is what the attempt has put right, told once.
func (a *attempt) repaired(e *errand, err error) []string {
	if err != nil || len(a.drift) == 0 || !a.seen.whole {
		return nil
	}
	a.mu.Lock()
	mine := equal(e.order, a.order)
	if mine {
		e.drift = nil
	}
	a.mu.Unlock()
	if !mine {
		return nil
	}
	a.log.Warn("the device was not as ordered, and was put right", "link", a.order.Link, "was", strings.Join(a.drift, ", "))
	a.Observe.repaired(a.node.Kind)
	return a.drift
}

// noted is repairs with drift added, the newest last.
func noted(repairs []keychain.Repair, drift []string, now time.Time) []keychain.Repair {
	if len(drift) == 0 {
		return repairs
	}
	repairs = slices.Clone(repairs)
	for _, what := range drift {
		r := keychain.Repair{What: what, At: now, Count: 1}
		if i := slices.IndexFunc(repairs, func(r keychain.Repair) bool { return r.What == what }); i >= 0 {
			r.Count += repairs[i].Count
			repairs = slices.Delete(repairs, i, i+1)
		}
		repairs = append(repairs, r)
	}
	return repairs[max(0, len(repairs)-keychain.MaxRepairs):]
}

// unexpected says of a key that could not be removed that nobody ordered it, if
// it turned up after the order had been obeyed.
func (a *attempt) unexpected(err error) error {
	for _, r := range a.seen.down.Accepts {
		if slices.Contains(a.drift, fmt.Sprintf(wasUnexpected, r.Epoch)) {
			return fault.Wrap(fault.Of(err), err, "unexpected key: epoch %d is accepted and cannot be removed", r.Epoch)
		}
	}
	return err
}

const (
	// firstCount is after how many times Counting a device is first looked at for
	// its counters: most rotations are over by then.
	firstCount = 2
	// mostCounts is after how many looks nobody is taken to wait for them any more:
	// a link may be held for weeks.
	mostCounts = 300
)

// countNext is when a device that counts is looked at next. It gets as seldom as
// any other when the order has stood for long.
func (a *attempt) countNext(e *errand) time.Duration {
	if e.countedTurn != a.order.Turn {
		e.countedTurn, e.counted = a.order.Turn, 0
	}
	e.counted++
	switch {
	case e.counted == 1:
		return firstCount * a.Counting
	case e.counted > mostCounts:
		return a.Resync
	}
	return a.Counting
}
