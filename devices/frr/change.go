package frr

import (
	"context"
	"time"

	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// sight is the running configuration, with the buffer that its key-strings are in.
type sight struct {
	running
	answer *printed
}

func (s *sight) wipe() { s.answer.wipe() }

// look reads the running configuration. The caller wipes it.
func (d *Device) look(ctx context.Context, link keychain.LinkID) (*sight, error) {
	l, ok := d.links[link]
	if !ok {
		return nil, params.NoLink(link)
	}
	answer, err := d.show(ctx, "show running-config", "show daemons")
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "read key chain %s", l.name)
	}
	s := &sight{answer: answer}
	switch {
	case answer.unreached():
		err = fault.New(fault.Unavailable, "reach ospf6d: %s: is ospf6d running, and may the agent use its socket (group frrvty)", answer.trouble())
	case answer.code != 0:
		err = fault.New(fault.Unavailable, "read key chain %s: %s", l.name, answer.trouble())
	default:
		if s.running, err = parseRunning(answer.out, l.name); err != nil {
			err = fault.Wrap(fault.Unavailable, err, "read key chain %s", l.name)
		}
	}
	if err == nil && l.iface != "" && s.uses[l.iface] != l.name {
		err = fault.New(fault.Unavailable, "interface %s does not authenticate with key chain %s: give it \"ipv6 ospf6 authentication keychain %s\"", l.iface, l.name, l.name)
	}
	if err != nil {
		s.wipe()
		return nil, err
	}
	return s, nil
}

// change makes of the key chain what edit makes of it: first in the file that FRR
// starts from, then in the daemon. The file is ahead when anything breaks in
// between, which is safe, since every change is one that all others are ready
// for; it can never be behind.
func (d *Device) change(ctx context.Context, o operation, edit func(chain) (chain, error)) error {
	leave, err := d.busy.Enter(ctx, d.node)
	if err != nil {
		return o.failed(fault.Wrap(fault.Unavailable, err, "another change is under way"))
	}
	defer leave()
	was, err := d.look(ctx, o.link)
	if err != nil {
		return o.failed(err)
	}
	defer was.wipe()
	want, err := edit(was.chain)
	if err != nil {
		return o.failed(err)
	}
	lines := between(was.chain, want, time.Now())
	defer lines.wipe()
	if o.loud && was.loud && len(lines.text) > 0 {
		return o.failed(fault.New(fault.Unavailable, "FRR writes every command to its log, and the key would be there to read: turn that off (no log commands)"))
	}
	if err := d.save(want); err != nil {
		return o.failed(err)
	}
	if len(lines.text) == 0 {
		return nil
	}
	return d.apply(ctx, o, was.chain, want, lines)
}

// apply gives the lines to the daemon, looks at what became of them, and puts back
// what came out wrong.
func (d *Device) apply(ctx context.Context, o operation, was, want chain, lines *script) error {
	answer, err := d.feed(ctx, lines)
	if err != nil && fault.Is(err, fault.Unavailable) { // vtysh did not run
		_ = d.save(was)
		return o.failed(err)
	}
	if ctx.Err() != nil {
		if answer != nil {
			answer.wipe()
		}
		return fault.Wrap(fault.Unknown, ctx.Err(), "%s epoch %d: it was stopped", o.verb, o.epoch)
	}
	if err != nil {
		return o.failed(err)
	}
	defer answer.wipe()
	if answer.unreached() {
		_ = d.save(was)
		return o.failed(fault.New(fault.Unavailable, "reach ospf6d: %s", answer.trouble()))
	}
	is, err := d.look(ctx, o.link)
	if err != nil {
		return fault.Wrap(fault.Unknown, err, "%s epoch %d: it cannot be read back", o.verb, o.epoch)
	}
	defer is.wipe()
	if is.same(want) {
		return nil
	}
	if err := d.putBack(ctx, o.link, is.chain, was); err != nil {
		return fault.Wrap(fault.Unknown, err, "%s epoch %d: ospf6d did not take it (%s), and the keys could not be put back", o.verb, o.epoch, answer.complaint(lines))
	}
	return o.failed(fault.New(fault.Unavailable, "ospf6d did not take it, and has the keys that it had: %s", answer.complaint(lines)))
}

// putBack makes was of is.
func (d *Device) putBack(ctx context.Context, link keychain.LinkID, is, was chain) error {
	if err := d.save(was); err != nil {
		return err
	}
	lines := between(is, was, time.Now())
	defer lines.wipe()
	if len(lines.text) == 0 {
		return nil
	}
	answer, err := d.feed(ctx, lines)
	if err != nil {
		return err
	}
	defer answer.wipe()
	now, err := d.look(ctx, link)
	if err != nil {
		return err
	}
	defer now.wipe()
	if !now.same(was) {
		return fault.New(fault.Unknown, "%s", answer.complaint(lines))
	}
	return nil
}
