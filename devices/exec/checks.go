package exec

import (
	"errors"
	"fmt"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// accepting is the checks of the receiving role.
func (e *examination) accepting() {
	e.role = roleDownstream
	first, second := e.sample(e.a), e.sample(e.a)
	e.essential("observe shows what is accepted: nothing on a link without keys", func() error {
		for _, link := range []keychain.LinkID{e.a, e.b} {
			r, err := e.operate(opObserve, roleDownstream, sample{sa: keychain.SA{Link: link}})
			if err != nil {
				return err
			}
			if len(r.accepts) > 0 {
				return fmt.Errorf("it accepts %s on link %s: name a link that has no keys", list(r.accepts), link)
			}
		}
		return nil
	})
	e.essential("install accepts a key, and shows it with its KCV", func() error { return e.install(first, first) })
	e.essential("observe shows the key, and again when asked again", func() error {
		return errors.Join(e.accepts(e.a, first), e.accepts(e.a, first))
	})
	e.check("installing an accepted key again is no error", func() error { return e.install(first, first) })
	e.check("another key under an accepted epoch is refused", func() error {
		_, err := e.operate(opInstall, roleDownstream, e.under(e.a, first.sa.Epoch))
		return errors.Join(refused(err), e.accepts(e.a, first))
	})
	e.essential("install accepts a second key as well as the first", func() error { return e.install(second, first, second) })
	e.check("removing an epoch that is not there is no error", func() error {
		_, err := e.operate(opRemove, roleDownstream, e.sample(e.a))
		return errors.Join(err, e.accepts(e.a, first, second))
	})
	e.essential("remove takes away its epoch and no other", func() error {
		r, err := e.operate(opRemove, roleDownstream, first)
		if err != nil {
			return err
		}
		return errors.Join(showsAll(r.accepts, []sample{second}), e.accepts(e.a, second))
	})
	e.check("the last key is not removed", func() error {
		_, err := e.operate(opRemove, roleDownstream, second)
		return errors.Join(refused(err), e.accepts(e.a, second))
	})
	other := e.sample(e.b)
	e.check("links do not touch each other", func() error {
		return errors.Join(e.install(other, other), e.accepts(e.a, second))
	})
	e.check("fields that it does not know are left alone", e.unknownFields)
	broken := e.sample(e.b)
	e.check("an install that was killed in the middle can be repeated", func() error {
		e.interrupted(opInstall, roleDownstream, broken)
		return errors.Join(either(e.accepts(e.b, other), e.accepts(e.b, other, broken)), e.install(broken, other, broken))
	})
}

// install wants an install to show these keys, there and when asked again.
func (e *examination) install(s sample, want ...sample) error {
	r, err := e.operate(opInstall, roleDownstream, s)
	if err != nil {
		return err
	}
	return errors.Join(showsAll(r.accepts, want), e.accepts(s.sa.Link, want...))
}

// unknownFields observes with a field that this version of the contract does not
// have, as a later one may.
func (e *examination) unknownFields() error {
	before, err := e.operate(opObserve, roleDownstream, sample{sa: keychain.SA{Link: e.a}})
	if err != nil {
		return err
	}
	r := request{Op: opObserve, Role: roleDownstream, Link: e.a, Later: "a field of a later version"}
	after, err := e.Device.operate(e.ctx, r, secret.Key{})
	if err != nil {
		return fmt.Errorf("with one field more in the request: %w", err)
	}
	if list(before.accepts) != list(after.accepts) {
		return fmt.Errorf("with one field more in the request it shows %s, without it %s", list(after.accepts), list(before.accepts))
	}
	return nil
}

// sending is the checks of the sending role.
func (e *examination) sending() {
	e.role = roleUpstream
	first, second := e.sample(e.a), e.sample(e.a)
	e.essential("observe shows what is sent with: nothing on a link without keys", func() error {
		for _, link := range []keychain.LinkID{e.a, e.b} {
			r, err := e.operate(opObserve, roleUpstream, sample{sa: keychain.SA{Link: link}})
			if err != nil {
				return err
			}
			if !r.sends.IsZero() {
				return fmt.Errorf("it sends with %v on link %s: name a link that has no keys", r.sends, link)
			}
		}
		return nil
	})
	e.essential("switch sends with a key, and shows it with its KCV", func() error { return e.change(first) })
	e.check("switching to the key in use is no error", func() error { return e.change(first) })
	e.check("another key under the epoch in use is refused", func() error {
		_, err := e.operate(opSwitch, roleUpstream, e.under(e.a, first.sa.Epoch))
		return errors.Join(refused(err), e.sends(e.a, first))
	})
	e.essential("switch sends with the next key", func() error { return e.change(second) })
	if !e.Device.capabilities.CounterBound {
		e.check("switch goes back to the key before, as after an abort", func() error {
			return errors.Join(e.change(first), e.change(second))
		})
	}
	other := e.sample(e.b)
	e.check("links do not touch each other", func() error {
		return errors.Join(e.change(other), e.sends(e.a, second))
	})
	broken := e.sample(e.b)
	e.check("a switch that was killed in the middle can be repeated", func() error {
		e.interrupted(opSwitch, roleUpstream, broken)
		return errors.Join(either(e.sends(e.b, other), e.sends(e.b, broken)), e.change(broken))
	})
}

// either wants one of two to hold.
func either(a, b error) error {
	if a == nil || b == nil {
		return nil
	}
	return fmt.Errorf("after the killed run neither the state before nor the one after is there: %w; %w", a, b)
}

// change wants a switch to show its key, there and when asked again.
func (e *examination) change(s sample) error {
	r, err := e.operate(opSwitch, roleUpstream, s)
	if err != nil {
		return err
	}
	if r.sends != s.sa.Ref {
		return fmt.Errorf("the gear shows that it sends with %v, want %v", r.sends, s.sa.Ref)
	}
	return e.sends(s.sa.Link, s)
}

// together is the checks of a node that stands on both sides of its link.
func (e *examination) together() {
	e.role, e.stopped = "", e.failed > 0 && e.stopped
	e.check("installing a key changes nothing that is sent", func() error {
		before, err := e.operate(opObserve, roleUpstream, sample{sa: keychain.SA{Link: e.a}})
		if err != nil {
			return err
		}
		if _, err := e.operate(opInstall, roleDownstream, e.sample(e.a)); err != nil {
			return err
		}
		return e.sends(e.a, sample{sa: keychain.SA{Link: e.a, Ref: before.sends}})
	})
	e.check("switching takes nothing away from what is accepted", func() error {
		before, err := e.operate(opObserve, roleDownstream, sample{sa: keychain.SA{Link: e.a}})
		if err != nil {
			return err
		}
		next := e.sample(e.a)
		if e.Device.capabilities.AcceptMany > len(before.accepts) {
			if _, err := e.operate(opInstall, roleDownstream, next); err != nil {
				return err
			}
			before.accepts = append(before.accepts, next.sa.Ref)
		}
		if err := e.change(next); err != nil {
			return err
		}
		after, err := e.operate(opObserve, roleDownstream, sample{sa: keychain.SA{Link: e.a}})
		for _, was := range before.accepts {
			if err == nil && after.accepted(was.Epoch) != was {
				err = fmt.Errorf("after a switch it accepts %s, before it %s", list(after.accepts), list(before.accepts))
			}
		}
		return err
	})
}
