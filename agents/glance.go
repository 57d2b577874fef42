package agents

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keyorch/keyorch/store"
)

// Most links are idle most of the time, and looking whether they still are is
// most of what an agent does. So links are looked at in rounds, many by one
// worker, and a look that finds nothing new does nothing else.

// round is the links of a node that are looked at in the same second.
type round struct {
	timer   *time.Timer
	errands []*errand
}

const (
	// aRound is how far rounds are apart, and a shorter wait is no round's.
	aRound = time.Second
	// longGlance is how long a worker may look at one link before another worker
	// goes on with the rest.
	longGlance = 20 * time.Millisecond
)

// wakeAfter has e worked on after wait. The caller holds s.mu.
func (s *session) wakeAfter(e *errand, wait time.Duration) {
	if wait < 2*aRound {
		e.timer = time.AfterFunc(wait, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.enqueue(e)
		})
		return
	}
	now := time.Now()
	at := now.Add(wait).Truncate(aRound)
	r := s.rounds[at]
	if r == nil {
		r = &round{}
		r.timer = time.AfterFunc(at.Sub(now), func() { s.begin(at) })
		s.rounds[at] = r
	}
	r.errands = append(r.errands, e)
	e.round = r
}

// begin is a round: those that still wait for it are worked on.
func (s *session) begin(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rounds[at]
	delete(s.rounds, at)
	for _, e := range r.errands {
		if e.round == r {
			s.enqueue(e)
		}
	}
}

// eyes look at one link after the other. They are one worker's.
type eyes struct {
	s      *session
	ctx    context.Context
	cancel context.CancelFunc
	// helper calls another worker when a look takes long, and watchdog says that
	// there is trouble, and ends the look, when it takes too long.
	helper, watchdog *time.Timer
	// order is what is looked at, since when: guarded by session.mu.
	order *store.Order
	since time.Time
}

func (s *session) newEyes() *eyes {
	y := &eyes{s: s}
	y.ctx, y.cancel = context.WithCancel(s.ops)
	return y
}

func (y *eyes) close() {
	y.cancel()
	if y.helper != nil {
		y.helper.Stop()
		y.watchdog.Stop()
	}
}

// start opens the eyes for o.
func (y *eyes) start(o *store.Order) {
	y.s.mu.Lock()
	y.order, y.since = o, time.Now().UTC()
	y.s.mu.Unlock()
	if y.helper == nil {
		y.helper = time.AfterFunc(longGlance, y.help)
		y.watchdog = time.AfterFunc(y.s.Slow, y.bark)
		return
	}
	y.helper.Reset(longGlance)
	y.watchdog.Reset(y.s.Slow)
}

// stop closes them, and reports whether the look was let end.
func (y *eyes) stop() bool {
	y.helper.Stop()
	y.watchdog.Stop()
	y.s.mu.Lock()
	defer y.s.mu.Unlock()
	y.order = nil // a watchdog that waits for the lock says nothing any more
	if y.ctx.Err() == nil {
		return true
	}
	y.ctx, y.cancel = context.WithCancel(y.s.ops)
	return false
}

func (y *eyes) help() {
	y.s.mu.Lock()
	defer y.s.mu.Unlock()
	if y.order != nil {
		y.s.spawn()
	}
}

func (y *eyes) bark() {
	y.s.mu.Lock()
	defer y.s.mu.Unlock()
	if y.order != nil {
		y.s.trouble(*y.order, fmt.Sprintf("obey turn %d: no end after %v", y.order.Turn, y.s.Slow), y.since)
		y.cancel()
	}
}

// glance looks at a link whose order this session has obeyed. It says how long to
// wait before the next look when the device shows what it showed then; false, that
// the link has to be attended to.
//
// Nothing is written to journal or device here, and of the report nothing but the
// counters: it is safe whatever happens to the order meanwhile.
func (y *eyes) glance(e *errand, o store.Order) (time.Duration, bool) {
	before := y.s.reports.latest(o.Link)
	if before.Turn != o.Turn || before.Fault != "" {
		return 0, false
	}
	a := &attempt{session: y.s, order: o}
	y.start(&o)
	a.look(y.ctx)
	inTime := y.stop()
	same := slices.Equal(a.seen.down.Accepts, before.Accepts) && a.seen.up.Sends == before.Sends
	if !inTime || !a.seen.whole || !same {
		return 0, false
	}
	if counters := a.seen.counters(); a.counting() {
		y.s.reports.count(o.Link, func(o *store.Observation) { o.Counters = counters })
	} else if !slices.Equal(counters, before.Counters) {
		y.s.reports.change(o.Link, func(o *store.Observation) { o.Counters = counters })
	}
	return a.next(e, nil), true
}
