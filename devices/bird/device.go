package bird

import (
	"bytes"
	"context"

	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/devices/turnstile"
	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/upstream"
)

// Device is the BIRD of one node. It is safe for concurrent use. A link is looked
// at or changed by one at a time, and changes of different links wait for each
// other too: BIRD reads its whole configuration for each.
type Device struct {
	config
	node keychain.NodeID

	gates  turnstile.Turnstile[keychain.LinkID]
	change turnstile.Turnstile[string] // by socket: there is one
}

// Labels of what is derived from a link key. Routers of a segment derive the same.
const (
	ospfLabel = "keyorch/v1 bird ospf password"
	bfdLabel  = "keyorch/v1 bird bfd password"
)

// Capabilities is what BIRD can do.
func (d *Device) Capabilities() keychain.Capabilities { return capabilities() }

// Upstream is the node's sending side.
func (d *Device) Upstream() upstream.Device { return Upstream{d} }

// Downstream is the node's receiving side.
func (d *Device) Downstream() downstream.Device { return Downstream{d} }

// Upstream is a Device in the role of a sender.
type Upstream struct{ *Device }

// Observe implements upstream.Device. BIRD counts no packets by key.
func (u Upstream) Observe(ctx context.Context, link keychain.LinkID) (upstream.Observation, error) {
	c, err := u.observe(ctx, link)
	return upstream.Observation{Sends: c.sends, Holds: c.accepts}, err
}

// Switch implements upstream.Device.
func (u Upstream) Switch(ctx context.Context, sa keychain.SA, material secret.Key) error {
	k, err := u.derive("switch", sa, material)
	if err != nil {
		return err
	}
	defer k.wipe()
	return u.alter(ctx, "switch", sa, func(s state) (state, error) {
		s, err := s.with(k)
		if err == nil {
			s.Sends = k.Epoch
		}
		return s, err
	})
}

// Downstream is a Device in the role of a receiver.
type Downstream struct{ *Device }

// Observe implements downstream.Device. BIRD counts no packets by key.
func (d Downstream) Observe(ctx context.Context, link keychain.LinkID) (downstream.Observation, error) {
	c, err := d.observe(ctx, link)
	return downstream.Observation{Accepts: c.accepts}, err
}

// Install implements downstream.Device.
func (d Downstream) Install(ctx context.Context, sa keychain.SA, material secret.Key) error {
	k, err := d.derive("install", sa, material)
	if err != nil {
		return err
	}
	defer k.wipe()
	return d.alter(ctx, "install", sa, func(s state) (state, error) { return s.with(k) })
}

// Remove implements downstream.Device.
func (d Downstream) Remove(ctx context.Context, sa keychain.SA) error {
	return d.alter(ctx, "remove", sa, func(s state) (state, error) { return s.without(sa.Epoch) })
}

// derive makes the key of a link into the passwords of BIRD.
func (d *Device) derive(op string, sa keychain.SA, material secret.Key) (key, error) {
	k := key{ID: sa.Serial.KeyID(), Algorithm: d.links[sa.Link].algorithm}
	for _, p := range []struct {
		label string
		size  int
		to    *[]byte
	}{{ospfLabel, ospfSize, &k.OSPF}, {bfdLabel, bfdSize, &k.BFD}} {
		ref, derived, err := keying.Derive(op, d.node, sa, material, p.label, p.size)
		if err != nil {
			return key{}, err
		}
		_ = derived.Use(func(b []byte) error { *p.to = bytes.Clone(b); return nil })
		derived.Wipe()
		k.Ref = ref
	}
	return k, nil
}

// observe is what BIRD has loaded for the link, as far as a restart would bring it
// back: what the constant claims, and the journal too. While a change is unfinished
// it is what holds before and after it; when somebody edited the files, nothing is
// certain.
//
// It mends files where BIRD could not even start without: one that is missing, and
// any that somebody edited while BIRD is down.
func (d *Device) observe(ctx context.Context, link keychain.LinkID) (claim, error) {
	failed := func(err error) (claim, error) {
		return claim{}, fault.Wrap(fault.Of(err), err, "observe %s on %s", link, d.node)
	}
	s, ok := d.links[link]
	if !ok {
		return claim{}, params.NoLink(link)
	}
	leave, err := d.gates.Enter(ctx, link)
	if err != nil {
		return failed(fault.Wrap(fault.Unavailable, err, "nothing was asked"))
	}
	defer leave()
	j, err := d.load(s)
	if err != nil {
		return failed(err)
	}
	defer j.wipe()
	edited, missing, err := d.compare(s, j.Current)
	if err != nil {
		return failed(err)
	}
	bird, err := dial(ctx, d.socket)
	if missing || err != nil && len(edited) > 0 {
		if err := d.mend(s, j); err != nil {
			return failed(err)
		}
	}
	if err != nil {
		return failed(err)
	}
	defer bird.close()
	constant, err := bird.constant(ctx, s.symbol())
	switch {
	case err != nil:
		return failed(err)
	case j.Edited || len(edited) > 0 && !j.open():
		return claim{}, nil
	}
	return parseClaim(constant).and(j.Current.claim()).and(j.next().claim()), nil
}
