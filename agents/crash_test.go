package agents

import (
	"context"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
)

// control is the control plane of one link: it drives package link.
type control struct {
	w       *world
	state   link.State
	aborted bool
	wanted  keychain.Epoch // rotate until the link is on this epoch or a later one
	// stands reports whether the devices are on an epoch, under world.mu.
	stands func(keychain.Epoch) bool
}

// story rotates to a first key and a second, goes back when the second is in use
// everywhere, and rotates again. It takes the turns that a lost epoch asks for.
func (c *control) story(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for {
		c.save()
		before := c.reports()
		for c.advance(t, before) {
			c.save()
		}
		over := false
		if !c.w.until(ctx, func() bool {
			over = c.rests() && c.stands(c.state.To.Epoch)
			return over || !maps.EqualFunc(before, c.read(), sameReport)
		}) {
			t.Errorf("stuck in %+v with %+v", c.state, before)
			return
		}
		if over {
			return
		}
	}
}

// rests reports whether there is no step left to take.
func (c *control) rests() bool {
	s := c.state
	return s.Phase == link.Steady && s.To.Epoch >= c.wanted && c.aborted && !s.NeedsEpoch()
}

func (c *control) read() map[keychain.NodeID]store.Observation {
	now := make(map[keychain.NodeID]store.Observation)
	for _, n := range c.state.Nodes() {
		now[n] = c.w.obs[n][theLink]
	}
	return now
}

func (c *control) reports() map[keychain.NodeID]store.Observation {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.read()
}

func sameReport(a, b store.Observation) bool { return same(a, b) }

// advance takes one step, if there is one.
func (c *control) advance(t *testing.T, reports map[keychain.NodeID]store.Observation) bool {
	before := c.state
	var event link.Event
	s := c.state
	switch {
	case s.Phase == link.Steady && !c.rests():
		event = link.Rotate{Epoch: s.Highest + 1}
	case s.Phase == link.Staging && len(s.Awaiting) == 0:
		event = link.Cleared{Turn: s.Turn}
	case s.Phase == link.Draining && s.To.Epoch > 1 && !c.aborted:
		c.aborted = true
		event = link.Drained{Turn: s.Turn} // if it cannot go back
		if _, err := link.Step(s, link.Abort{}); err == nil {
			event = link.Abort{Reason: "a test"}
		}
	case s.Phase == link.Draining:
		event = link.Drained{Turn: s.Turn}
	}
	if event != nil {
		c.step(t, event)
		return true
	}
	for _, n := range s.Nodes() {
		c.step(t, link.Reported{Report: reports[n].Report})
	}
	return c.state.Turn != before.Turn || len(c.state.Lost) != len(before.Lost) || len(c.state.Awaiting) != len(before.Awaiting)
}

func (c *control) step(t *testing.T, e link.Event) {
	next, err := link.Step(c.state, e)
	if err != nil {
		t.Errorf("%T in %+v: %v", e, c.state, err)
		return
	}
	c.state = next
}

// save gives out the orders that follow from the state.
func (c *control) save() {
	wanted := func(k link.Key) store.Wanted {
		if k.IsZero() {
			return store.Wanted{}
		}
		return store.Wanted{Ref: k.Ref, Serial: k.Serial, Wrapped: c.w.mint(theLink, k.Epoch)}
	}
	for _, o := range link.Orders(c.state) {
		order := store.Order{Node: o.Node, Link: theLink, Turn: o.Turn, Send: wanted(o.Send)}
		for _, k := range o.Accept {
			order.Accept = append(order.Accept, wanted(k))
		}
		c.w.order(order)
	}
}

// guard keeps the promise in sight: nobody switches to what some receiver does
// not accept, and nobody forgets what somebody sends with.
func guard(t *testing.T, senders, receivers []*device) {
	sends := func(what string, sa keychain.SA) {
		for _, r := range receivers {
			if _, ok := r.port(sa.Link).accepts[sa.Epoch]; !ok && (what == "switch" || what == "resume") {
				t.Errorf("%s to epoch %d, which %s does not accept", what, sa.Epoch, r.id)
			}
		}
	}
	forgets := func(what string, sa keychain.SA) {
		for _, s := range senders {
			if what == "remove" && s.port(sa.Link).sends.Epoch == sa.Epoch {
				t.Errorf("remove epoch %d, which %s sends with", sa.Epoch, s.id)
			}
		}
	}
	for _, d := range slices.Concat(senders, receivers) {
		d.promise = func(what string, sa keychain.SA) {
			sends(what, sa)
			forgets(what, sa)
		}
	}
}

// killing is how an agent is killed, and what else happens at that moment.
type killing struct {
	name         string
	counterBound bool
	segment      bool // both nodes send and accept
	reboot       bool // the sending device loses keys and counters
	loseDisk     bool // the agent comes back as another one
	loseEtcd     bool // the reports are gone
}

// TestAKillAtAnyPointIsSafe kills the agent before or after each thing that it
// does to the world, starts it again, and sees the story end well.
func TestAKillAtAnyPointIsSafe(t *testing.T) {
	for _, c := range []killing{
		{name: "plain senders"},
		{name: "plain senders that restart", reboot: true},
		{name: "counter-bound senders", counterBound: true},
		{name: "counter-bound senders that restart", counterBound: true, reboot: true},
		{name: "counter-bound senders, and the disk is lost", counterBound: true, loseDisk: true},
		{name: "counter-bound senders that restart, and the disk is lost", counterBound: true, reboot: true, loseDisk: true},
		{name: "counter-bound senders that restart, and the reports are lost", counterBound: true, reboot: true, loseEtcd: true},
		{name: "counter-bound nodes that share a key", counterBound: true, segment: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			points, reused := c.everywhere(t)
			if points < 20 {
				t.Errorf("killed at %d points only", points)
			}
			if c.counterBound && reused > 0 {
				t.Errorf("keys were used again in %d of %d stories", reused, points)
			}
			t.Logf("killed at %d points", points)
		})
	}
}

// TestTheMemoryOfStartedEpochsHasTeeth loses both places where started epochs
// are written down, and must see keys used again.
func TestTheMemoryOfStartedEpochsHasTeeth(t *testing.T) {
	c := killing{counterBound: true, reboot: true, loseDisk: true, loseEtcd: true}
	if points, reused := c.everywhere(t); reused == 0 {
		t.Errorf("killed at %d points, and no key was used again", points)
	}
}

// everywhere plays the story with a kill at every point there is. It counts the
// points, and the stories in which a key was used again from counter zero.
func (c killing) everywhere(t *testing.T) (points, reused int) {
	t.Helper()
	for {
		killed, again := false, 0
		synctest.Test(t, func(t *testing.T) { killed, again = c.at(t, points) })
		if t.Failed() {
			t.Fatalf("killed at point %d", points)
		}
		if !killed {
			return points, reused
		}
		points++
		reused += min(again, 1)
	}
}

// at plays the story with a kill at the k-th point, and reports whether it came
// to that, and how many keys were used again.
func (c killing) at(t *testing.T, k int) (was bool, reused int) {
	w := newWorld(t)
	one, two := w.device("n1"), w.device("n2")
	one.counterBound, two.counterBound = c.counterBound, c.counterBound
	plane := &control{w: w, wanted: 3, state: link.New([]keychain.NodeID{"n1"}, []keychain.NodeID{"n2"})}
	if c.segment {
		both := []keychain.NodeID{"n1", "n2"}
		plane.state = link.New(both, both)
		guard(t, []*device{one, two}, []*device{one, two})
	} else {
		guard(t, []*device{one}, []*device{two})
	}
	plane.stands = func(e keychain.Epoch) bool {
		accepts := slices.Collect(maps.Keys(two.port(theLink).accepts))
		return one.port(theLink).sends.Epoch == e && slices.Equal(accepts, []keychain.Epoch{e})
	}
	w.onRecord = truthful(t, w, one, two)
	dir := t.TempDir()
	dead := fault.New(fault.Unavailable, "the agent is dead")
	point, killed := 0, make(chan struct{})
	w.effect = func(string, bool) error {
		switch {
		case point > k:
			return dead
		case point == k:
			_ = w.last.journal.Close()
			close(killed)
			point++
			return dead
		}
		point++
		return nil
	}
	a := w.start(dir, one.node(), two.node())
	again := make(chan bool)
	over := make(chan struct{})
	go func() {
		select {
		case <-killed:
		case <-over:
			a.stop()
			again <- false
			return
		}
		a.stop()
		w.change(func() {
			w.effect = nil
			if c.loseEtcd {
				clear(w.obs)
			}
		})
		if c.reboot {
			one.reboot()
		}
		if c.loseDisk {
			dir = t.TempDir()
			w.expire("n1") // another instance: it waits for the lease
			w.expire("n2")
		}
		time.Sleep(time.Second)
		a := w.start(dir, one.node(), two.node())
		<-over
		a.stop()
		again <- true
	}()
	plane.story(t)
	time.Sleep(time.Hour) // also for what was in the agent's memory for the other node
	close(over)
	was = <-again
	if !c.loseEtcd || !c.loseDisk {
		receipted(t, w, one, two)
	}
	return was, len(one.reused()) + len(two.reused())
}
