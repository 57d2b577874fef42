package macsec

import (
	"cmp"
	"context"
	"slices"

	"github.com/keyorch/keyorch/devices/macsec/secy"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/upstream"
)

// Upstream is a Device in the role of a sender.
type Upstream struct{ *Device }

// Observe implements upstream.Device. It sends with nothing, as far as this link
// goes, when there is no SA under the encoding AN, when that has used up its
// packet numbers, and when it has a key that is not ours.
func (u Upstream) Observe(ctx context.Context, link keychain.LinkID) (upstream.Observation, error) {
	seen := upstream.Observation{Packets: map[keychain.Epoch]uint64{}}
	err := u.operate(ctx, link, func(p part, _ kernel, now secy.SecY) error {
		if err := u.protects(p, now); err != nil {
			return err
		}
		for _, sa := range entries(now.TXSAs) {
			if sa.ref.IsZero() {
				continue
			}
			seen.Holds = append(seen.Holds, sa.ref)
			seen.Packets[sa.ref.Epoch] = sent(sa.SA, now.Suite)
			if sa.Active && sa.AN == now.EncodingSA {
				seen.Sends = sa.ref
			}
		}
		slices.SortFunc(seen.Holds, func(a, b keychain.Ref) int { return cmp.Compare(a.Epoch, b.Epoch) })
		return nil
	})
	return seen, err
}

// sent is how many frames went out with a transmit SA. The packet number counts
// them better than the statistics do, which have 32 bits.
func sent(sa secy.SA, suite secy.Suite) uint64 {
	if sa.PN == 0 && !suite.XPN() {
		return 1<<32 - 1 // all of them are used up
	}
	return sa.PN - 1
}

// Switch implements upstream.Device. A transmit SA is added once, at packet
// number 1. One that is there for this very key, after a crash between adding and
// switching, has its packet number and is sent with as it is.
func (u Upstream) Switch(ctx context.Context, sa keychain.SA, key secret.Key) error {
	return u.operate(ctx, sa.Link, func(p part, k kernel, now secy.SecY) error {
		if err := u.protects(p, now); err != nil {
			return err
		}
		m, err := u.derive("switch to", sa, key, now.Suite, now.SCI)
		if err != nil {
			return err
		}
		defer m.derived.Wipe()
		if have, ok := ofEpoch(entries(now.TXSAs), sa.Epoch); ok {
			if have.ref != m.ref {
				return otherKey("switch to", u.place(p), have.ref, m.ref)
			}
			return u.encode("switch to", p, k, now, have)
		}
		unsure, err := u.makeRoom(p, k, now, sa)
		if err != nil {
			return err
		}
		an := sa.Serial.AN()
		if err := m.use(func(key secy.Key) error { return k.AddTXSA(uint8(an), key) }); err != nil {
			return unsure(err)
		}
		if uint8(an) == now.EncodingSA {
			return nil // it has been sent with since it was added
		}
		return k.Encode(uint8(an))
	})
}

// Resume implements upstream.Resumer: it goes back to a transmit SA that is there
// with its packet number.
func (u Upstream) Resume(ctx context.Context, sa keychain.SA) error {
	return u.operate(ctx, sa.Link, func(p part, k kernel, now secy.SecY) error {
		have, ok := ofEpoch(entries(now.TXSAs), sa.Epoch)
		switch {
		case !ok:
			return fault.New(fault.Refused, "go back to epoch %d on %s: its key is not there any more", sa.Epoch, u.place(p))
		case !have.ref.Agrees(sa.Ref):
			return otherKey("go back to", u.place(p), have.ref, sa.Ref)
		}
		return u.encode("go back to", p, k, now, have)
	})
}

// encode sends with an SA that is there.
func (u Upstream) encode(op string, p part, k kernel, now secy.SecY, have entry) error {
	switch {
	case !have.Active:
		return fault.New(fault.Refused, "%s epoch %d on %s: its key was turned off, which the kernel does when the packet numbers are used up", op, have.ref.Epoch, u.place(p))
	case have.AN == now.EncodingSA:
		return nil
	}
	return k.Encode(have.AN)
}

// makeRoom deletes our transmit SAs but the encoding one, and that one too when
// the AN of the new key is its own. What may not go from that AN is an error.
// After the encoding one is gone, unsure makes an unknown outcome of a failure,
// since the old key is not in use any more.
func (u Upstream) makeRoom(p part, k kernel, now secy.SecY, sa keychain.SA) (unsure func(error) error, err error) {
	unsure = func(err error) error { return err }
	all := entries(now.TXSAs)
	if old, taken := underAN(all, sa.Serial.AN()); taken {
		if err := u.mayReplace("switch to", u.place(p), "transmit", old, sa.Epoch); err != nil {
			return nil, err
		}
	}
	var inUse *entry
	for _, old := range all {
		switch {
		case old.ref.IsZero():
		case old.AN == now.EncodingSA && old.AN == uint8(sa.Serial.AN()):
			inUse = &old
		case old.AN == now.EncodingSA:
		default:
			// Whatever became of it: what is sent is what was sent.
			if err := k.DeleteTXSA(old.AN); err != nil {
				return nil, fault.Wrap(fault.Unavailable, err, "switch to epoch %d on %s: epoch %d is not gone yet", sa.Epoch, u.place(p), old.ref.Epoch)
			}
		}
	}
	if inUse == nil {
		return unsure, nil
	}
	// Four rotations were missed: the link itself needs that AN anew.
	unsure = func(err error) error {
		return fault.Wrap(fault.Unknown, err, "switch to epoch %d on %s: epoch %d had to go first", sa.Epoch, u.place(p), inUse.ref.Epoch)
	}
	if err := k.DeleteTXSA(inUse.AN); err != nil {
		return nil, unsure(err)
	}
	return unsure, nil
}

// protects wants an interface that does not send frames as they are.
func (u Upstream) protects(p part, now secy.SecY) error {
	if now.Protect {
		return nil
	}
	return fault.New(fault.Unavailable, "%s sends without protection: turn it on with ip link set %s type macsec protect on", u.place(p), p.iface)
}
