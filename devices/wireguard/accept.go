package wireguard

import (
	"context"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// leftOn is the keepalive interval that a switch leaves behind when it is broken
// off: whoever finds it turns it off. Nobody else asks for a packet every second.
const leftOn = time.Second

// maxAllowed is how many allowed IPs wgctrl puts into one request.
const maxAllowed = 256

// install puts k into its slot, beside what the other slot holds.
func (o operation) install(ctx context.Context, k newKey) error {
	slots, err := o.look()
	if err != nil {
		return err
	}
	has, err := o.has(slots, k.ref)
	if has || err != nil {
		return err
	}
	_, err = o.put(ctx, slots, k)
	return err
}

// has reports whether a slot holds ref already. Mismatch: another key under that
// epoch.
func (o operation) has(slots [slotsOfLink]slot, ref keychain.Ref) (bool, error) {
	for _, s := range slots {
		switch got := s.holds(); {
		case got == ref:
			return true, nil
		case got.Epoch == ref.Epoch:
			return false, fault.New(fault.Mismatch, "%s epoch %d on %s: %s holds another key under that epoch, its KCV is %s, not %s", o.op, ref.Epoch, o.node, s.name, got.KCV, ref.KCV)
		}
	}
	return false, nil
}

// put puts k into its slot and the slot up. The alias comes first: with another
// PSK under it, or with the slot down, it names no key, and after a crash in
// between it says that the slot is ours to use again. unsent reports that the
// routes led to the slot, with a key that the link has left behind, and that the
// node sends nothing any more.
func (o operation) put(ctx context.Context, slots [slotsOfLink]slot, k newKey) (unsent bool, err error) {
	s := slots[k.slot]
	print, err := printOf(k.psk)
	if err != nil {
		return false, fault.Wrap(fault.Invalid, err, "%s epoch %d on %s", o.op, k.ref.Epoch, o.node)
	}
	if err := o.usable(s, k, print); err != nil {
		return false, err
	}
	if unsent, err = o.vacate(s); err != nil {
		return unsent, err
	}
	for _, step := range []func() error{
		func() error { return o.Alias(s.name, note{k.ref, k.serial, print}.String()) },
		func() error { return k.psk.Use(func(b []byte) error { return o.renew(s, wgtypes.Key(b)) }) },
		func() error { return o.Up(s.name) },
	} {
		if ctx.Err() != nil {
			return unsent, o.brokenOff(ctx, k.ref)
		}
		if err := step(); err != nil {
			return unsent, err
		}
	}
	now, err := o.read(k.slot)
	if err == nil && now.holds() != k.ref {
		err = fault.New(fault.Unknown, "%s epoch %d on %s: %s was given the key, but does not show it", o.op, k.ref.Epoch, o.node, s.name)
	}
	return unsent, err
}

// usable says why k cannot be put into s, or nil. Whatever an operator can mend
// is Unavailable, so that it is tried again.
func (o operation) usable(s slot, k newKey, print string) error {
	held := s.holds()
	older := held.Epoch < k.ref.Epoch
	switch {
	case !s.exists:
		return o.trouble(k.ref, "interface %s does not exist: make it, with its private key, port, addresses and peer", s.name)
	case !s.peer.device:
		return o.trouble(k.ref, "interface %s is not one of WireGuard, or its wireguard-go has ended", s.name)
	case !s.peer.exists:
		return o.trouble(k.ref, "interface %s has no peer %s: add it, with its endpoint and allowed IPs", s.name, o.peer)
	case len(s.peer.allowed) > maxAllowed:
		return o.trouble(k.ref, "peer %s of interface %s has %d allowed IPs, and at most %d can be put back in one request", o.peer, s.name, len(s.peer.allowed), maxAllowed)
	case s.stranger() && s.peer.print != print:
		return o.trouble(k.ref, "interface %s has a pre-shared key that keyorch did not put there: take it away with \"wg set %s peer %s preshared-key /dev/null\"", s.name, s.name, o.peer)
	case held.IsZero():
		return nil
	case s.note.serial%slotsOfLink != k.serial%slotsOfLink:
		return o.trouble(k.ref, "interface %s holds epoch %d, which belongs into the other one: give the interfaces in the order that they had", s.name, held.Epoch)
	case !older:
		return o.trouble(k.ref, "interface %s holds epoch %d, which is newer", s.name, held.Epoch)
	}
	return nil // of the keys that the link uses now, none belongs here but k
}

// vacate sees to it that no route leads to s before its key is replaced. It does
// so for a node that comes back with a key that the link has left behind: what
// was sent with it is accepted nowhere. The routes stay, as unreachable, so that
// nothing takes a default route in clear.
func (o operation) vacate(s slot) (unsent bool, err error) {
	for _, dst := range o.routes {
		leads, err := o.Route(dst)
		if err != nil {
			return unsent, err
		}
		if leads != s.name {
			continue
		}
		if err := o.Lead(dst, "", o.source); err != nil {
			return unsent, err
		}
		unsent = true
	}
	return unsent, nil
}

// renew gives the peer another PSK, none with a zero one. It takes the peer away
// and puts it back as it was, in one request: a session that was made with the PSK
// before ends only so, for wireguard-go keeps it while its interface is down.
func (o operation) renew(s slot, psk wgtypes.Key) error {
	defer clear(psk[:])
	keepalive := s.peer.keepalive
	if keepalive == leftOn {
		keepalive = 0
	}
	return o.Set(s.name, wgtypes.PeerConfig{PublicKey: o.peer, Remove: true}, wgtypes.PeerConfig{
		PublicKey: o.peer, PresharedKey: &psk, Endpoint: s.peer.endpoint, PersistentKeepaliveInterval: &keepalive,
		ReplaceAllowedIPs: true, AllowedIPs: s.peer.allowed,
	})
}

// remove takes the key of epoch out of its slot.
func (o operation) remove(ctx context.Context, epoch keychain.Epoch) error {
	slots, err := o.look()
	if err != nil {
		return err
	}
	for _, s := range slots {
		if !s.exists || !s.ours || s.note.ref.Epoch != epoch {
			continue
		}
		held := !s.holds().IsZero()
		if held && len(accepted(slots)) == 1 {
			return fault.New(fault.Refused, "remove epoch %d from %s: it is the last key", epoch, o.node)
		}
		for _, dst := range o.routes {
			leads, err := o.Route(dst)
			if err != nil {
				return err
			}
			if held && leads == s.name {
				return fault.New(fault.Unavailable, "remove epoch %d from %s: route %s still leads to %s", epoch, o.node, dst, s.name)
			}
		}
		if ctx.Err() != nil {
			return o.brokenOff(ctx, s.note.ref)
		}
		if err := o.empty(s, held); err != nil {
			return err
		}
	}
	return nil
}

// empty takes s down, then the key out of it, then the note away: at every point
// in between, it shows no key and is known as ours. Where the key cannot be taken
// out for certain, a slot that held it is put back up.
func (o operation) empty(s slot, held bool) error {
	if err := o.Down(s.name); err != nil {
		return err
	}
	if s.peer.exists {
		err := o.renew(s, wgtypes.Key{})
		if err != nil && held && !fault.Is(err, fault.Unknown) {
			if back := o.Up(s.name); back != nil {
				return fault.Wrap(fault.Unknown, err, "%s on %s: %s is down, but still has its key", o.op, o.node, s.name)
			}
		}
		if err != nil {
			return err
		}
	}
	return o.Alias(s.name, "")
}

// trouble is about something that an operator can mend.
func (o operation) trouble(ref keychain.Ref, format string, a ...any) error {
	return fault.Wrap(fault.Unavailable, fault.New(fault.Unavailable, format, a...), "%s epoch %d on %s", o.op, ref.Epoch, o.node)
}

// brokenOff is about an operation whose context ended between two steps.
func (o operation) brokenOff(ctx context.Context, ref keychain.Ref) error {
	return fault.Wrap(fault.Unknown, ctx.Err(), "%s epoch %d on %s was broken off", o.op, ref.Epoch, o.node)
}
