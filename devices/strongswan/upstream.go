package strongswan

import (
	"context"

	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/upstream"
)

// Upstream is a Device in the role of an initiator.
type Upstream struct{ *Device }

// Observe implements upstream.Device: the key whose SAs carry the traffic. While
// SAs under two keys are up, which only a switch that was broken off leaves behind,
// it names none of them: the older one would take the traffic back at its next
// rekeying, and the switch that is then repeated ends it.
func (u Upstream) Observe(ctx context.Context, link keychain.LinkID) (upstream.Observation, error) {
	l, err := u.initiates(link)
	if err != nil {
		return upstream.Observation{}, err
	}
	t, err := u.open(ctx)
	if err != nil {
		return upstream.Observation{}, err
	}
	defer t.hangUp()
	all, err := t.associations(link)
	return upstream.Observation{Sends: all.sends(l.connection.children())}, err
}

// sends is the one key under which every child is up, or zero.
func (all associations) sends(children []string) keychain.Ref {
	up := all.up()
	for ref := range up {
		if len(up) == 1 && all.lead(ref, children) {
			return ref
		}
	}
	return keychain.Ref{}
}

// initiates is the parameters of a link that the node initiates. Errors: Invalid.
func (u Upstream) initiates(link keychain.LinkID) (linkConfig, error) {
	l, err := u.link(link)
	if err == nil && l.connection == nil {
		err = fault.New(fault.Invalid, "%s has no connection for link %s: add it under device.links.%s.connection", u.node, link, link)
	}
	return l, err
}

// Switch implements upstream.Device: an IKE SA under the key is established beside
// the one in use, and takes over; then all others are ended. What fails before the
// new one stands is taken back, and the one in use was not touched.
func (u Upstream) Switch(ctx context.Context, sa keychain.SA, key secret.Key) error {
	l, err := u.initiates(sa.Link)
	if err != nil {
		return err
	}
	ref, ppk, err := keying.Derive("switch", u.node, sa, key, ppkLabel, ppkSize)
	if err != nil {
		return err
	}
	defer ppk.Wipe()
	s := &change{device: u.Device, link: sa.Link, linkConfig: l, ref: ref, ppk: ppk}
	return u.alone(ctx, sa.Link, s.run)
}
