package wireguard

import (
	"bytes"
	"context"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

const (
	// poll is how often the slot is looked at while a handshake is awaited.
	poll = 20 * time.Millisecond
	// courtesy is how long the node with the greater public key leaves the first
	// handshake to the other one. When both ends begin one within the same round
	// trip, WireGuard drops both and tries again after 5 s.
	courtesy = 500 * time.Millisecond
)

// switchTo makes the routes lead to the slot of k, once the peer has shown in a
// handshake that it has k too. When that does not come, everything is as before.
func (o operation) switchTo(ctx context.Context, k newKey) error {
	if len(o.routes) == 0 {
		return noRoutes(o.link)
	}
	slots, err := o.look()
	if err != nil {
		return err
	}
	if sends, err := o.sends(slots); err != nil || sends == k.ref {
		return err
	}
	has, err := o.has(slots, k.ref)
	if err != nil {
		return err
	}
	var unsent bool
	if !has { // the node does not accept with it: it only sends
		if unsent, err = o.put(ctx, slots, k); err != nil {
			return o.undo(k, unsent, err)
		}
	}
	s, err := o.holder(k)
	if err == nil {
		err = o.handshake(ctx, s, k.ref, has)
	}
	if err == nil {
		err = o.reroute(s)
	}
	if err != nil && !has {
		return o.undo(k, unsent, err)
	}
	return err
}

// holder is the slot that holds k, which is that of its Serial unless an operator
// has changed the order of the interfaces.
func (o operation) holder(k newKey) (slot, error) {
	slots, err := o.look()
	if err != nil {
		return slot{}, err
	}
	for _, s := range slots {
		if s.holds() == k.ref {
			return s, nil
		}
	}
	return slot{}, fault.New(fault.Unavailable, "%s epoch %d on %s: %s no longer holds it", o.op, k.ref.Epoch, o.node, o.interfaces[k.slot])
}

// undo takes k out of the slot again, where this operation put it, unless the
// routes lead there already. What went wrong is worth more than what goes wrong
// here: the slot is ours, and the next operation uses it again.
func (o operation) undo(k newKey, unsent bool, err error) error {
	if s, read := o.read(k.slot); read == nil && s.exists && s.ours && s.note.ref == k.ref && !o.routed(s) {
		_ = o.empty(s, false)
	}
	if unsent && !fault.Is(err, fault.Unknown) {
		return fault.Wrap(fault.Unknown, err, "%s on %s sends nothing now", o.link, o.node)
	}
	return err
}

// routed reports whether a route may lead to s.
func (o operation) routed(s slot) bool {
	for _, dst := range o.routes {
		if leads, err := o.Route(dst); err != nil || leads == s.name {
			return true
		}
	}
	return false
}

// handshake waits until a handshake was made with the key of s. A session that is
// younger than rekeyAfter was made by one, and WireGuard makes no other before.
// both says that the node accepts with this key too, so that its peer may well be
// about to begin a handshake itself.
func (o operation) handshake(ctx context.Context, s slot, ref keychain.Ref, both bool) error {
	begin := s.peer
	if s.confirmed(time.Now()) {
		if begin.keepalive == leftOn {
			return o.keepalive(s.name, 0)
		}
		return nil
	}
	deadline := time.NewTimer(o.timeout)
	defer deadline.Stop()
	ticks := time.NewTicker(poll)
	defer ticks.Stop()
	start := time.NewTimer(o.wait(begin, both))
	defer start.Stop()
	interval := begin.keepalive
	if interval == 0 || interval == leftOn {
		interval = leftOn
		defer func() { _ = o.keepalive(s.name, 0) }() // what stays on, the next one turns off
	}
	for {
		select {
		case <-ctx.Done():
			return o.brokenOff(ctx, ref)
		case <-deadline.C:
			return fault.New(fault.Unavailable, "%s on %s: no handshake with its peer over %s within %v: does the peer have epoch %d?", o.op, o.node, s.name, o.timeout, ref.Epoch)
		case <-start.C:
			// From off to on: that, and not the interval, sends a packet at once.
			if err := o.keepalive(s.name, 0, interval); err != nil {
				return err
			}
		case <-ticks.C:
			now, err := o.Peer(s.name, o.peer)
			if err != nil {
				return err
			}
			if now.exists && now.print == s.note.print && !now.handshake.Equal(begin.handshake) && now.received > begin.received {
				return nil
			}
		}
	}
}

// wait is how long to leave the handshake to the peer.
func (o operation) wait(p peer, both bool) time.Duration {
	if both && bytes.Compare(p.own[:], o.peer[:]) > 0 {
		return courtesy
	}
	return 0
}

// keepalive sets the peer's keepalive interval, to each of these in turn.
func (o operation) keepalive(name string, intervals ...time.Duration) error {
	var changes []wgtypes.PeerConfig
	for i := range intervals {
		changes = append(changes, wgtypes.PeerConfig{PublicKey: o.peer, UpdateOnly: true, PersistentKeepaliveInterval: &intervals[i]})
	}
	return o.Set(name, changes...)
}

// reroute makes every route lead to s. When one cannot, those before it are put
// back.
func (o operation) reroute(s slot) error {
	var before []string
	for _, dst := range o.routes {
		was, err := o.Route(dst)
		if err == nil {
			err = o.Lead(dst, s.name, o.source)
		}
		if err != nil {
			return o.routeBack(before, err)
		}
		before = append(before, was)
	}
	slots, err := o.look()
	if err != nil {
		return fault.Wrap(fault.Unknown, err, "read back the routes of %s on %s", o.link, o.node)
	}
	sends, err := o.sends(slots)
	if err == nil && sends.Epoch != s.note.ref.Epoch {
		err = fault.New(fault.Unknown, "%s on %s: the routes were replaced, but do not lead to %s", o.op, o.node, s.name)
	}
	return fault.Wrap(fault.Unknown, err, "read back the routes of %s on %s", o.link, o.node)
}

// routeBack makes the first routes lead where they led. One that led to no slot of
// the link is left: the routes then disagree, and nothing counts as sent.
func (o operation) routeBack(before []string, err error) error {
	for i, name := range before {
		back := fault.New(fault.Unknown, "it led to no interface of the link")
		if slices.Contains(o.interfaces[:], name) {
			back = o.Lead(o.routes[i], name, o.source)
		}
		if back != nil {
			return fault.Wrap(fault.Unknown, err, "%s on %s: route %s was replaced, and others were not", o.op, o.node, o.routes[i])
		}
	}
	return err
}
