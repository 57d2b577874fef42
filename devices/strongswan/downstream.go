package strongswan

import (
	"context"
	"slices"

	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// Downstream is a Device in the role of a receiver.
type Downstream struct{ *Device }

// Observe implements downstream.Device: the secrets that charon holds, by their
// names.
func (d Downstream) Observe(ctx context.Context, link keychain.LinkID) (downstream.Observation, error) {
	m, err := d.mode(link)
	if err != nil {
		return downstream.Observation{}, err
	}
	t, err := d.open(ctx)
	if err != nil {
		return downstream.Observation{}, err
	}
	defer t.hangUp()
	refs, err := m.accepts(t)
	return downstream.Observation{Accepts: refs}, err
}

// Install implements downstream.Device. A secret that charon holds is not loaded
// again: its name says which key it is, and charon does not show its bytes.
func (d Downstream) Install(ctx context.Context, sa keychain.SA, key secret.Key) error {
	m, err := d.mode(sa.Link)
	if err != nil {
		return err
	}
	ref, derived, err := keying.Derive("install", d.node, sa, key, m.label(), secretSize)
	if err != nil {
		return err
	}
	defer derived.Wipe()
	return d.alone(ctx, sa.Link, func(t *talk) error {
		held, err := m.held(t)
		if err != nil {
			return err
		}
		if err := d.other(held, ref); err != nil {
			return err
		}
		accepted, err := m.accepts(t)
		if err != nil || slices.Contains(accepted, ref) {
			return err
		}
		return m.load(t, ref, derived)
	})
}

// Remove implements downstream.Device. Tunnels that stand are not touched.
func (d Downstream) Remove(ctx context.Context, sa keychain.SA) error {
	m, err := d.mode(sa.Link)
	if err != nil {
		return err
	}
	return d.alone(ctx, sa.Link, func(t *talk) error {
		held, err := m.held(t)
		if err != nil {
			return err
		}
		rest := slices.DeleteFunc(slices.Clone(held), func(r keychain.Ref) bool { return r.Epoch == sa.Epoch })
		switch len(rest) {
		case len(held):
			return nil
		case 0:
			return fault.New(fault.Refused, "remove epoch %d from %s: it is the last key", sa.Epoch, d.node)
		}
		for _, r := range held {
			if r.Epoch == sa.Epoch {
				if err := m.unload(t, r); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
