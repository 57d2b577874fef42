// Package downstreamtest is the one conformance suite for the receiving role of
// a device: what package downstream promises of every Device, seen on this one.
package downstreamtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// Fixture is a new device that accepts nothing yet, and the ways to trouble it.
// A hook that is nil leaves out the checks that need it.
type Fixture struct {
	Device downstream.Device
	// FailNext makes the next Install or Remove fail for certain, with nothing
	// changed.
	FailNext func()
	// HangNext makes the next Install or Remove hang until its context ends;
	// clear takes that back if it has not come to pass.
	HangNext func() (clear func())
	// LoseNext makes the next Install or Remove be carried out and its answer be
	// lost.
	LoseNext func()
	// Reboot restarts the device: its keys are gone unless Capabilities says that
	// they survive.
	Reboot func()
	// Send makes the same node send with a key, and Sends says what it sends with:
	// a node that stands on both sides of a link.
	Send  func(ctx context.Context, sa keychain.SA, key secret.Key) error
	Sends func(ctx context.Context, link keychain.LinkID) (keychain.Ref, error)
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
	check("a new device accepts nothing", func(t *testing.T, x *bench) { x.accepts() })
	check("it accepts what was installed, and what was there before", shows)
	check("installing again changes nothing", again)
	check("another key under an accepted epoch is not taken", otherKey)
	check("a failed install changes nothing", failedInstall)
	check("a failed remove changes nothing", failedRemove)
	check("the last key is not removable", lastKey)
	check("removing what is absent is no error", absent)
	check("an unknown outcome is repeated safely", unknown)
	check("a hanging install ends with its context", hangs)
	check("an ended context is answered promptly", ended)
	check("links do not touch each other", links)
	check("a restart keeps or loses keys as declared", restart)
	check("installing changes nothing that is sent", sendsNothingElse)
	check("a stale turn is not obeyed", stale)
	check("a rotation installs, keeps both, and forgets", rotation)
}

func shows(t *testing.T, x *bench) {
	a, k1 := x.key(1)
	b, k2 := x.key(2)
	x.must(x.Device.Install(t.Context(), b, k2)) // the order in which they come is not the order shown
	x.accepts(b.Ref)
	x.must(x.Device.Install(t.Context(), a, k1))
	x.accepts(a.Ref, b.Ref)
	x.must(x.Device.Remove(t.Context(), a))
	x.accepts(b.Ref)
}

func again(t *testing.T, x *bench) {
	a, k := x.key(1)
	for range 3 {
		x.must(x.Device.Install(t.Context(), a, k))
		x.accepts(a.Ref)
	}
}

func otherKey(t *testing.T, x *bench) {
	a, k := x.key(1)
	x.must(x.Device.Install(t.Context(), a, k))
	other, o := x.key(1)
	if err := x.note(x.Device.Install(t.Context(), other, o)); err == nil {
		t.Error("the device took a second key under epoch 1")
	}
	x.accepts(a.Ref)
}

func failedInstall(t *testing.T, x *bench) {
	if x.FailNext == nil {
		return
	}
	a, k1 := x.key(1)
	b, k2 := x.key(2)
	x.must(x.Device.Install(t.Context(), a, k1))
	x.FailNext()
	x.failsForCertain(x.Device.Install(t.Context(), b, k2))
	x.accepts(a.Ref)
	x.must(x.Device.Install(t.Context(), b, k2))
	x.accepts(a.Ref, b.Ref)
}

func failedRemove(t *testing.T, x *bench) {
	if x.FailNext == nil {
		return
	}
	a, b := x.two()
	x.FailNext()
	x.failsForCertain(x.Device.Remove(t.Context(), a))
	x.accepts(a.Ref, b.Ref)
	x.must(x.Device.Remove(t.Context(), a))
	x.accepts(b.Ref)
}

func lastKey(t *testing.T, x *bench) {
	a, b := x.two()
	x.must(x.Device.Remove(t.Context(), a))
	for range 2 {
		if err := x.note(x.Device.Remove(t.Context(), b)); !fault.Is(err, fault.Refused) {
			t.Errorf("remove the last key: %v (%v), want refused", err, fault.Of(err))
		}
		x.accepts(b.Ref)
	}
}

func absent(t *testing.T, x *bench) {
	a, k := x.key(1)
	gone, _ := x.key(2)
	x.must(x.Device.Remove(t.Context(), gone))
	x.must(x.Device.Install(t.Context(), a, k))
	for range 2 {
		x.must(x.Device.Remove(t.Context(), gone))
	}
	x.accepts(a.Ref)
}

func unknown(t *testing.T, x *bench) {
	if x.LoseNext == nil {
		return
	}
	a, _ := x.two()
	c, k := x.key(3)
	x.must(x.Device.Remove(t.Context(), a))
	before := x.observe()
	for _, op := range []func() error{
		func() error { return x.Device.Install(t.Context(), c, k) },
		func() error { return x.Device.Remove(t.Context(), c) },
	} {
		x.LoseNext()
		if err := x.note(op()); !fault.Is(err, fault.Unknown) {
			t.Errorf("its answer was lost: %v (%v), want unknown", err, fault.Of(err))
		}
		x.must(op())
	}
	x.accepts(before...)
}

func hangs(t *testing.T, x *bench) {
	if x.HangNext == nil {
		return
	}
	a, k1 := x.key(1)
	b, k2 := x.key(2)
	x.must(x.Device.Install(t.Context(), a, k1))
	clear := x.HangNext()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	x.endsWith(ctx, func() error { return x.Device.Install(ctx, b, k2) })
	clear()
	x.consistent(a.Ref, b.Ref)
	x.must(x.Device.Install(t.Context(), b, k2))
	x.accepts(a.Ref, b.Ref)
}

func ended(t *testing.T, x *bench) {
	a, k1 := x.key(1)
	b, k2 := x.key(2)
	x.must(x.Device.Install(t.Context(), a, k1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	x.endsWith(ctx, func() error { return x.Device.Install(ctx, b, k2) })
	x.endsWith(ctx, func() error { return x.Device.Remove(ctx, b) })
	x.endsWith(ctx, func() error { _, err := x.Device.Observe(ctx, theLink); return err })
	x.consistent(a.Ref, b.Ref)
}

func links(t *testing.T, x *bench) {
	var wg sync.WaitGroup
	for i := range 8 {
		link := keychain.LinkID(fmt.Sprintf("link-%d", i))
		a, k1 := x.key(1)
		b, k2 := x.key(2)
		a.Link, b.Link = link, link
		wg.Go(func() {
			for _, err := range []error{
				x.Device.Install(t.Context(), a, k1),
				x.Device.Install(t.Context(), b, k2),
				x.Device.Remove(t.Context(), a),
			} {
				if err != nil {
					t.Errorf("%s: %v", link, err)
				}
			}
			o, err := x.Device.Observe(t.Context(), link)
			if err != nil || !slices.Equal(o.Accepts, []keychain.Ref{b.Ref}) {
				t.Errorf("%s accepts %v (%v), want %v", link, o.Accepts, err, b.Ref)
			}
		})
	}
	wg.Wait()
}

func restart(_ *testing.T, x *bench) {
	if x.Reboot == nil {
		return
	}
	a, b := x.two()
	x.Reboot()
	if x.Device.Capabilities().Survives {
		x.accepts(a.Ref, b.Ref)
	} else {
		x.accepts()
	}
}

func sendsNothingElse(t *testing.T, x *bench) {
	if x.Send == nil || x.Sends == nil {
		return
	}
	a, k1 := x.key(1)
	b, k2 := x.key(2)
	x.must(x.Device.Install(t.Context(), a, k1))
	x.must(x.Send(t.Context(), a, k1))
	x.must(x.Device.Install(t.Context(), b, k2))
	if got, err := x.Sends(t.Context(), theLink); err != nil || got != a.Ref {
		t.Errorf("after installing epoch 2 it sends with %v (%v), want %v", got, err, a.Ref)
	}
}

// stale runs the fence that agents have over this device: a turn below one that
// was obeyed is not obeyed. Without the fence the new key is forgotten, which is
// why there is one.
func stale(t *testing.T, x *bench) {
	a, w1 := x.want(1)
	b, w2 := x.want(2)
	n := &obedient{dev: x.Device}
	early, late := []downstream.Want{w1}, []downstream.Want{w1, w2}
	x.must(n.obey(t.Context(), 2, late))
	if err := n.obey(t.Context(), 1, early); !fault.Is(err, fault.Stale) {
		t.Errorf("turn 1 after turn 2: %v, want stale", err)
	}
	x.accepts(a.Ref, b.Ref)
	unfenced := &obedient{dev: x.Device}
	x.must(unfenced.obey(t.Context(), 1, early))
	x.accepts(a.Ref) // the teeth: nothing but the fence was in the way
}

func rotation(t *testing.T, x *bench) {
	a, w1 := x.want(1)
	b, w2 := x.want(2)
	n := &obedient{dev: x.Device}
	for turn, step := range []struct {
		want []downstream.Want
		show []keychain.Ref
	}{
		{[]downstream.Want{w1}, []keychain.Ref{a.Ref}},
		{[]downstream.Want{w1, w2}, []keychain.Ref{a.Ref, b.Ref}},
		{nil, []keychain.Ref{a.Ref, b.Ref}},
		{[]downstream.Want{w2}, []keychain.Ref{b.Ref}},
	} {
		for range 2 {
			x.must(n.obey(t.Context(), keychain.Turn(turn), step.want))
			x.accepts(step.show...)
		}
	}
}
