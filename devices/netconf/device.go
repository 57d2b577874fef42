package netconf

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/devices/netconf/client"
	"github.com/keyorch/keyorch/devices/turnstile"
	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/upstream"
)

const (
	// keyLabel and keySize are what is derived for the device from a link key.
	keyLabel = "keyorch/v1 netconf key chain"
	keySize  = 32
)

// Device drives the key chains of one node. It is safe for concurrent use: what is
// asked of it is done one after the other, since the device has one candidate.
type Device struct {
	config
	node     keychain.NodeID
	patience time.Duration

	gate turnstile.Turnstile[struct{}]
	// What follows belongs to whoever is through the gate.
	kept     *session
	waiting  map[string]waiting // by key chain
	unstored bool               // the device has not stored what is running
}

// waiting is a change that waits to be confirmed, as it was first seen.
type waiting struct {
	change string
	since  time.Time
}

// Capabilities is what the device can do.
func (d *Device) Capabilities() keychain.Capabilities { return capabilities() }

// Upstream is the node's sending side.
func (d *Device) Upstream() upstream.Device { return Upstream{d} }

// Downstream is the node's receiving side.
func (d *Device) Downstream() downstream.Device { return Downstream{d} }

// Upstream is a Device in the role of a sender.
type Upstream struct{ *Device }

// Observe implements upstream.Device.
func (u Upstream) Observe(ctx context.Context, id keychain.LinkID) (upstream.Observation, error) {
	var o upstream.Observation
	err := u.look(ctx, id, func(c chain, l link) (err error) {
		o.Holds = c.holds()
		o.Sends, err = c.sent(l.chain)
		return err
	})
	return o, err
}

// Switch implements upstream.Device.
func (u Upstream) Switch(ctx context.Context, sa keychain.SA, key secret.Key) error {
	return u.put(ctx, "switch", sa, key, chain.switchTo)
}

// Downstream is a Device in the role of a receiver.
type Downstream struct{ *Device }

// Observe implements downstream.Device.
func (d Downstream) Observe(ctx context.Context, id keychain.LinkID) (downstream.Observation, error) {
	var o downstream.Observation
	err := d.look(ctx, id, func(c chain, _ link) error {
		o.Accepts = c.accepted()
		return nil
	})
	return o, err
}

// Install implements downstream.Device.
func (d Downstream) Install(ctx context.Context, sa keychain.SA, key secret.Key) error {
	return d.put(ctx, "install", sa, key, chain.install)
}

// Remove implements downstream.Device.
func (d Downstream) Remove(ctx context.Context, sa keychain.SA) error {
	return d.do(ctx, fmt.Sprintf("remove epoch %d", sa.Epoch), sa.Link, func(ctx context.Context, s *session, l link) error {
		return d.change(ctx, s, l, order{link: sa.Link, plan: func(c chain) (*plan, error) { return c.remove(l.chain, sa.Epoch) }})
	})
}

// put is an operation that hands over a key.
func (d *Device) put(ctx context.Context, op string, sa keychain.SA, key secret.Key, f func(c chain, name string, ref keychain.Ref, id uint64) (*plan, error)) error {
	ref, derived, err := keying.Derive(op, d.node, sa, key, keyLabel, keySize)
	if err != nil {
		return err
	}
	defer derived.Wipe()
	return d.do(ctx, fmt.Sprintf("%s epoch %d", op, sa.Epoch), sa.Link, func(ctx context.Context, s *session, l link) error {
		text := l.keyText(derived)
		defer clear(text)
		return d.change(ctx, s, l, order{
			link: sa.Link, key: material{text: text, namespace: s.namespaces[l.module]},
			plan: func(c chain) (*plan, error) { return f(c, l.chain, ref, uint64(sa.Serial.KeyID())) },
		})
	})
}

// look reads the key chain of a link as it stays.
func (d *Device) look(ctx context.Context, id keychain.LinkID, f func(c chain, l link) error) error {
	return d.do(ctx, "observe", id, func(ctx context.Context, s *session, l link) error {
		d.store(ctx, s)
		c, err := d.settled(ctx, s, l)
		if err == nil {
			err = c.judge(l.chain, id)
		}
		if err != nil {
			return err
		}
		return f(c, l)
	})
}

// store has the device store what is running, where an earlier change could not
// have it stored. It is tried again by itself.
func (d *Device) store(ctx context.Context, s *session) {
	if d.unstored && s.Store(ctx) == nil {
		d.unstored = false
	}
}

// Check connects to the device with these fields and looks whether it can be
// driven: capabilities, module, features, and that every key chain can be read. It
// changes nothing. Errors: Invalid, Unavailable, Mismatch.
func Check(ctx context.Context, node keychain.NodeID, fields map[string]any) error {
	d, err := New(node, fields)
	if err != nil {
		return err
	}
	defer d.hangUp()
	for _, id := range slices.Sorted(maps.Keys(d.links)) {
		if err := d.look(ctx, id, func(chain, link) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// running and candidate read a key chain.
func running(ctx context.Context, s *session, l link) (chain, error) {
	return get(ctx, s, l, client.Running)
}

func candidate(ctx context.Context, s *session, l link) (chain, error) {
	return get(ctx, s, l, client.CandidateConfig)
}

func get(ctx context.Context, s *session, l link, from client.Datastore) (chain, error) {
	var t tree
	if err := s.Get(ctx, from, filter(l.chain), &t); err != nil {
		return chain{}, fault.Wrap(fault.Unavailable, err, "read key chain %s from the %s configuration", l.chain, from)
	}
	c, err := chainOf(t, l.chain, time.Now())
	return c, fault.Wrap(fault.Unavailable, err, "read the %s configuration", from)
}
