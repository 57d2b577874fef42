package agents

import (
	"time"

	"github.com/keyorch/keyorch/store"
)

// enqueue has e worked on as soon as may be.
func (s *session) enqueue(e *errand) {
	switch {
	case s.live.Err() != nil || e.gone || e.queued:
		return
	case e.running:
		e.again = true
		return
	}
	e.stopTimer()
	e.queued = true
	s.queue = append(s.queue, e)
	s.spawn()
}

// spawn adds a worker if there is something for it and one more is allowed. The
// first worker of a node is always allowed.
func (s *session) spawn() {
	if len(s.queue) == 0 || s.workers >= s.PerNode || s.live.Err() != nil {
		return
	}
	extra := s.workers > 0
	if extra {
		select {
		case s.extra <- struct{}{}:
		default:
			return
		}
	}
	s.workers++
	s.busy.Go(func() { s.work(extra) })
}

// work takes errands from the queue until it is empty.
func (s *session) work(extra bool) {
	eyes := s.newEyes()
	defer eyes.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 && s.live.Err() == nil {
		e := s.queue[0]
		s.queue = s.queue[1:]
		e.queued, e.running, e.again = false, true, false
		order, settled := e.order, e.settled && e.refused == nil && len(e.drift) == 0
		var wait time.Duration
		if settled {
			s.mu.Unlock()
			wait, settled = eyes.glance(e, order)
			s.mu.Lock()
		}
		if !settled {
			s.spawn()
			held := s.keys.hold(order)
			s.mu.Unlock()
			wait = s.attend(e, order, held)
			s.keys.release(held)
			s.mu.Lock()
		}
		s.leave(e, order, wait)
	}
	s.workers--
	if extra {
		<-s.extra
	}
}

// leave ends a worker's stay at e. The caller holds s.mu.
func (s *session) leave(e *errand, order store.Order, wait time.Duration) {
	e.running = false
	switch {
	case e.gone:
		delete(s.errands, order.Link)
	case e.again:
		s.enqueue(e)
	case s.live.Err() == nil && wait != never:
		s.wakeAfter(e, wait)
	}
}
