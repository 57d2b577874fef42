package xfrm

import (
	"context"

	"github.com/vishvananda/netlink"

	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// Downstream is a Device in the role of a receiver.
type Downstream struct{ *Device }

// Observe implements downstream.Device. A key is accepted when its SA is there and
// so are the policies, without which the kernel drops what it has decrypted.
func (d Downstream) Observe(ctx context.Context, link keychain.LinkID) (downstream.Observation, error) {
	seen := make(chan downstream.Observation, 1)
	err := d.operate(ctx, link, secret.Key{}, func(p part, s *session) error {
		o, err := s.accepting(p.in(link))
		seen <- o
		return err
	})
	if err != nil {
		return downstream.Observation{}, fault.Wrap(fault.Of(err), err, "observe %s on %s", link, d.node)
	}
	return <-seen, nil
}

// Install implements downstream.Device.
func (d Downstream) Install(ctx context.Context, sa keychain.SA, key secret.Key) error {
	p, err := d.part(sa.Link)
	if err != nil {
		return err
	}
	ref, derived, err := keying.Derive("install", d.node, sa, key, label, p.keySize+saltSize)
	if err != nil {
		return err
	}
	err = fits(sa)
	if err == nil {
		err = d.operate(ctx, sa.Link, derived, func(p part, s *session) error {
			return s.install(p.in(sa.Link), ref, SPI(sa.Link, sa.Serial), p.window, derived)
		})
	}
	return fault.Wrap(fault.Of(err), err, "install epoch %d on %s", sa.Epoch, d.node)
}

// Remove implements downstream.Device.
func (d Downstream) Remove(ctx context.Context, sa keychain.SA) error {
	err := d.operate(ctx, sa.Link, secret.Key{}, func(p part, s *session) error {
		f := p.in(sa.Link)
		seen, err := s.look(f)
		if err != nil {
			return err
		}
		a, there := seen.find(sa.Epoch)
		switch {
		case !there:
			return nil
		case !a.Agrees(sa.Ref):
			return otherKey(a, sa.Ref)
		case len(seen.own) == 1:
			return fault.New(fault.Refused, "it is the last key")
		}
		return s.drop(f, a.spi)
	})
	return fault.Wrap(fault.Of(err), err, "remove epoch %d from %s", sa.Epoch, d.node)
}

func (s *session) accepting(f flow) (downstream.Observation, error) {
	seen, err := s.look(f)
	if err != nil {
		return downstream.Observation{}, err
	}
	lacking, err := s.lacking(f)
	o := downstream.Observation{Packets: seen.packets()}
	if err != nil || len(lacking) > 0 {
		return o, err
	}
	for _, a := range seen.own {
		o.Accepts = append(o.Accepts, a.Ref)
	}
	return o, nil
}

// lacking are the directions in which the traffic of f needs a policy and has
// none, or one that blocks it.
func (s *session) lacking(f flow) ([]netlink.Dir, error) {
	dirs := []netlink.Dir{netlink.XFRM_DIR_IN, netlink.XFRM_DIR_FWD}
	if f.mode == netlink.XFRM_MODE_TRANSPORT {
		dirs = dirs[:1] // it ends here
	}
	var lacking []netlink.Dir
	for _, dir := range dirs {
		p, err := s.policy(f, dir)
		switch {
		case err != nil:
			return nil, err
		case p == nil || p.Action == netlink.XFRM_POLICY_BLOCK:
			lacking = append(lacking, dir)
		case len(p.Tmpls) != 1 || !f.accepts(p.Tmpls[0]):
			return nil, s.foreignPolicy(f, dir)
		}
	}
	return lacking, nil
}

// install is Install: the SA first, so that the policies close the way for plain
// text only when there is a key.
func (s *session) install(f flow, r keychain.Ref, spi uint32, window int, key secret.Key) error {
	seen, err := s.look(f)
	if err != nil {
		return err
	}
	lacking, err := s.lacking(f)
	if err != nil {
		return err
	}
	a, there := seen.find(r.Epoch)
	switch other, taken := seen.under(spi); {
	case there && a.Ref != r:
		return otherKey(a, r)
	case there:
	case taken:
		return fault.New(fault.Unavailable, "SPI 0x%x to %v is still that of epoch %d", spi, f.to, other.Epoch)
	default:
		if err := s.foreign(seen, f, spi); err != nil {
			return err
		}
		if err := s.add(f, r, spi, window, key); err != nil {
			return err
		}
	}
	for _, dir := range lacking {
		if err := s.point(f, dir, 0, 0); err != nil {
			return err
		}
	}
	return nil
}
