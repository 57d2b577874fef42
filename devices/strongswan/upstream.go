package strongswan

import (
	"context"

	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/upstream"
)

// Upstream is a Device in the role of a sender.
type Upstream struct{ *Device }

// Observe implements upstream.Device.
func (u Upstream) Observe(ctx context.Context, link keychain.LinkID) (upstream.Observation, error) {
	m, err := u.sending(link)
	if err != nil {
		return upstream.Observation{}, err
	}
	t, err := u.open(ctx)
	if err != nil {
		return upstream.Observation{}, err
	}
	defer t.hangUp()
	ref, err := m.sends(t)
	return upstream.Observation{Sends: ref}, err
}

// Switch implements upstream.Device. Only a key that the peer has proven to accept
// is taken; until then the one in use is not touched.
func (u Upstream) Switch(ctx context.Context, sa keychain.SA, key secret.Key) error {
	m, err := u.sending(sa.Link)
	if err != nil {
		return err
	}
	ref, derived, err := keying.Derive("switch", u.node, sa, key, m.label(), secretSize)
	if err != nil {
		return err
	}
	defer derived.Wipe()
	return u.alone(ctx, sa.Link, func(t *talk) error { return m.lead(t, ref, derived) })
}

// sending is the mode of a link that the node can send on. Errors: Invalid.
func (u Upstream) sending(link keychain.LinkID) (mode, error) {
	m, err := u.mode(link)
	if err != nil {
		return nil, err
	}
	return m, m.initiates()
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
