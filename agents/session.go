package agents

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/upstream"
)

// session is the work on one node during one tenure.
type session struct {
	*post
	// live ends when no new work is to be begun, ops when nothing may touch the
	// device or the store any more.
	live, ops context.Context
	tenure    Tenure
	reports   *reports
	inbox     *inbox

	mu      sync.Mutex
	errands map[keychain.LinkID]*errand
	queue   []*errand
	workers int
	busy    sync.WaitGroup
	rounds  map[time.Time]*round
	// snapshots is how often all orders were read, aside what that has led to.
	snapshots int
	aside     sync.WaitGroup
	alarmed   time.Time // when the device was last found to differ from an order
}

// errand is the standing task to make one link of the node what its order says.
// At most one worker is at it. All is guarded by session.mu.
type errand struct {
	order store.Order
	held  []named // by the order
	gone  bool    // there is no order any more
	// queued, running and again say where the errand is: again is a wish that came
	// while it was running.
	queued, running, again bool
	timer                  *time.Timer
	round                  *round // in which it is looked at next; nil: there is a timer, or nothing
	retry                  *backoff.ExponentialBackOff
	troubled               bool   // it waits for something to come back
	refused                *sight // what the device showed when it refused the order for good
	settled                bool   // the order was obeyed in full in this session
	// drift is what the device was found to show other than the order that it had
	// obeyed, until that is put right.
	drift []string
	// refusals are the kinds of fault of this order that the trail was told of.
	refusals []string
	seen     time.Time // when the order was; zero once it is confirmed
	// counted is how often a device that counts was looked at under the order of
	// countedTurn.
	counted     int
	countedTurn keychain.Turn
}

func newSession(p *post, live, ops context.Context, tenure Tenure, obs []store.Observation) *session {
	s := &session{inbox: newInbox(), post: p, live: live, ops: ops, tenure: tenure,
		errands: make(map[keychain.LinkID]*errand), rounds: make(map[time.Time]*round)}
	s.reports = &reports{
		tenure: tenure, gather: gatherTime, every: countersEvery, retry: p.newBackoff(), log: p.log,
		nonEmpty: make(chan struct{}, 1),
		stored:   make(map[keychain.LinkID]store.Observation),
		pending:  make(map[keychain.LinkID]letter),
		first: func(link keychain.LinkID) store.Observation {
			return store.Observation{Site: p.Site, Link: link, Report: keychain.Report{Node: p.node.ID}}
		},
	}
	for _, o := range obs {
		s.reports.stored[o.Link] = o
	}
	return s
}

// recall reads what the node reported before, and takes it into the journal: the
// fence is the highest of both. It reports false when live ended first.
func (p *post) recall(live context.Context, tenure Tenure) ([]store.Observation, bool) {
	retry := p.newBackoff()
	for {
		obs, err := tenure.Observations(live)
		if err != nil && fault.Is(err, fault.Mismatch) {
			p.log.WarnContext(live, "cannot read an earlier report", "error", err)
			err = nil // the others came with it
		}
		if err == nil {
			err = p.Journal.merge(p.node.ID, obs)
		}
		if err == nil {
			return obs, live.Err() == nil
		}
		if live.Err() == nil {
			p.log.WarnContext(live, "cannot recall earlier reports, will try again", "error", err)
		}
		if !pause(live, retry.NextBackOff()) {
			return nil, false
		}
	}
}

// run works until live ends, then lets the work under way end and its reports go
// out. It is false when a device would not let go.
func (s *session) run() bool {
	var sender, taker sync.WaitGroup
	sending, stop := context.WithCancel(s.ops)
	sender.Go(func() { s.reports.run(sending) })
	taker.Go(func() { s.inbox.run(s.live, s.take) })
	taker.Go(s.hear)
	retry := s.newBackoff()
	for s.live.Err() == nil {
		err := s.Store.WatchOrders(s.live, s.Site, s.node.ID, s.inbox.put)
		if s.live.Err() == nil {
			s.log.ErrorContext(s.live, "cannot watch orders, will try again", "error", err)
			pause(s.live, retry.NextBackOff())
		}
	}
	taker.Wait()
	s.aside.Wait()
	ended := s.stop()
	s.reports.flush(s.ops)
	stop()
	sender.Wait()
	return ended
}

// stop waits for the workers and lets go of the keys. A device that heeds no
// context is waited for as well, unless the process is to end.
func (s *session) stop() bool {
	s.mu.Lock()
	s.queue = nil
	for _, e := range s.errands {
		e.stopTimer()
	}
	for _, r := range s.rounds {
		r.timer.Stop()
	}
	s.mu.Unlock()
	idle := make(chan struct{})
	go func() {
		s.busy.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-s.abandon.Done():
		return false
	}
	for _, e := range s.errands {
		s.keys.release(e.held)
	}
	return true
}

// take is what news about the orders leads to, in the order in which it came. The
// Turns of all of them are in the journal, in one write, before the first is
// obeyed.
func (s *session) take(news []store.OrderUpdate) {
	var orders []store.Order
	for _, u := range news {
		orders = append(orders, u.Orders...)
	}
	if err := s.Journal.fence(s.node.ID, orders...); err != nil {
		s.log.Error("cannot write the journal", "error", err) // obey tries again
	}
	all := false
	defer func() {
		if all {
			s.recollect()
		}
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range news {
		s.adopt(u)
		all = all || u.Snapshot
	}
}

// adopt makes errands of orders.
func (s *session) adopt(u store.OrderUpdate) {
	for _, err := range u.Broken {
		s.log.Error("cannot read an order", "error", err)
	}
	now := time.Now()
	for _, o := range u.Orders {
		e := s.errands[o.Link]
		if e == nil {
			e = &errand{retry: s.newBackoff()}
			s.errands[o.Link] = e
		}
		if !e.gone && e.order.Link != "" && equal(e.order, o) {
			continue // told again; the timer sees to it
		}
		before, settled := e.held, !e.gone && e.settled && rewrapped(e.order, o)
		e.order, e.held, e.gone = o, s.keys.hold(o), false
		s.keys.release(before)
		if settled && !e.running {
			continue // the device has these keys
		}
		e.retry.Reset()
		e.refused, e.settled, e.drift, e.refusals, e.seen = nil, false, nil, nil, now
		if r := s.reports.latest(o.Link); r.Turn == o.Turn && r.Fault == "" {
			e.seen = time.Time{} // confirmed before this session
		}
		s.enqueue(e)
	}
	for _, link := range u.Deleted {
		if s.errands[link] != nil {
			s.drop(link)
		}
	}
	if !u.Snapshot || len(u.Broken) > 0 { // a broken order leaves the earlier one in force
		return
	}
	listed := make(map[keychain.LinkID]bool, len(u.Orders))
	for _, o := range u.Orders {
		listed[o.Link] = true
	}
	for link := range s.errands {
		if !listed[link] {
			s.drop(link)
		}
	}
}

// drop ends an errand whose order is gone. What the device has stays: no order is
// no wish.
func (s *session) drop(link keychain.LinkID) {
	e := s.errands[link]
	e.stopTimer()
	s.queue = slices.DeleteFunc(s.queue, func(q *errand) bool { return q == e })
	s.keys.release(e.held)
	e.held, e.gone, e.queued, e.again = nil, true, false, false
	if !e.running { // or else it stays until it is done, in case the order comes back
		delete(s.errands, link)
	}
}

func equal(a, b store.Order) bool {
	return a.Turn == b.Turn && a.Send == b.Send && slices.Equal(a.Accept, b.Accept)
}

// rewrapped reports whether b asks for what a does, with keys that were wrapped anew
// since: what was obeyed of a is obeyed of b.
func rewrapped(a, b store.Order) bool {
	if a.Turn != b.Turn || len(a.Accept) != len(b.Accept) {
		return false
	}
	same := func(a, b store.Wanted) bool { return a.Epoch == b.Epoch && a.Serial == b.Serial }
	for i := range a.Accept {
		if !same(a.Accept[i], b.Accept[i]) {
			return false
		}
	}
	return same(a.Send, b.Send)
}

func (e *errand) stopTimer() {
	if e.timer != nil {
		e.timer.Stop()
	}
	e.round = nil
}

// rest says when e is to be looked at again after err: soon, and ever later, when
// somebody is away; otherwise in a while. What comes back for one link has come
// back for the others.
func (s *session) rest(e *errand, err error) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && fault.Of(err).Retryable() {
		e.troubled = true
		return e.retry.NextBackOff()
	}
	e.retry.Reset()
	if forGood(err) && e.refused == nil {
		e.troubled = false
		return never
	}
	if e.troubled && err == nil {
		for _, other := range s.errands {
			if other != e && other.troubled {
				s.enqueue(other)
			}
		}
	}
	e.troubled = false
	return s.Resync - rand.N(s.Resync/5) // so that links spread out
}

// never is the rest of an errand that only another order ends.
const never = time.Duration(math.MaxInt64)

// forGood reports whether a device refused what its order asks for. It is not
// asked again before the order, the device or the agent is another, or the device
// shows that it has changed: one that restarts must get back what it had. What Vault
// refuses is asked again: a policy may be mended without anybody telling the
// agent. A lost key is looked at again, since its device may be restarted.
func forGood(err error) bool {
	return fault.Is(err, fault.Refused) && !errors.As(err, new(unopened)) && !errors.Is(err, upstream.ErrLost)
}

var errSuperseded = errors.New("there is a newer order")
