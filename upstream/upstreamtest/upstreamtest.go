// Package upstreamtest is the one conformance suite for the sending role of a
// device: what package upstream promises of every Device, seen on this one.
package upstreamtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/upstream"
)

// Fixture is a new device that sends nothing yet, and the ways to trouble it. A
// hook that is nil leaves out the checks that need it.
type Fixture struct {
	Device upstream.Device
	// FailNext makes the next Switch fail for certain, with nothing changed.
	FailNext func()
	// HangNext makes the next Switch hang until its context ends; clear takes that
	// back if it has not come to pass.
	HangNext func() (clear func())
	// LoseNext makes the next Switch be carried out and its answer be lost.
	LoseNext func()
	// Reboot restarts the device: its keys are gone unless Capabilities says that
	// they survive, and every counter is.
	Reboot func()
	// Reused counts the packets that went out with a key and a counter that had
	// been used before. Where there is traffic, it lets some pass before it
	// answers: the suite calls it after each change, so that every counter has
	// moved before the next.
	Reused func() int
	// Logs is all that the device has logged.
	Logs func() string
}

// Run runs the suite. open makes a new Fixture for every check.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	check := func(name string, f func(t *testing.T, x *bench)) {
		t.Run(name, func(t *testing.T) {
			x := &bench{T: t, Fixture: open(t)}
			f(t, x)
			x.sealed()
		})
	}
	check("the device can be staged", func(t *testing.T, x *bench) {
		if why := x.Device.Capabilities().CannotStage(); why != "" {
			t.Error(why)
		}
	})
	check("a new device sends nothing", func(t *testing.T, x *bench) { x.sends(keychain.Ref{}) })
	check("it sends with the key that it was switched to", shows)
	check("switching to the key in use changes nothing", again)
	check("another key under the epoch in use is not taken", otherKey)
	check("a failed switch keeps the old key", failed)
	check("an unknown outcome is repeated safely", unknown)
	check("a hanging switch ends with its context", hangs)
	check("an ended context is answered promptly", ended)
	check("links do not touch each other", links)
	check("a restart keeps or loses keys as declared", restart)
	check("a stale turn is not obeyed", stale)
	check("sending goes back to the key before", goesBack)
	check("a lost counter is never put back", lostCounter)
	check("what it can go back to, it says that it holds", holds)
}

func shows(_ *testing.T, x *bench) {
	for e := range keychain.Epoch(3) {
		sa, k := x.key(e + 1)
		x.must(x.Device.Switch(x.Context(), sa, k))
		x.sends(sa.Ref)
	}
}

func again(t *testing.T, x *bench) {
	sa, k := x.key(1)
	for range 3 {
		x.must(x.Device.Switch(t.Context(), sa, k))
		x.sends(sa.Ref)
		x.noReuse()
	}
}

func otherKey(t *testing.T, x *bench) {
	sa, k := x.key(1)
	x.must(x.Device.Switch(t.Context(), sa, k))
	other, o := x.key(1)
	if err := x.note(x.Device.Switch(t.Context(), other, o)); err == nil {
		t.Error("the device took a second key under epoch 1")
	}
	x.sends(sa.Ref)
}

func failed(t *testing.T, x *bench) {
	if x.FailNext == nil {
		return
	}
	old, k := x.key(1)
	x.must(x.Device.Switch(t.Context(), old, k))
	sa, k := x.key(2)
	x.FailNext()
	err := x.note(x.Device.Switch(t.Context(), sa, k))
	if err == nil || fault.Is(err, fault.Unknown) {
		t.Errorf("a switch that failed for certain says: %v (%v)", err, fault.Of(err))
	}
	x.sends(old.Ref)
	x.must(x.Device.Switch(t.Context(), sa, k))
	x.sends(sa.Ref)
}

func unknown(t *testing.T, x *bench) {
	if x.LoseNext == nil {
		return
	}
	sa, k := x.key(1)
	x.LoseNext()
	if err := x.note(x.Device.Switch(t.Context(), sa, k)); !fault.Is(err, fault.Unknown) {
		t.Errorf("a switch whose answer was lost says: %v (%v), want unknown", err, fault.Of(err))
	}
	x.noReuse()
	x.must(x.Device.Switch(t.Context(), sa, k))
	x.sends(sa.Ref)
	x.noReuse()
}

func hangs(t *testing.T, x *bench) {
	if x.HangNext == nil {
		return
	}
	old, k := x.key(1)
	x.must(x.Device.Switch(t.Context(), old, k))
	sa, k := x.key(2)
	clear := x.HangNext()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	x.endsWith(ctx, func() error { return x.Device.Switch(ctx, sa, k) })
	clear()
	if got := x.observe().Sends; got != old.Ref && got != sa.Ref {
		t.Errorf("after a switch that was broken off it sends with %v: neither %v nor %v", got, old.Ref, sa.Ref)
	}
	x.must(x.Device.Switch(t.Context(), sa, k))
	x.sends(sa.Ref)
}

func ended(t *testing.T, x *bench) {
	old, k := x.key(1)
	x.must(x.Device.Switch(t.Context(), old, k))
	sa, k := x.key(2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	x.endsWith(ctx, func() error { return x.Device.Switch(ctx, sa, k) })
	x.endsWith(ctx, func() error { _, err := x.Device.Observe(ctx, theLink); return err })
	if got := x.observe().Sends; got != old.Ref && got != sa.Ref {
		t.Errorf("it sends with %v: neither %v nor %v", got, old.Ref, sa.Ref)
	}
}

func links(t *testing.T, x *bench) {
	var next []func()
	for i := range 8 {
		link := keychain.LinkID(fmt.Sprintf("link-%d", i))
		old, k := x.key(1)
		old.Link = link
		x.must(x.Device.Switch(t.Context(), old, k))
		sa, k := x.key(2)
		sa.Link = link
		next = append(next, func() {
			if err := x.Device.Switch(t.Context(), sa, k); err != nil {
				t.Errorf("%s: %v", link, err)
			}
			o, err := x.Device.Observe(t.Context(), link)
			if err != nil || o.Sends != sa.Ref {
				t.Errorf("%s sends with %v (%v), want %v", link, o.Sends, err, sa.Ref)
			}
		})
	}
	var wg sync.WaitGroup
	for _, f := range next {
		wg.Go(f)
	}
	wg.Wait()
}

func restart(t *testing.T, x *bench) {
	if x.Reboot == nil {
		return
	}
	sa, k := x.key(1)
	x.must(x.Device.Switch(t.Context(), sa, k))
	x.Reboot()
	if x.Device.Capabilities().Survives {
		x.sends(sa.Ref)
	} else {
		x.sends(keychain.Ref{})
	}
}

// stale runs the fence that agents have over this device: a turn below one that
// was obeyed is not obeyed. Without the fence the device goes back, which is why
// there is one.
func stale(t *testing.T, x *bench) {
	old, k1 := x.want(1, 1)
	sa, k2 := x.want(2, 2)
	n := &obedient{dev: x.Device, ledger: &Ledger{}}
	x.must(n.obey(t.Context(), k2))
	if err := n.obey(t.Context(), k1); !fault.Is(err, fault.Stale) {
		t.Errorf("turn 1 after turn 2: %v, want stale", err)
	}
	x.sends(sa.Ref)
	if _, err := upstream.Send(t.Context(), x.Device, theLink, k1, n.ledger); err != nil {
		t.Fatal(err)
	}
	x.sends(old.Ref) // the teeth: nothing but the fence was in the way
}

func goesBack(t *testing.T, x *bench) {
	ledger := &Ledger{}
	old, w1 := x.want(1, 1)
	_, w2 := x.want(2, 2)
	for _, w := range []upstream.Want{w1, w2} {
		x.must(x.send(w, ledger))
		x.noReuse()
	}
	err := x.send(w1, ledger)
	switch {
	case err == nil:
		x.sends(old.Ref)
	case !x.Device.Capabilities().CounterBound || !errors.Is(err, upstream.ErrLost):
		t.Errorf("go back to epoch 1: %v", err)
	}
	x.noReuse()
}

func lostCounter(t *testing.T, x *bench) {
	if x.Reboot == nil || !x.Device.Capabilities().CounterBound || x.Device.Capabilities().Survives {
		return
	}
	ledger := &Ledger{}
	_, w1 := x.want(1, 1)
	next, w2 := x.want(2, 2)
	x.must(x.send(w1, ledger))
	x.noReuse()
	x.Reboot()
	for range 2 {
		if err := x.send(w1, ledger); !errors.Is(err, upstream.ErrLost) || !fault.Is(err, fault.Refused) {
			t.Errorf("send with a lost epoch: %v (%v), want refused", err, fault.Of(err))
		}
		x.sends(keychain.Ref{})
	}
	x.must(x.send(w2, ledger))
	x.sends(next.Ref)
	x.noReuse()
}
