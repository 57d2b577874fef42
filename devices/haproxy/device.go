package haproxy

import (
	"context"
	"slices"
	"strings"

	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/devices/turnstile"
	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/upstream"
)

// Device is the HAProxy of one node. It is safe for concurrent use. Calls wait for
// each other, also for different links: a reload is about all rings.
type Device struct {
	config
	node keychain.NodeID
	gate turnstile.Turnstile[struct{}]
}

// ticketLabel is that of what is derived from a link key: all but the name of a
// ticket key. Every node of a link derives the same.
const ticketLabel = "keyorch/v1 haproxy ticket key"

// Capabilities is what HAProxy can do.
func (d *Device) Capabilities() keychain.Capabilities { return capabilities() }

// Upstream is the node's sending side: how it seals the tickets that it issues.
func (d *Device) Upstream() upstream.Device { return Upstream{d} }

// Downstream is the node's receiving side: which tickets it opens.
func (d *Device) Downstream() downstream.Device { return Downstream{d} }

// Upstream is a Device in the role of a sender.
type Upstream struct{ *Device }

// Observe implements upstream.Device. HAProxy counts no tickets by key.
func (u Upstream) Observe(ctx context.Context, link keychain.LinkID) (upstream.Observation, error) {
	r, err := u.observe(ctx, link)
	if err != nil {
		return upstream.Observation{}, err
	}
	if err := u.links[link].prove(ctx, r[sealing]); err != nil {
		return upstream.Observation{}, fault.Wrap(fault.Of(err), err, "observe %s on %s", link, u.node)
	}
	return upstream.Observation{Sends: r.sends(), Holds: r.accepts()}, nil
}

// Switch implements upstream.Device.
func (u Upstream) Switch(ctx context.Context, sa keychain.SA, key secret.Key) error {
	ticket, ref, err := u.derive("switch", sa, key)
	if err != nil {
		return err
	}
	defer ticket.Wipe()
	return u.alter(ctx, "switch", sa, func(k keys) (goal, error) {
		if err := matches(k, ref, ticket); err != nil {
			return goal{}, err
		}
		g := withKey(k.names(), ref)
		g.sends = ref
		return g, nil
	}, ticket)
}

// Downstream is a Device in the role of a receiver.
type Downstream struct{ *Device }

// Observe implements downstream.Device. HAProxy counts no tickets by key.
func (d Downstream) Observe(ctx context.Context, link keychain.LinkID) (downstream.Observation, error) {
	r, err := d.observe(ctx, link)
	return downstream.Observation{Accepts: r.accepts()}, err
}

// Install implements downstream.Device.
func (d Downstream) Install(ctx context.Context, sa keychain.SA, key secret.Key) error {
	ticket, ref, err := d.derive("install", sa, key)
	if err != nil {
		return err
	}
	defer ticket.Wipe()
	return d.alter(ctx, "install", sa, func(k keys) (goal, error) {
		return withKey(k.names(), ref), matches(k, ref, ticket)
	}, ticket)
}

// Remove implements downstream.Device. The key that tickets are issued with is
// Refused too: another has to be switched to first.
func (d Downstream) Remove(ctx context.Context, sa keychain.SA) error {
	return d.alter(ctx, "remove", sa, func(k keys) (goal, error) {
		r := k.names()
		g := without(r, sa.Epoch)
		switch {
		case len(g.accepts) == len(r.accepts()):
		case len(g.accepts) == 0:
			return goal{}, fault.New(fault.Refused, "it is the last key")
		case r.sends().Epoch == sa.Epoch:
			return goal{}, fault.New(fault.Refused, "tickets are issued with it")
		}
		return g, nil
	})
}

// matches is Mismatch when the ring has another key under the epoch of ref.
func matches(k keys, ref keychain.Ref, ticket secret.Key) error {
	names := k.names()
	for i, n := range names {
		switch got := n.ref(); {
		case got.Epoch != ref.Epoch:
		case got.KCV != ref.KCV:
			return fault.New(fault.Mismatch, "the ring has another key under epoch %d: its KCV is %s, not %s", ref.Epoch, got.KCV, ref.KCV)
		case !k[i].Equal(ticket):
			return fault.New(fault.Mismatch, "the ring has other bytes under the name of epoch %d", ref.Epoch)
		}
	}
	return nil
}

// derive makes a link key into a ticket key with its name.
func (d *Device) derive(op string, sa keychain.SA, key secret.Key) (secret.Key, keychain.Ref, error) {
	ref, material, err := keying.Derive(op, d.node, sa, key, ticketLabel, keySize-nameSize)
	if err != nil {
		return secret.Key{}, ref, err
	}
	defer material.Wipe()
	b := make([]byte, 0, keySize)
	n := nameOf(ref)
	b = append(b, n[:]...)
	_ = material.Use(func(m []byte) error { b = append(b, m...); return nil })
	return secret.New(b), ref, nil
}

// observe is the ring of the worker in charge, which a restart brings back.
func (d *Device) observe(ctx context.Context, link keychain.LinkID) (ring, error) {
	s, ok := d.links[link]
	if !ok {
		return ring{}, params.NoLink(link)
	}
	failed := func(err error) (ring, error) {
		return ring{}, fault.Wrap(fault.Of(err), err, "observe %s on %s", link, d.node)
	}
	leave, err := d.gate.Enter(ctx, struct{}{})
	if err != nil {
		return failed(fault.Wrap(fault.Unavailable, err, "nothing was asked"))
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	k, err := d.look(ctx, s)
	if err != nil {
		return failed(err)
	}
	defer k.wipe()
	return k.names(), nil
}

// tries bounds how often a ring is looked at for one call: no goal is more than
// three pushes away, and HAProxy may be reloaded by others meanwhile.
const tries = 8

// look reads the ring of the worker in charge, and sees to it that the key file had
// it before it was read. The caller wipes it.
func (d *Device) look(ctx context.Context, s shared) (keys, error) {
	for range tries {
		k, err := d.tell().ring(ctx, s.ring)
		if err != nil {
			return keys{}, err
		}
		if len(k.names().accepts()) == 0 {
			return k, nil // the file is the operator's still
		}
		same, err := s.holds(k)
		if err == nil && same {
			return k, nil
		}
		if err == nil {
			err = s.write(k)
		}
		k.wipe()
		if err != nil {
			return keys{}, fault.New(fault.Unavailable, "%w", err)
		}
	}
	return keys{}, fault.New(fault.Unavailable, "the ring %s changes all the time: does somebody else push keys into it?", s.ring)
}

func (d *Device) tell() master { return master{d.master} }

// others are the rings of this device but for one, in order.
func (d *Device) others(s shared) []shared {
	var rest []shared
	for _, o := range d.links {
		if o.file != s.file {
			rest = append(rest, o)
		}
	}
	slices.SortFunc(rest, func(a, b shared) int { return strings.Compare(a.file, b.file) })
	return rest
}
