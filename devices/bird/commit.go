package bird

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// grace is how long a change that failed may take to be taken back, also when its
// context has ended.
const grace = 3 * time.Second

// alter changes the keys of a link to what f makes of them, if that is anything
// else. What an earlier change left unfinished is taken back first.
func (d *Device) alter(ctx context.Context, op string, sa keychain.SA, f func(state) (state, error)) error {
	failed := func(err error) error {
		return fault.Wrap(fault.Of(err), err, "%s epoch %d of %s on %s", op, sa.Epoch, sa.Link, d.node)
	}
	s, ok := d.links[sa.Link]
	if !ok {
		return params.NoLink(sa.Link)
	}
	for _, enter := range []func() (func(), error){
		func() (func(), error) { return d.gates.Enter(ctx, sa.Link) },
		func() (func(), error) { return d.change.Enter(ctx, d.socket) },
	} {
		leave, err := enter()
		if err != nil {
			return failed(fault.Wrap(fault.Unavailable, err, "nothing was done"))
		}
		defer leave()
	}
	j, err := d.load(s)
	if err != nil {
		return failed(err)
	}
	defer j.wipe()
	if err := d.settle(ctx, s, j); err != nil {
		return failed(err)
	}
	next, err := f(j.Current)
	if err != nil {
		return failed(err)
	}
	defer next.wipe()
	if next.tag() == j.Current.tag() {
		return nil
	}
	if err := d.commit(ctx, s, j.Current, next, next.Sends != j.Current.Sends); err != nil {
		return failed(err)
	}
	return nil
}

// settle brings files and daemon to the journal's current keys, where they are not
// there: after a change that was broken off, after an edit by hand, after a daemon
// that has not read its files.
func (d *Device) settle(ctx context.Context, s segment, j journal) error {
	d.sweep(s)
	edited, missing, err := d.compare(s, j.Current)
	if err != nil {
		return err
	}
	if missing || len(edited) > 0 && !j.open() {
		if err := d.mend(s, j); err != nil {
			return err
		}
		j.Edited = j.Edited || len(edited) > 0
	}
	if !j.open() {
		bird, err := dial(ctx, d.socket)
		if err != nil {
			return err
		}
		defer bird.close()
		constant, err := bird.constant(ctx, s.symbol())
		if err != nil || constant == j.Current.constant() {
			return err
		}
	}
	err = d.takeBack(ctx, s, j)
	if err != nil && len(edited) > 0 {
		return fault.Wrap(fault.Of(err), err, "%s was edited by hand and has been put back", strings.Join(edited, ", "))
	}
	return err
}

// mend writes the files of the journal's current keys again, and notes that BIRD
// may have loaded others.
func (d *Device) mend(s segment, j journal) error {
	edited, _, err := d.compare(s, j.Current)
	if err != nil {
		return err
	}
	if len(edited) > 0 {
		j.Edited = true
		if err := d.save(s, j); err != nil {
			return err
		}
	}
	return d.put(s, j.next(), j.Current)
}

// takeBack makes files and daemon what they were before a change. It does not use
// "configure undo", which takes back what was loaded last, also by somebody else.
func (d *Device) takeBack(ctx context.Context, s segment, j journal) error {
	if err := d.put(s, j.next(), j.Current); err != nil {
		return err
	}
	bird, err := dial(ctx, d.socket)
	if err != nil {
		return err
	}
	defer bird.close()
	constant, err := bird.constant(ctx, s.symbol())
	if err != nil {
		return err
	}
	if j.Edited || constant != j.Current.constant() {
		r, err := bird.ask(ctx, "configure")
		if err != nil {
			return err
		}
		if r.failed() {
			return d.refused(s, r, j.Current)
		}
		if err := d.shows(ctx, bird, s, j.Current); err != nil {
			return err
		}
	}
	return d.save(s, journal{Current: j.Current})
}

// commit changes one set of keys to another, and takes that back when it fails.
func (d *Device) commit(ctx context.Context, s segment, from, to state, watched bool) error {
	j := journal{Current: from, Next: &to}
	if err := d.save(s, j); err != nil {
		return err
	}
	failed := d.apply(ctx, s, from, to, watched)
	if failed == nil {
		return fault.Wrap(fault.Unknown, d.save(s, journal{Current: to}), "finish a change that is done")
	}
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := d.takeBack(back, s, j); err != nil {
		return fault.New(fault.Unknown, "%w (not taken back yet: %v)", failed, err)
	}
	return failed
}

// apply has BIRD check the new files, load them for a while, and keep them when no
// neighbour was lost by that. Errors: Unavailable, when BIRD refused or a neighbour
// was lost; Unknown, when BIRD did not answer.
func (d *Device) apply(ctx context.Context, s segment, from, to state, watched bool) error {
	bird, err := dial(ctx, d.socket)
	if err != nil {
		return err
	}
	defer bird.close()
	if err := d.put(s, from, to); err != nil {
		return err
	}
	r, err := bird.ask(ctx, "configure check")
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "nothing was changed")
	}
	if r.failed() {
		return d.refused(s, r, from, to)
	}
	var before []peer
	if watched {
		if before, err = bird.peers(ctx, s); err != nil {
			return fault.Wrap(fault.Unavailable, err, "nothing was changed")
		}
	}
	window := int(d.timeout.Round(time.Second) / time.Second)
	if r, err = bird.ask(ctx, fmt.Sprintf("configure timeout %d", window)); err != nil {
		return err
	}
	if r.failed() {
		return d.refused(s, r, from, to)
	}
	if err := d.shows(ctx, bird, s, to); err != nil {
		return err
	}
	if err := d.watch(ctx, bird, s, before); err != nil {
		return err
	}
	return d.confirm(ctx, bird, s, to)
}

// confirm keeps what was loaded. "Nothing to do" is also the answer when somebody
// else had BIRD read the same files, which keeps it as well.
func (d *Device) confirm(ctx context.Context, bird *socket, s segment, to state) error {
	r, err := bird.ask(ctx, "configure confirm")
	if err != nil {
		return err
	}
	if r.failed() {
		return d.refused(s, r, to)
	}
	constant, err := bird.constant(ctx, s.symbol())
	switch {
	case err != nil:
		return fault.Wrap(fault.Unknown, err, "read back what was confirmed")
	case constant != to.constant() && r.code == codeNothing:
		return fault.New(fault.Unavailable, "bird took the change back by itself: it was not confirmed within %v", d.timeout)
	case constant != to.constant():
		return fault.New(fault.Unknown, "bird confirmed a change, but shows other keys")
	}
	return nil
}

// shows wants the daemon to have loaded exactly these keys.
func (d *Device) shows(ctx context.Context, bird *socket, s segment, want state) error {
	constant, err := bird.constant(ctx, s.symbol())
	switch {
	case err != nil:
		return err
	case constant == want.constant():
		return nil
	case constant == "":
		return fault.New(fault.Unavailable, "bird has read its configuration without %s: include it at the top of bird.conf", d.file(s, constantsExt))
	}
	return fault.New(fault.Unavailable, "bird has read its configuration, but not the new %s", d.file(s, constantsExt))
}

// refused is a configuration that BIRD does not take, in its own words. It is
// Unavailable, since whoever wrote it can mend it and keyorch is not told of that.
func (d *Device) refused(s segment, r reply, states ...state) error {
	said := words(r)
	for _, of := range states {
		said = of.scrub(said)
	}
	for _, protocol := range s.protocols {
		if path := d.file(s, "."+protocol); strings.Contains(said, path+":") {
			said += fmt.Sprintf(" (is %s included before it?)", d.file(s, constantsExt))
		}
	}
	return fault.New(fault.Unavailable, "bird refuses its configuration: %s", said)
}

// scrub takes passwords out of what BIRD said. It quotes none, as far as is known.
func (s state) scrub(text string) string {
	for _, k := range s.Keys {
		for _, secret := range [][]byte{password(k.OSPF), k.ospfPassword(), password(k.BFD)} {
			text = strings.ReplaceAll(text, string(secret), "[redacted]")
			clear(secret)
		}
	}
	return text
}
