package wireguard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

func install(t *testing.T, d *Device, keys ...linkKey) {
	t.Helper()
	for _, k := range keys {
		if err := d.Downstream().Install(t.Context(), k.SA, k.key); err != nil {
			t.Fatal(err)
		}
	}
}

func accepts(t *testing.T, d *Device, want ...keychain.Ref) {
	t.Helper()
	o, err := d.Downstream().Observe(t.Context(), theLink)
	if err != nil || !slices.Equal(o.Accepts, want) {
		t.Errorf("it accepts %v (%v), want %v", o.Accepts, err, want)
	}
}

func sends(t *testing.T, d *Device, want keychain.Ref) {
	t.Helper()
	o, err := d.Upstream().Observe(t.Context(), theLink)
	if err != nil || o.Sends != want {
		t.Errorf("it sends with %v (%v), want %v", o.Sends, err, want)
	}
}

func TestARotationInBothDirections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.hosts[0].device(t), w.hosts[1].device(t)
		old, next := key(t, 1), key(t, 2)
		install(t, a, old, next)
		install(t, b, old, next)
		for _, k := range []linkKey{old, next, old, next} {
			for _, d := range []*Device{a, b} {
				if err := d.Upstream().Switch(t.Context(), k.SA, k.key); err != nil {
					t.Fatal(err)
				}
				sends(t, d, k.Ref)
			}
		}
		if err := a.Downstream().Remove(t.Context(), old.SA); err != nil {
			t.Fatal(err)
		}
		accepts(t, a, next.Ref)
		if i := w.hosts[0].interfaces["wg0b"]; i.up || i.alias != "" || i.psk != (wgtypes.Key{}) || i.keepalive != 0 || !i.asMade() {
			t.Errorf("what is left of the old key: %+v", i.netif)
		}
	})
}

func TestNoHandshakeNoSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.hosts[0].device(t), w.hosts[1].device(t)
		old, next := key(t, 1), key(t, 2)
		install(t, b, old)
		if err := a.Upstream().Switch(t.Context(), old.SA, old.key); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err := a.Upstream().Switch(t.Context(), next.SA, next.key)
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(fmt.Sprint(err), "no handshake with its peer over wg0a within 10s: does the peer have epoch 2?") {
			t.Errorf("switch: %v (%v)", err, fault.Of(err))
		}
		if took := time.Since(began); took < leastHandshakeTimeout {
			t.Errorf("it gave up after %v", took)
		}
		sends(t, a, old.Ref)
		accepts(t, a, old.Ref) // a node that only sends has put the key there itself, and takes it away
		install(t, a, next)
		if err := a.Upstream().Switch(t.Context(), next.SA, next.key); err == nil {
			t.Error("a key that the node accepts with was taken for one that its peer has")
		}
		accepts(t, a, old.Ref, next.Ref)
		if i := w.hosts[0].interfaces["wg0a"]; i.keepalive != 0 || !i.asMade() {
			t.Errorf("what is left of the wait: %+v", i)
		}
	})
}

// TestAHandshakeOfTheOldKeyConfirmsNothing is about a slot whose last handshake
// was made with the key that stood in it before.
func TestAHandshakeOfTheOldKeyConfirmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.hosts[0].device(t), w.hosts[1].device(t)
		one, two, three := key(t, 1), key(t, 2), key(t, 3)
		install(t, b, one, two)
		for _, k := range []linkKey{one, two} {
			if err := a.Upstream().Switch(t.Context(), k.SA, k.key); err != nil {
				t.Fatal(err)
			}
		}
		err := a.Upstream().Switch(t.Context(), three.SA, three.key)
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("switch to a key that the peer lacks: %v", err)
		}
		sends(t, a, two.Ref)
	})
}

// TestAnyStepMayBeTheLast breaks every operation off before and after each of its
// steps, and wants the same operation, or the one for the next key, to succeed.
func TestAnyStepMayBeTheLast(t *testing.T) {
	old, next, later := key(t, 1), key(t, 2), keyAs(t, 3, 2) // epoch 2 was aborted, its Serial is used again
	operations := map[string]func(context.Context, *Device) error{
		"install": func(ctx context.Context, d *Device) error { return d.Downstream().Install(ctx, next.SA, next.key) },
		"switch":  func(ctx context.Context, d *Device) error { return d.Upstream().Switch(ctx, next.SA, next.key) },
		"remove":  func(ctx context.Context, d *Device) error { return d.Downstream().Remove(ctx, old.SA) },
	}
	for name, op := range operations {
		for _, lost := range []bool{false, true} {
			broken := true
			for step := 0; broken; step++ {
				t.Run(fmt.Sprintf("%s, step %d, lost %v", name, step, lost), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { broken = breakOff(t, op, name, step, lost, old, next, later) })
				})
				if step > 50 {
					t.Fatal("it has no end")
				}
			}
		}
	}
}

func breakOff(t *testing.T, op func(context.Context, *Device) error, name string, step int, lost bool, old, next, later linkKey) (broken bool) {
	w := newWorld(t)
	h := w.hosts[0]
	a, b := h.device(t), w.hosts[1].device(t)
	install(t, b, old, next)
	install(t, a, old)
	if err := a.Upstream().Switch(t.Context(), old.SA, old.key); err != nil {
		t.Fatal(err)
	}
	if name == "remove" {
		install(t, a, next)
		if err := a.Upstream().Switch(t.Context(), next.SA, next.key); err != nil {
			t.Fatal(err)
		}
	}
	calls := 0
	cut := func(err error) func(string) error {
		return func(string) error { // from this step on, nothing is done any more: a crash
			if calls++; calls > step {
				return err
			}
			return nil
		}
	}
	if lost {
		h.after = func(string) error {
			if calls++; calls == step+1 {
				return errLost
			}
			return nil
		}
	} else {
		h.before = cut(errCut)
	}
	err := op(t.Context(), a)
	broken = err != nil
	h.before, h.after = nil, nil
	if name != "remove" {
		o, seeing := a.Downstream().Observe(t.Context(), theLink)
		if seeing != nil || len(o.Accepts) == 0 || o.Accepts[0] != old.Ref {
			t.Errorf("the old key is gone: %v (%v)", o.Accepts, seeing)
		}
	}
	again := later // also after a crash, the next key needs nobody to clean up
	if err := op(t.Context(), a); err != nil {
		t.Errorf("again: %v", err)
	}
	if name == "remove" {
		accepts(t, a, next.Ref)
		return broken
	}
	if name == "switch" {
		sends(t, a, next.Ref)
		if h.interfaces["wg0a"].keepalive != 0 {
			t.Error("the keepalive was left on")
		}
		if err := a.Upstream().Switch(t.Context(), old.SA, old.key); err != nil {
			t.Fatal(err)
		}
	}
	install(t, a, again)
	accepts(t, a, old.Ref, again.Ref)
	return broken
}

func TestWhatAnOperatorCanMendIsSaidAndTriedAgain(t *testing.T) {
	for _, c := range []struct {
		what   string
		break_ func(i map[string]*fakeInterface)
		says   string
	}{
		{"no interface", func(i map[string]*fakeInterface) { delete(i, "wg0a") }, "interface wg0a does not exist: make it"},
		{"no peer", func(i map[string]*fakeInterface) { i["wg0a"].noPeer = true }, "interface wg0a has no peer "},
		{"a stranger's key", func(i map[string]*fakeInterface) { i["wg0a"].psk = wgtypes.Key{1} }, "a pre-shared key that keyorch did not put there"},
		{"swapped", func(i map[string]*fakeInterface) { i["wg0a"], i["wg0b"] = i["wg0b"], i["wg0a"] }, "holds epoch 1, which belongs into the other one"},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := newWorld(t).hosts[0]
			d := h.device(t)
			old, next := key(t, 1), key(t, 2)
			install(t, d, old)
			c.break_(h.interfaces)
			err := d.Downstream().Install(t.Context(), next.SA, next.key)
			if !fault.Is(err, fault.Unavailable) || !strings.Contains(fmt.Sprint(err), "install epoch 2 on n1: ") || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("install: %v (%v)", err, fault.Of(err))
			}
			accepts(t, d, old.Ref)
		})
	}
}

// TestAKeyThatWasLeftBehindMakesRoom is a node that comes back after the link has
// gone on without it: its key stands where a newer one belongs, and the routes
// lead there.
func TestAKeyThatWasLeftBehindMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.hosts[0].device(t), w.hosts[1].device(t)
		stale, from, to := key(t, 2), key(t, 7), key(t, 8)
		install(t, a, stale)
		install(t, b, stale)
		if err := a.Upstream().Switch(t.Context(), stale.SA, stale.key); err != nil {
			t.Fatal(err)
		}
		install(t, b, from, to)
		install(t, a, from, to)
		accepts(t, a, from.Ref, to.Ref)
		sends(t, a, keychain.Ref{}) // not with the key that took the place
		if len(w.hosts[0].routes) != 2 {
			t.Error("without its route, a packet would take the default one")
		}
		if err := a.Upstream().Switch(t.Context(), from.SA, from.key); err != nil {
			t.Fatal(err)
		}
		sends(t, a, from.Ref)
		if err := a.Downstream().Install(t.Context(), stale.SA, stale.key); !fault.Is(err, fault.Unavailable) {
			t.Errorf("an older key took the place of a newer one: %v", err)
		}
	})
}

func TestAChangedPSKIsNotOurs(t *testing.T) {
	h := newWorld(t).hosts[0]
	d := h.device(t)
	old, next := key(t, 1), key(t, 2)
	install(t, d, old, next)
	h.interfaces["wg0a"].psk[0] ^= 1
	accepts(t, d, old.Ref)
	install(t, d, next) // the slot is ours, so it is mended
	accepts(t, d, old.Ref, next.Ref)
}

func TestRemoveLeavesWhatIsNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.hosts[0].device(t), w.hosts[1].device(t)
		old, next := key(t, 1), key(t, 2)
		install(t, a, old, next)
		install(t, b, old, next)
		if err := a.Upstream().Switch(t.Context(), old.SA, old.key); err != nil {
			t.Fatal(err)
		}
		if err := a.Downstream().Remove(t.Context(), old.SA); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "still leads to wg0b") {
			t.Errorf("remove the key that is sent with: %v", err)
		}
		accepts(t, a, old.Ref, next.Ref)
		if err := b.Downstream().Remove(t.Context(), old.SA); err != nil {
			t.Fatal(err)
		}
		if err := b.Downstream().Remove(t.Context(), next.SA); !fault.Is(err, fault.Refused) {
			t.Errorf("remove the last key: %v", err)
		}
	})
}

func TestRoutesThatDisagreeSendNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.hosts[0].device(t), w.hosts[1].device(t)
		old, next := key(t, 1), key(t, 2)
		install(t, b, old, next)
		for _, k := range []linkKey{old, next} {
			if err := a.Upstream().Switch(t.Context(), k.SA, k.key); err != nil {
				t.Fatal(err)
			}
		}
		for dst := range w.hosts[0].routes {
			w.hosts[0].routes[dst] = "wg0b"
			break
		}
		sends(t, a, keychain.Ref{})
		if err := a.Upstream().Switch(t.Context(), old.SA, old.key); err != nil {
			t.Fatal(err)
		}
		sends(t, a, old.Ref)
	})
}

// TestADaemonThatHangs keeps the link to itself until it has answered.
func TestADaemonThatHangs(t *testing.T) {
	h := newWorld(t).hosts[0]
	d := h.device(t)
	old, next := key(t, 1), key(t, 2)
	install(t, d, old)
	ctx, cancel := context.WithCancel(t.Context())
	hang := make(chan struct{})
	d.open = func() (system, error) { cancel(); <-hang; return h, nil }
	err := d.Downstream().Install(ctx, next.SA, next.key)
	if !fault.Is(err, fault.Unknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("install: %v (%v)", err, fault.Of(err))
	}
	if err := d.Downstream().Install(ctx, next.SA, next.key); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a second operation beside one that hangs: %v", err)
	}
	close(hang)
	accepts(t, d, old.Ref) // broken off before its first step
}
