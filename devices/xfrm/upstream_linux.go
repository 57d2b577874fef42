package xfrm

import (
	"context"

	"github.com/vishvananda/netlink"

	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/upstream"
)

// Upstream is a Device in the role of a sender.
type Upstream struct{ *Device }

// Observe implements upstream.Device. What the node sends with is the SA that its
// outbound policy names, as long as it is there.
func (u Upstream) Observe(ctx context.Context, link keychain.LinkID) (upstream.Observation, error) {
	seen := make(chan upstream.Observation, 1)
	err := u.operate(ctx, link, secret.Key{}, func(p part, s *session) error {
		all, now, err := s.sending(p.out(link))
		seen <- upstream.Observation{Sends: now.Ref, Holds: all.refs(), Packets: all.packets()}
		return err
	})
	if err != nil {
		return upstream.Observation{}, fault.Wrap(fault.Of(err), err, "observe %s on %s", link, u.node)
	}
	return <-seen, nil
}

// Switch implements upstream.Device.
func (u Upstream) Switch(ctx context.Context, sa keychain.SA, key secret.Key) error {
	p, err := u.part(sa.Link)
	if err != nil {
		return err
	}
	ref, derived, err := keying.Derive("switch to", u.node, sa, key, label, p.keySize+saltSize)
	if err != nil {
		return err
	}
	err = fits(sa)
	if err == nil {
		err = u.operate(ctx, sa.Link, derived, func(p part, s *session) error {
			return s.switchTo(p.out(sa.Link), ref, SPI(sa.Link, sa.Serial), p.window, derived)
		})
	}
	return fault.Wrap(fault.Of(err), err, "switch to epoch %d on %s", sa.Epoch, u.node)
}

// Resume implements upstream.Resumer: the SA that was in use before the last
// Switch is still there, with its sequence number.
func (u Upstream) Resume(ctx context.Context, sa keychain.SA) error {
	err := u.operate(ctx, sa.Link, secret.Key{}, func(p part, s *session) error {
		f := p.out(sa.Link)
		all, now, err := s.sending(f)
		if err != nil {
			return err
		}
		a, there := all.find(sa.Epoch)
		switch {
		case !there:
			return fault.New(fault.Refused, "the kernel has its security association no more")
		case !a.Agrees(sa.Ref):
			return otherKey(a, sa.Ref)
		case now.Ref == a.Ref:
			return nil
		}
		return s.point(f, netlink.XFRM_DIR_OUT, a.spi, a.Epoch)
	})
	return fault.Wrap(fault.Of(err), err, "go back to epoch %d on %s", sa.Epoch, u.node)
}

// sending looks up the SAs of f and the one that is in use; zero for none. A
// policy that blocks this traffic is no trouble: that is what an operator does so
// that nothing leaves in the clear before there is a key.
func (s *session) sending(f flow) (sight, association, error) {
	seen, err := s.look(f)
	if err != nil {
		return sight{}, association{}, err
	}
	p, err := s.policy(f, netlink.XFRM_DIR_OUT)
	switch {
	case err != nil:
		return sight{}, association{}, err
	case p == nil || p.Action == netlink.XFRM_POLICY_BLOCK:
		return seen, association{}, nil
	case len(p.Tmpls) != 1 || !f.joins(p.Tmpls[0]) || p.Tmpls[0].Spi == 0:
		return sight{}, association{}, s.foreignPolicy(f, netlink.XFRM_DIR_OUT)
	}
	spi, reqid := uint32(p.Tmpls[0].Spi), uint32(p.Tmpls[0].Reqid)
	if _, taken := seen.taken[spi]; taken {
		return sight{}, association{}, s.foreignPolicy(f, netlink.XFRM_DIR_OUT)
	}
	if a, there := seen.under(spi); there && uint32(a.Epoch) == reqid {
		return seen, a, nil
	}
	return seen, association{}, nil // it names an SA that is gone: nothing is sent
}

// switchTo is Switch. An SA of this key that is there already is put to use as it
// is, with its sequence number; it is never made anew.
func (s *session) switchTo(f flow, r keychain.Ref, spi uint32, window int, key secret.Key) error {
	seen, now, err := s.sending(f)
	if err != nil {
		return err
	}
	a, there := seen.find(r.Epoch)
	switch {
	case there && a.Ref != r:
		return otherKey(a, r)
	case there && now.Ref == r:
		return nil
	case !there:
		if err := s.vacate(f, seen, now, spi); err != nil {
			return err
		}
		if err := s.add(f, r, spi, window, key); err != nil {
			return err
		}
		a = association{Ref: r, spi: spi}
	}
	if err := s.point(f, netlink.XFRM_DIR_OUT, a.spi, a.Epoch); err != nil {
		if !there && !fault.Is(err, fault.Unknown) {
			_ = s.drop(f, spi) // it carried nothing; left behind it would carry nothing either
		}
		return err
	}
	for _, old := range seen.own {
		if old.spi != a.spi && old.Epoch != now.Epoch {
			_ = s.drop(f, old.spi) // the switch is done; the next one tries again
		}
	}
	return nil
}

// vacate makes sure that the SPI is free. What an aborted rotation left under it
// is deleted, since its key is not sent with again.
func (s *session) vacate(f flow, seen sight, now association, spi uint32) error {
	if err := s.foreign(seen, f, spi); err != nil {
		return err
	}
	a, there := seen.under(spi)
	switch {
	case !there:
		return nil
	case a.Epoch == now.Epoch:
		return fault.New(fault.Unavailable, "SPI 0x%x to %v is that of epoch %d, which is in use", spi, f.to, a.Epoch)
	}
	return s.drop(f, spi)
}

// otherKey is about an epoch under which the kernel has another key.
func otherKey(a association, want keychain.Ref) error {
	return fault.New(fault.Mismatch, "the kernel has another key under epoch %d: its KCV is %s, not %s", a.Epoch, a.KCV, want.KCV)
}
