package rules

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/keyorch/keyorch/devices/sim"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// Wish is what one end of a link is to do: a receiver accepts these epochs and no
// others, a sender sends with that one.
type Wish struct {
	Accept []keychain.Epoch
	Send   keychain.Epoch
	// ReadBack asks the device afterwards what it does, which is one operation more.
	// Without it an operation that succeeded counts as done.
	ReadBack bool
}

// Side is one end of one link: what its node is asked to do, and the management
// through which it hears of it. Like all management it may be slow or away; it
// tries until it gets through, or is asked for something else.
type Side struct {
	Node keychain.NodeID
	link keychain.LinkID
	dev  *sim.Node
	key  func(keychain.Epoch) secret.Key

	mu    sync.Mutex
	asked *asked
	wake  chan struct{}
	has   []keychain.Epoch // what it accepts, as far as operations succeeded
	sends keychain.Epoch
}

// asked is one wish on its way to a node.
type asked struct {
	wish Wish
	done chan keychain.Report
}

func newSide(n *sim.Node, id keychain.NodeID, link keychain.LinkID, key func(keychain.Epoch) secret.Key) *Side {
	return &Side{Node: id, link: link, dev: n, key: key, wake: make(chan struct{}, 1)}
}

// Ask replaces what this end is to do. The channel has a report when it does so.
// Of a wish that is replaced before that nothing is heard any more.
func (s *Side) Ask(w Wish) (done <-chan keychain.Report) {
	a := &asked{wish: w, done: make(chan keychain.Report, 1)}
	s.mu.Lock()
	s.asked = a
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // it is awake
	}
	return a.done
}

func (s *Side) latest() *asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// serve brings wishes to the node until ctx ends.
func (s *Side) serve(ctx context.Context) {
	var finished *asked
	for ctx.Err() == nil {
		a := s.latest()
		if a == finished {
			select {
			case <-ctx.Done():
			case <-s.wake:
			}
			continue
		}
		report, err := s.obey(ctx, a)
		switch {
		case err == nil:
			finished = a
			a.done <- report
		case ctx.Err() == nil:
			sleep(ctx, tryAgain)
		}
	}
}

// obey carries out a wish: what is to be accepted is installed before anything is
// removed. An operation that is under way is seen through; then a newer wish goes
// first.
func (s *Side) obey(ctx context.Context, a *asked) (keychain.Report, error) {
	w := a.wish
	for _, e := range w.Accept {
		if slices.Contains(s.has, e) || s.latest() != a {
			continue
		}
		if err := s.try(ctx, func(ctx context.Context) error { return s.dev.Downstream().Install(ctx, s.sa(e), s.key(e)) }); err != nil {
			return keychain.Report{}, err
		}
		s.has = append(s.has, e)
	}
	for _, e := range slices.Clone(s.has) {
		if slices.Contains(w.Accept, e) || len(w.Accept) == 0 || s.latest() != a {
			continue
		}
		if err := s.try(ctx, func(ctx context.Context) error { return s.dev.Downstream().Remove(ctx, s.sa(e)) }); err != nil {
			return keychain.Report{}, err
		}
		s.has = slices.DeleteFunc(s.has, func(h keychain.Epoch) bool { return h == e })
	}
	if w.Send != 0 && w.Send != s.sends && s.latest() == a {
		if err := s.try(ctx, func(ctx context.Context) error { return s.dev.Upstream().Switch(ctx, s.sa(w.Send), s.key(w.Send)) }); err != nil {
			return keychain.Report{}, err
		}
		s.sends = w.Send
	}
	r := keychain.Report{Node: s.Node}
	if !w.ReadBack {
		return r, nil
	}
	err := s.try(ctx, func(ctx context.Context) error {
		if w.Send != 0 {
			o, err := s.dev.Upstream().Observe(ctx, s.link)
			r.Sends = o.Sends
			return err
		}
		o, err := s.dev.Downstream().Observe(ctx, s.link)
		r.Accepts = o.Accepts
		return err
	})
	return r, err
}

func (s *Side) sa(e keychain.Epoch) keychain.SA {
	return keychain.SA{Link: s.link, Ref: keychain.Ref{Epoch: e}}
}

func (s *Side) try(ctx context.Context, op func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, scaled(giveUp))
	defer cancel()
	return op(ctx)
}

// sleep waits for a time that is given unscaled, and says whether it passed.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(scaled(d))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// within waits for a report, at most as long as given, and says whether it came.
func within(ctx context.Context, done <-chan keychain.Report, d time.Duration) bool {
	t := time.NewTimer(scaled(d))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return false
	case <-done:
		return true
	}
}

// came waits for a report.
func came(ctx context.Context, done <-chan keychain.Report) bool {
	select {
	case <-ctx.Done():
		return false
	case <-done:
		return true
	}
}
