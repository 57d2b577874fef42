package agents

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/upstream"
)

// sight is what the device showed on the sides that an order is about. It is
// whole when every such side was read after the last thing that was done to it:
// only then may it be reported under the order's Turn.
type sight struct {
	whole bool
	down  downstream.Observation
	up    upstream.Observation
}

// attend works on e once, reports, and says how long to wait before the next
// time.
func (s *session) attend(e *errand, o store.Order, held []named) time.Duration {
	ctx, cancel := context.WithTimeout(s.ops, s.Limit)
	defer cancel()
	began := time.Now().UTC()
	watchdog := time.AfterFunc(s.Slow, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if ctx.Err() == nil {
			s.trouble(o, fmt.Sprintf("obey turn %d: no end after %v", o.Turn, s.Slow), began)
		}
	})
	defer watchdog.Stop()
	a := &attempt{session: s, order: o, held: held, leave: func() bool { return s.live.Err() != nil || s.replaced(e, o) }}
	if was := s.refusal(e); was != nil {
		if a.look(ctx); !a.seen.whole || a.seen.same(*was) {
			return s.Resync
		}
	}
	a.findDrift(ctx, e)
	err := a.obey(ctx)
	if err != nil && ctx.Err() != nil && s.ops.Err() == nil {
		err = fault.New(fault.Unknown, "obey turn %d: no end after %v", o.Turn, s.Limit)
	}
	s.mu.Lock()
	watchdog.Stop()
	cancel() // a watchdog that waits for s.mu says nothing any more
	s.mu.Unlock()
	if s.ops.Err() != nil || errors.Is(err, errSuperseded) || s.replaced(e, o) {
		return s.Resync // the device is left to its next order, or to the next agent
	}
	a.report(e, err)
	s.mu.Lock()
	e.refused = nil
	if forGood(err) && a.seen.whole && equal(e.order, o) {
		e.refused = &a.seen
	}
	if equal(e.order, o) {
		e.settled = err == nil && a.seen.whole
	}
	s.mu.Unlock()
	return a.next(e, err)
}

// next is how long to wait before e is looked at again.
func (a *attempt) next(e *errand, err error) time.Duration {
	wait := a.rest(e, err)
	switch {
	case err != nil || !a.seen.whole:
	case a.counting():
		wait = min(wait, a.countNext(e))
	case len(a.order.Accept) > 1: // a key that was confirmed must not be missing for long

	case a.order.Send.IsZero() || !a.node.Upstream.Capabilities().CounterBound:
		wait = a.Idle - rand.N(a.Idle/5)
	}
	return wait
}

// refusal is what the device showed when it refused the order of e for good; nil
// when it did not.
func (s *session) refusal(e *errand) *sight {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.refused
}

// same reports whether the device has the same keys in s and o.
func (s sight) same(o sight) bool {
	return slices.Equal(s.down.Accepts, o.down.Accepts) && s.up.Sends == o.up.Sends
}

// replaced reports whether o is not the order of its link any more.
func (s *session) replaced(e *errand, o store.Order) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.gone || !equal(e.order, o)
}

// attempt is one try to make the device what order says.
type attempt struct {
	*session
	order store.Order
	held  []named
	leave func() bool   // says, between two steps, that the next is not to be done
	turn  keychain.Turn // under which to report
	seen  sight
	book  *ledger // nil until it could be read
	// drift is what was found other than ordered, by this attempt or an earlier one.
	drift []string
}

// obey does what is missing: accept, then send, then forget. An error of one
// keeps the later ones from being done.
func (a *attempt) obey(ctx context.Context) error {
	o := a.order
	if err := a.Journal.fence(a.node.ID, o); err != nil {
		return err
	}
	kept, err := a.Journal.known(a.node.ID, o.Link)
	if err != nil {
		return err
	}
	a.turn, a.book = kept.Turn, &ledger{s: a.session, link: o.Link, entry: kept}
	switch {
	case o.Turn < kept.Turn:
		a.look(ctx)
		return fault.New(fault.Stale, "obey turn %d: turn %d has been obeyed", o.Turn, kept.Turn)
	case a.Journal.otherwise(a.node.ID, o):
		a.look(ctx)
		return fault.New(fault.Stale, "obey turn %d: another order of that turn has been obeyed: etcd was put back", o.Turn)
	}
	if err := a.able(); err != nil {
		return err
	}
	err = a.act(ctx)
	if err != nil && !errors.Is(err, errSuperseded) {
		a.look(ctx)
	}
	return err
}

// able is Invalid when the order asks for a side that the node does not have.
func (a *attempt) able() error {
	switch {
	case len(a.order.Accept) > 0 && a.node.Downstream == nil:
		return fault.New(fault.Invalid, "accept on %s: the device of %s has no receiving side", a.order.Link, a.node.ID)
	case !a.order.Send.IsZero() && a.node.Upstream == nil:
		return fault.New(fault.Invalid, "send on %s: the device of %s has no sending side", a.order.Link, a.node.ID)
	}
	return nil
}

func (a *attempt) act(ctx context.Context) (err error) {
	o := a.order
	var accept []downstream.Want
	if len(o.Accept) > 0 {
		for _, w := range o.Accept {
			accept = append(accept, downstream.Want{SA: o.SA(w), Key: a.opener(w)})
		}
		if accept, err = keepable(ctx, a.node.Downstream, o, accept); err != nil {
			return err
		}
		if a.seen.down, err = downstream.Accept(ctx, a.node.Downstream, o.Link, accept); err != nil {
			return err
		}
		if a.leave() {
			return errSuperseded
		}
	}
	var lost error
	if !o.Send.IsZero() {
		want := upstream.Want{SA: o.SA(o.Send), Key: a.opener(o.Send)}
		a.seen.up, err = upstream.Send(ctx, a.node.Upstream, o.Link, want, a.book)
		if errors.Is(err, upstream.ErrLost) && a.seen.up.Sends.IsZero() {
			lost, err = err, nil // it is silent: nothing that it sends could need an old key
		}
		if err != nil {
			return err
		}
	}
	if a.extra() {
		if a.leave() {
			return errSuperseded
		}
		if a.seen.down, err = downstream.Forget(ctx, a.node.Downstream, o.Link, accept); err != nil {
			return a.unexpected(err)
		}
	}
	a.seen.whole = len(o.Accept) > 0 || !o.Send.IsZero()
	return lost
}

// extra reports whether the device accepts what the order does not name.
func (a *attempt) extra() bool {
	return len(a.order.Accept) > 0 && slices.ContainsFunc(a.seen.down.Accepts, func(r keychain.Ref) bool {
		return !slices.ContainsFunc(a.order.Accept, func(w store.Wanted) bool { return w.Epoch == r.Epoch })
	})
}

// opener opens the key that w names. Stopping does not wait for Vault.
func (a *attempt) opener(w store.Wanted) func(context.Context) (secret.Key, error) {
	return func(ctx context.Context) (secret.Key, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(a.live, cancel)()
		key, err := a.keys.open(ctx, named{generation{a.order.Link, w.Epoch}, w.Wrapped}, w.KCV)
		if err != nil {
			return key, unopened{err}
		}
		return key, nil
	}
}

// unopened is that a key could not be opened: nothing that its device did.
type unopened struct{ error }

func (u unopened) Unwrap() error { return u.error }

// look reads the sides that the order is about.
func (a *attempt) look(ctx context.Context) {
	a.seen = sight{}
	var err error
	var looked bool
	if len(a.order.Accept) > 0 && a.node.Downstream != nil {
		looked = true
		if a.seen.down, err = a.node.Downstream.Observe(ctx, a.order.Link); err != nil {
			return
		}
	}
	if !a.order.Send.IsZero() && a.node.Upstream != nil {
		looked = true
		if a.seen.up, err = a.node.Upstream.Observe(ctx, a.order.Link); err != nil {
			return
		}
	}
	a.seen.whole = looked
}
