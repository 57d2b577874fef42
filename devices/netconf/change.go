package netconf

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"reflect"
	"time"

	"github.com/keyorch/keyorch/devices/netconf/client"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

const (
	// defaultPatience is how long a lock is waited for, and a change that is not
	// confirmed: a session of ours that broke takes the device a moment to clear away.
	defaultPatience = 5 * time.Second
	pause           = 100 * time.Millisecond
)

// order is what a change is to come to.
type order struct {
	link keychain.LinkID
	key  material
	plan func(c chain) (*plan, error) // what to do about a chain
}

// change carries out an order, or finds that there is nothing to do.
func (d *Device) change(ctx context.Context, s *session, l link, o order) error {
	c, err := d.settled(ctx, s, l)
	if err != nil {
		return err
	}
	if p, err := o.planFor(c, l); err != nil || len(p.edits) == 0 {
		return err
	}
	if err := d.lock(ctx, s); err != nil {
		return err
	}
	err = d.locked(ctx, s, l, o)
	if s.Dead() {
		return err
	}
	if s.Unlock(ctx, client.CandidateConfig) != nil {
		s.Close() // which unlocks it too
	}
	if err == nil && s.stores {
		d.unstored = true
		if failed := s.Store(ctx); failed != nil {
			return fault.Wrap(fault.Unknown, failed, "the change is in force, but %s could not store it in its startup configuration", d.target.Address)
		}
		d.unstored = false
	}
	return err
}

// planFor is the plan for a chain that is this link's.
func (o order) planFor(c chain, l link) (*plan, error) {
	if err := c.judge(l.chain, o.link); err != nil {
		return nil, err
	}
	return o.plan(c)
}

// locked carries out an order in a candidate that is locked: nobody changes it,
// and it holds nobody else's changes.
func (d *Device) locked(ctx context.Context, s *session, l link, o order) error {
	c, err := running(ctx, s, l)
	if err != nil {
		return err
	}
	edited, err := candidate(ctx, s, l)
	switch {
	case err != nil:
		return err
	case !reflect.DeepEqual(c, edited):
		return fault.New(fault.Unavailable, "the candidate configuration has changes of key chain %s that somebody has not committed: commit or discard them", l.chain)
	case c.note.waits != "" && !d.stale(ctx, s, l, c.note):
		return unconfirmed(l, c.note)
	}
	p, err := o.planFor(c, l)
	if err != nil || len(p.edits) == 0 {
		return err
	}
	return d.commit(ctx, s, l, o, c.note, p)
}

// commit makes a plan true: one edit, committed for a while, read back, confirmed.
// Until the device was asked to commit, nothing has happened; from then on an error
// is of an unknown outcome, and the session is ended so that the device undoes what
// is not confirmed.
func (d *Device) commit(ctx context.Context, s *session, l link, o order, n note, p *plan) error {
	n.link, n.refs, n.waits, n.limit = o.link, p.refs(), nonce(), (d.confirm + time.Second - 1).Truncate(time.Second)
	s.Hide(o.key.text)
	defer s.Hide(nil)
	config := l.config(p, n.String(), o.key)
	defer clear(config)
	if err := s.Edit(ctx, config); err != nil {
		return discard(ctx, s, fault.Wrap(fault.Unavailable, err, "%s did not take the change of key chain %s", d.target.Address, l.chain))
	}
	err := s.CommitFor(ctx, n.limit)
	switch {
	case refused(err):
		return discard(ctx, s, fault.Wrap(fault.Unavailable, err, "%s did not commit the change of key chain %s", d.target.Address, l.chain))
	case err != nil:
		return fault.Wrap(fault.Unknown, err, "%s may have committed the change of key chain %s", d.target.Address, l.chain)
	}
	if err := d.confirmed(ctx, s, l, n, p); err != nil {
		s.Close()
		return fault.Wrap(fault.Unknown, err, "%s committed the change of key chain %s, which is not confirmed, so that it will undo it", d.target.Address, l.chain)
	}
	return nil
}

// confirmed reads back what was committed and confirms it, with the note that it no
// longer waits for that.
func (d *Device) confirmed(ctx context.Context, s *session, l link, n note, p *plan) error {
	now, err := running(ctx, s, l)
	switch {
	case err != nil:
		return err
	case now.note.String() != n.String() || !p.shows(now):
		return errors.New("it does not show the change that it said it committed")
	}
	n.waits = ""
	if err := s.Edit(ctx, append(l.open(n.String(), 0), closing...)); err != nil {
		return err
	}
	return s.Commit(ctx)
}

// settled is the key chain of a link once no change of it waits to be confirmed.
func (d *Device) settled(ctx context.Context, s *session, l link) (chain, error) {
	for began := time.Now(); ; {
		c, err := running(ctx, s, l)
		switch {
		case err != nil:
			return chain{}, err
		case c.note.waits == "":
			delete(d.waiting, l.chain)
			return c, nil
		case d.stale(ctx, s, l, c.note):
			return c, nil
		case time.Since(began) > d.patience:
			return chain{}, unconfirmed(l, c.note)
		}
		if err := sleep(ctx); err != nil {
			return chain{}, err
		}
	}
}

// stale reports whether what the note says to wait for confirmation has been made
// permanent by somebody else: it outlived its limit by far, and no commit waits,
// for then the device would not give the lock of running (RFC 6241, section 7.5).
func (d *Device) stale(ctx context.Context, s *session, l link, n note) bool {
	w, ok := d.waiting[l.chain]
	if !ok || w.change != n.waits {
		d.waiting[l.chain] = waiting{change: n.waits, since: time.Now()}
		return false
	}
	if time.Since(w.since) < n.limit+d.patience || s.Lock(ctx, client.Running) != nil {
		return false
	}
	if s.Unlock(ctx, client.Running) != nil {
		s.Close()
	}
	return true
}

func unconfirmed(l link, n note) error {
	return fault.New(fault.Unavailable, "a change of key chain %s has been committed but not confirmed: the device undoes it within %v", l.chain, n.limit)
}

// lock takes the lock of the candidate. Another session is waited for, but not for
// long.
func (d *Device) lock(ctx context.Context, s *session) error {
	for began := time.Now(); ; {
		err := s.Lock(ctx, client.CandidateConfig)
		if err == nil {
			return nil
		}
		no, ok := errors.AsType[*client.RPCError](err)
		busy := ok && (no.Tag == "lock-denied" || no.Tag == "in-use")
		switch {
		case !ok:
			return fault.Wrap(fault.Unavailable, err, "lock the candidate configuration")
		case busy && time.Since(began) < d.patience:
			if err := sleep(ctx); err != nil {
				return err
			}
			continue
		case busy && no.Session != 0:
			return fault.New(fault.Unavailable, "session %d has locked the candidate configuration: it is tried again until that lock is gone", no.Session)
		}
		return fault.Wrap(fault.Unavailable, err, "the candidate configuration cannot be locked: if somebody has changed it, commit or discard that")
	}
}

// discard takes back an edit that was not committed, and gives back why.
func discard(ctx context.Context, s *session, why error) error {
	if !s.Dead() && s.Discard(ctx) != nil {
		s.Close() // which discards it too
	}
	return why
}

// refused reports whether the device said no, and so did nothing.
func refused(err error) bool {
	_, ok := errors.AsType[*client.RPCError](err)
	return ok
}

// sleep waits for a moment.
func sleep(ctx context.Context) error {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fault.Wrap(fault.Unavailable, ctx.Err(), "wait for the device")
	}
}

// nonce tells one change from another.
func nonce() string {
	b := make([]byte, 4)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}
