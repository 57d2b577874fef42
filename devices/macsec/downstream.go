package macsec

import (
	"context"

	"github.com/keyorch/keyorch/devices/macsec/secy"
	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// Downstream is a Device in the role of a receiver.
type Downstream struct{ *Device }

// Observe implements downstream.Device.
func (d Downstream) Observe(ctx context.Context, link keychain.LinkID) (downstream.Observation, error) {
	seen := downstream.Observation{Packets: map[keychain.Epoch]uint64{}}
	err := d.receive(ctx, link, func(_ part, _ kernel, sc secy.RXSC, _ secy.Suite) error {
		for _, sa := range entries(sc.SAs) {
			if sa.ref.IsZero() {
				continue
			}
			seen.Packets[sa.ref.Epoch] = sa.OK
			if sc.Active && sa.Active {
				seen.Accepts = append(seen.Accepts, sa.ref)
			}
		}
		return nil
	})
	return seen, err
}

// Install implements downstream.Device. A key of an older epoch of this link
// under the same AN makes room: it is four rotations old, or of a rotation that
// was aborted, since keys that live side by side have different ANs. Anything
// else under that AN stays.
func (d Downstream) Install(ctx context.Context, sa keychain.SA, key secret.Key) error {
	return d.receive(ctx, sa.Link, func(p part, k kernel, sc secy.RXSC, suite secy.Suite) error {
		m, err := d.derive("install", sa, key, suite, p.peer())
		if err != nil {
			return err
		}
		defer m.derived.Wipe()
		all := entries(sc.SAs)
		have, known := ofEpoch(all, sa.Epoch)
		if known && have.ref != m.ref {
			return otherKey("install", d.place(p), have.ref, m.ref)
		}
		if err := d.listen(k, p.peer(), sc); err != nil {
			return err
		}
		if known {
			if have.Active {
				return nil
			}
			return k.ActivateRXSA(p.peer(), have.AN)
		}
		if old, taken := underAN(all, sa.Serial.AN()); taken {
			if err := d.mayReplace("install", d.place(p), "receive", old, sa.Epoch); err != nil {
				return err
			}
			if err := k.DeleteRXSA(p.peer(), old.AN); err != nil {
				return err
			}
		}
		return m.use(func(key secy.Key) error { return k.AddRXSA(p.peer(), uint8(sa.Serial.AN()), key) })
	})
}

// listen makes the channel of the peer one that frames are taken from. sc is zero
// when there is none.
func (d Downstream) listen(k kernel, peer secy.SCI, sc secy.RXSC) error {
	switch {
	case sc.SCI != peer:
		return k.AddRXSC(peer)
	case !sc.Active:
		return k.ActivateRXSC(peer)
	}
	return nil
}

// Remove implements downstream.Device.
func (d Downstream) Remove(ctx context.Context, sa keychain.SA) error {
	return d.receive(ctx, sa.Link, func(p part, k kernel, sc secy.RXSC, _ secy.Suite) error {
		all := entries(sc.SAs)
		old, ok := ofEpoch(all, sa.Epoch)
		if !ok {
			return nil
		}
		_, more := first(all, func(e entry) bool { return e.Active && !e.ref.IsZero() && e.ref.Epoch != sa.Epoch })
		if old.Active && !more {
			return fault.New(fault.Refused, "remove epoch %d from %s: it is the last key", sa.Epoch, d.place(p))
		}
		return k.DeleteRXSA(p.peer(), old.AN)
	})
}

// receive does something with the channel of the peer of link, which is zero when
// the interface does not listen to it yet.
func (d Downstream) receive(ctx context.Context, link keychain.LinkID, f func(p part, k kernel, sc secy.RXSC, suite secy.Suite) error) error {
	return d.operate(ctx, link, func(p part, k kernel, now secy.SecY) error {
		if p.mac == nil {
			return noPeer(link)
		}
		sc, _ := now.RXSC(p.peer())
		return f(p, k, sc, now.Suite)
	})
}

// mayReplace says why an SA cannot make room for a key of epoch under the same
// AN; nil when it can.
func (d *Device) mayReplace(op, place, side string, old entry, epoch keychain.Epoch) error {
	switch {
	case old.ref.IsZero():
		return fault.New(fault.Unavailable, "%s epoch %d on %s: AN %d is taken by a %s key that is not keyorch's (key id %x): delete it with ip macsec", op, epoch, place, old.AN, side, old.KeyID)
	case old.ref.Epoch > epoch:
		return fault.New(fault.Refused, "%s epoch %d on %s: AN %d is taken by epoch %d, which is newer", op, epoch, place, old.AN, old.ref.Epoch)
	}
	return nil
}

func otherKey(op, place string, got, want keychain.Ref) error {
	return fault.New(fault.Mismatch, "%s epoch %d on %s: there is another key under it, with KCV %s, not %s", op, want.Epoch, place, got.KCV, want.KCV)
}
