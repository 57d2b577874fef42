package frr

import (
	"context"
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

// label keeps a key-string apart from everything else that is derived from a link
// key. Both ends of a link derive the same.
const label = "keyorch/v1 frr key-string"

// Device operates the key chains of one FRR. It is safe for concurrent use:
// changes wait for each other, since they share a configuration file.
type Device struct {
	config
	node keychain.NodeID
	busy turnstile.Turnstile[keychain.NodeID]
}

// Capabilities is what FRR, as configured for this node, can do.
func (d *Device) Capabilities() keychain.Capabilities { return d.capabilities() }

// Upstream is the node's sending side.
func (d *Device) Upstream() upstream.Device { return Upstream{d} }

// Downstream is the node's receiving side.
func (d *Device) Downstream() downstream.Device { return Downstream{d} }

// Upstream is a Device in the role of a sender.
type Upstream struct{ *Device }

// Observe implements upstream.Device.
func (u Upstream) Observe(ctx context.Context, link keychain.LinkID) (upstream.Observation, error) {
	seen, err := u.look(ctx, link)
	if err != nil {
		return upstream.Observation{}, err
	}
	defer seen.wipe()
	return upstream.Observation{Sends: seen.sends(time.Now()), Holds: seen.holds()}, nil
}

// Switch implements upstream.Device.
func (u Upstream) Switch(ctx context.Context, sa keychain.SA, link secret.Key) error {
	return u.put(ctx, "switch to", sa, link, func(c chain, k key) (chain, error) { return c.switchTo(k, time.Now()) })
}

// Downstream is a Device in the role of a receiver.
type Downstream struct{ *Device }

// Observe implements downstream.Device.
func (d Downstream) Observe(ctx context.Context, link keychain.LinkID) (downstream.Observation, error) {
	seen, err := d.look(ctx, link)
	if err != nil {
		return downstream.Observation{}, err
	}
	defer seen.wipe()
	return downstream.Observation{Accepts: seen.accepts(time.Now())}, nil
}

// Install implements downstream.Device.
func (d Downstream) Install(ctx context.Context, sa keychain.SA, link secret.Key) error {
	return d.put(ctx, "install", sa, link, chain.install)
}

// Remove implements downstream.Device.
func (d Downstream) Remove(ctx context.Context, sa keychain.SA) error {
	return d.change(ctx, operation{verb: "remove", link: sa.Link, epoch: sa.Epoch}, func(c chain) (chain, error) {
		return c.remove(sa.Epoch, time.Now())
	})
}

// put makes a change that hands over a key.
func (d *Device) put(ctx context.Context, verb string, sa keychain.SA, link secret.Key, edit func(chain, key) (chain, error)) error {
	l, ok := d.links[sa.Link]
	if !ok {
		return params.NoLink(sa.Link)
	}
	ref, derived, err := keying.Derive(verb, d.node, sa, link, label, secretSize)
	if err != nil {
		return err
	}
	defer derived.Wipe()
	k := key{id: int(sa.Serial.KeyID()), ref: ref, algorithm: l.algorithm}
	_ = derived.Use(func(b []byte) error {
		k.text = keyString(ref, b)
		return nil
	})
	defer clear(k.text)
	return d.change(ctx, operation{verb: verb, link: sa.Link, epoch: sa.Epoch, loud: true}, func(c chain) (chain, error) {
		return edit(c, k)
	})
}

// operation is what a change is about.
type operation struct {
	verb  string
	link  keychain.LinkID
	epoch keychain.Epoch
	loud  bool // it tells FRR a key-string
}

// failed puts what was tried before an error, and keeps its kind.
func (o operation) failed(err error) error {
	return fault.Wrap(fault.Of(err), err, "%s epoch %d", o.verb, o.epoch)
}
