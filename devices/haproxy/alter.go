package haproxy

import (
	"context"
	"errors"

	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// alter brings the ring of a link to the goal that aim makes of it. Keys that are
// not in the ring are given in fresh.
func (d *Device) alter(ctx context.Context, op string, sa keychain.SA, aim func(keys) (goal, error), fresh ...secret.Key) error {
	s, ok := d.links[sa.Link]
	if !ok {
		return params.NoLink(sa.Link)
	}
	failed := func(err error) error {
		return fault.Wrap(fault.Of(err), err, "%s epoch %d of %s on %s", op, sa.Epoch, sa.Link, d.node)
	}
	leave, err := d.gate.Enter(ctx, struct{}{})
	if err != nil {
		return failed(fault.Wrap(fault.Unavailable, err, "nothing was done"))
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	for step := range tries {
		done, err := d.step(ctx, s, step == 0, aim, fresh)
		switch {
		case done:
			return nil
		case err != nil && step > 0 && fault.Of(err).Retryable():
			return failed(fault.Wrap(fault.Unknown, err, "after %d steps", step)) // some were made
		case err != nil:
			return failed(err)
		}
	}
	return failed(fault.New(fault.Unknown, "the ring %s changes all the time: does somebody else push keys into it?", s.ring))
}

// step looks at the ring, and makes one change of it unless it is as it should be.
func (d *Device) step(ctx context.Context, s shared, first bool, aim func(keys) (goal, error), fresh []secret.Key) (done bool, err error) {
	k, err := d.look(ctx, s)
	if err != nil {
		return false, err
	}
	defer k.wipe()
	g, err := aim(k)
	if err != nil {
		return false, err
	}
	r := k.names()
	if g.reached(r) {
		return true, nil
	}
	if first {
		if err := d.tell().mayReload(ctx); err != nil {
			return false, err
		}
	}
	var hand []name
	for _, one := range fresh {
		hand = append(hand, keys{one}.names()[0])
	}
	if n, ok := plan(r, g, hand...); ok {
		return false, d.push(ctx, s, k, n, fresh)
	}
	next, err := layout(r, g)
	if err != nil {
		return false, fault.Wrap(fault.Unavailable, err, "the ring %s is full", s.ring)
	}
	return false, d.replace(ctx, s, k, next, fresh)
}

// push pushes one key. The key file of the ring to come is written before, so that
// a disk that is full is known in time, and put in place after: until the ring has a
// key, a restart must not bring it.
func (d *Device) push(ctx context.Context, s shared, k keys, n name, fresh []secret.Key) error {
	next, ok := k.arrange(k.names().pushed(n), fresh...)
	if !ok {
		return fault.New(fault.Unknown, "a key to push is not at hand")
	}
	file, err := s.prepare(next)
	if err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	if err := d.tell().push(ctx, s.ring, next[slots-1]); err != nil {
		file.drop()
		return err
	}
	if err := file.replace(); err != nil {
		return fault.New(fault.Unknown, "%w", err)
	}
	return nil
}

// replace puts another ring into the key file and has HAProxy reload it. The rings
// of the other links are in their files before, so that they stay what they are.
func (d *Device) replace(ctx context.Context, s shared, k keys, r ring, fresh []secret.Key) error {
	next, ok := k.arrange(r, fresh...)
	if !ok {
		return fault.New(fault.Unknown, "a key of the ring to come is not at hand")
	}
	for _, o := range d.others(s) {
		other, err := d.look(ctx, o)
		other.wipe()
		if err != nil && !errors.Is(err, errNoRing) {
			return fault.Wrap(fault.Unavailable, err, "before a reload")
		}
	}
	if err := s.write(next); err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	err := d.tell().reload(ctx)
	if err == nil || fault.Is(err, fault.Unknown) {
		return err // after Unknown, whoever looks next writes the ring that it finds
	}
	if undo := s.write(k); undo != nil {
		return fault.Wrap(fault.Unknown, errors.Join(err, undo), "put the key file back")
	}
	return err
}
