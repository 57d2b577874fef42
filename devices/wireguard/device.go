package wireguard

import (
	"context"
	"slices"
	"time"

	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/devices/turnstile"
	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/upstream"
)

// grace is how long an operation whose context has ended may still take to tidy
// up and to say what became of it.
const grace = 2 * time.Second

// Device is one node's WireGuard. It is safe for concurrent use; operations on
// one link wait for each other.
type Device struct {
	config
	node keychain.NodeID
	open func() (system, error)

	busy turnstile.Turnstile[keychain.LinkID]
}

// Capabilities is what a pair of interfaces can do.
func (d *Device) Capabilities() keychain.Capabilities { return capabilities() }

// Upstream is the node's sending side.
func (d *Device) Upstream() upstream.Device { return Upstream{d} }

// Downstream is the node's receiving side.
func (d *Device) Downstream() downstream.Device { return Downstream{d} }

// Upstream is a Device in the role of a sender.
type Upstream struct{ *Device }

// Observe implements upstream.Device. It sends with the key of the slot to which
// every route of the link leads.
func (u Upstream) Observe(ctx context.Context, link keychain.LinkID) (upstream.Observation, error) {
	return operate(ctx, u.Device, "observe", link, func(_ context.Context, o operation) (upstream.Observation, error) {
		slots, err := o.look()
		if err != nil {
			return upstream.Observation{}, err
		}
		sends, err := o.sends(slots)
		return upstream.Observation{Sends: sends, Holds: accepted(slots)}, err
	})
}

// Switch implements upstream.Device.
func (u Upstream) Switch(ctx context.Context, sa keychain.SA, key secret.Key) error {
	ref, psk, err := keying.Derive("switch", u.node, sa, key, pskLabel, secret.Size)
	if err != nil {
		return err
	}
	_, err = operate(ctx, u.Device, "switch", sa.Link, func(ctx context.Context, o operation) (struct{}, error) {
		defer psk.Wipe()
		return struct{}{}, o.switchTo(ctx, keyOf(sa, ref, psk))
	})
	return err
}

// Downstream is a Device in the role of a receiver.
type Downstream struct{ *Device }

// Observe implements downstream.Device.
func (d Downstream) Observe(ctx context.Context, link keychain.LinkID) (downstream.Observation, error) {
	return operate(ctx, d.Device, "observe", link, func(_ context.Context, o operation) (downstream.Observation, error) {
		slots, err := o.look()
		return downstream.Observation{Accepts: accepted(slots)}, err
	})
}

// Install implements downstream.Device.
func (d Downstream) Install(ctx context.Context, sa keychain.SA, key secret.Key) error {
	ref, psk, err := keying.Derive("install", d.node, sa, key, pskLabel, secret.Size)
	if err != nil {
		return err
	}
	_, err = operate(ctx, d.Device, "install", sa.Link, func(ctx context.Context, o operation) (struct{}, error) {
		defer psk.Wipe()
		return struct{}{}, o.install(ctx, keyOf(sa, ref, psk))
	})
	return err
}

// Remove implements downstream.Device.
func (d Downstream) Remove(ctx context.Context, sa keychain.SA) error {
	_, err := operate(ctx, d.Device, "remove", sa.Link, func(ctx context.Context, o operation) (struct{}, error) {
		return struct{}{}, o.remove(ctx, sa.Epoch)
	})
	return err
}

// operation is one operation on one link.
type operation struct {
	system
	op   string
	node keychain.NodeID
	link keychain.LinkID
	linkConfig
}

// operate does f when nobody else is busy with link. Calls into the host take no
// context, and one of a daemon that hangs does not come back. So f runs on its
// own, and keeps others from the link until it has really ended, also when the
// caller has long been told that the outcome is unknown.
func operate[T any](ctx context.Context, d *Device, op string, link keychain.LinkID, f func(context.Context, operation) (T, error)) (T, error) {
	var none T
	l, ok := d.links[link]
	if !ok {
		return none, params.NoLink(link)
	}
	leave, err := d.busy.Enter(ctx, link)
	if err != nil {
		return none, fault.Wrap(fault.Unavailable, err, "%s %s on %s was not begun", op, link, d.node)
	}
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		defer leave()
		sys, err := d.open()
		if err != nil {
			done <- outcome{err: err}
			return
		}
		defer sys.Close()
		value, err := f(ctx, operation{system: sys, op: op, node: d.node, link: link, linkConfig: l})
		done <- outcome{value, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
	}
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case o := <-done:
		return o.value, o.err
	case <-late.C:
		return none, fault.Wrap(fault.Unknown, ctx.Err(), "%s %s on %s: WireGuard does not answer", op, link, d.node)
	}
}

// look reads both slots. An interface that is not there holds nothing.
func (o operation) look() ([slotsOfLink]slot, error) {
	var slots [slotsOfLink]slot
	for i := range slots {
		s, err := o.read(i)
		if err != nil {
			return slots, err
		}
		slots[i] = s
	}
	return slots, nil
}

func (o operation) read(i int) (slot, error) {
	s := slot{name: o.interfaces[i]}
	seen, err := o.Interface(s.name)
	if err != nil || !seen.exists {
		return s, err
	}
	s.exists, s.up = true, seen.up
	s.note, s.ours = parseNote(seen.alias)
	s.peer, err = o.Peer(s.name, o.linkConfig.peer)
	return s, err
}

// accepted is what the slots accept, sorted by epoch.
func accepted(slots [slotsOfLink]slot) []keychain.Ref {
	var refs []keychain.Ref
	for _, s := range slots {
		if ref := s.holds(); !ref.IsZero() {
			refs = append(refs, ref)
		}
	}
	slices.SortFunc(refs, func(a, b keychain.Ref) int {
		if a.Epoch < b.Epoch {
			return -1
		}
		return 1
	})
	return refs
}

// sends is the key of the slot to which every route leads. Routes that lead to
// different slots are a switch that was broken off: nothing is in use until it is
// done again.
func (o operation) sends(slots [slotsOfLink]slot) (keychain.Ref, error) {
	name := ""
	for i, dst := range o.routes {
		leads, err := o.Route(dst)
		if err != nil {
			return keychain.Ref{}, err
		}
		if i > 0 && leads != name {
			return keychain.Ref{}, nil
		}
		name = leads
	}
	for _, s := range slots {
		if name != "" && s.name == name {
			return s.holds(), nil
		}
	}
	return keychain.Ref{}, nil
}
