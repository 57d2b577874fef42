package strongswan

import (
	"errors"

	"github.com/strongswan/govici/vici"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// prove establishes an IKE SA without children under identities that only r
// belongs to, and ends it. Both ends must sign with r for it, and verify with r. No
// traffic depends on it, and whatever is signed under the identities of the tunnel
// is not touched.
func (p psk) prove(t *talk, r keychain.Ref, key secret.Key, accepted bool) error {
	// An SA that was left behind would be taken for a new one.
	if err := p.sweep(t); err != nil {
		return fault.Wrap(fault.Unavailable, err, "end what is left of earlier probes on %s", p.link)
	}
	failed := p.tryProbe(t, r, key, accepted)
	swept := p.device.afterwards(t.ctx, func(t *talk) error {
		if failed != nil && !accepted {
			if err := t.unloadSecret(nameOf(p.link, r) + accepting); err != nil {
				return err
			}
		}
		return p.sweep(t)
	})
	if failed != nil {
		return failed
	}
	// Nothing was changed but what the next probe ends.
	return fault.Wrap(fault.Unavailable, swept, "end the probe on %s", p.link)
}

func (p psk) tryProbe(t *talk, r keychain.Ref, key secret.Key, accepted bool) error {
	if !accepted {
		if err := p.load(t, r, key); err != nil {
			return err
		}
	}
	name := nameOf(p.link, r)
	if err := t.change("load-conn", message(name, p.probe(p.link, r).message())); err != nil {
		return err
	}
	why, err := t.establish("ike", name)
	if why != "" {
		return fault.New(fault.Unavailable, "prove epoch %d on %s: %s", r.Epoch, p.link, why)
	}
	return err
}

// sweep ends all probes that this end has begun, and unloads their connections.
func (p psk) sweep(t *talk) error {
	all, err := t.associations(p.link)
	if err != nil {
		return err
	}
	for _, sa := range all {
		if err := t.terminate("ike-id", sa.id); err != nil {
			return err
		}
	}
	loaded, err := t.connections(p.link)
	if err != nil {
		return err
	}
	for _, r := range loaded {
		if err := absent(t.ask("unload-conn", message("name", nameOf(p.link, r)))); err != nil {
			return err
		}
	}
	return nil
}

// up reports whether the tunnel that keyorch looks after carries traffic; true when
// there is none to look after.
func (p psk) up(t *talk) (bool, error) {
	if p.child == "" {
		return true, nil
	}
	events, err := t.read("SAs", "list-sas", "list-sa", message("ike", p.ike))
	if err != nil {
		return false, err
	}
	for _, event := range events {
		if sa, ok := event.Get(p.ike).(*vici.Message); ok && parseSA(sa).carries(p.child) {
			return true, nil
		}
	}
	return false, nil
}

// carries reports whether a child of that name carries traffic.
func (sa ikeSA) carries(child string) bool {
	for _, c := range sa.children {
		if c.name == child && c.installed && !sa.ending {
			return true
		}
	}
	return false
}

// refresh gives the tunnel new traffic keys, or establishes it when it is not up:
// charon does not try again by itself once a peer has refused it.
func (p psk) refresh(t *talk, up bool) error {
	switch {
	case p.child == "":
		return nil
	case up:
		// One that has gone meanwhile is seen at the next look.
		_, err := t.ask("rekey", message("ike", p.ike, "child", p.child))
		if _, no := errors.AsType[refusal](err); no {
			return nil
		}
		return t.judge("rekey", err)
	}
	why, err := t.establish("ike", p.ike, "child", p.child)
	if why != "" {
		// charon says no as well when another attempt has established it meanwhile.
		if up, err := p.up(t); up && err == nil {
			return nil
		}
		return fault.New(fault.Unavailable, "establish %s of %s on %s: %s", p.child, p.ike, p.link, why)
	}
	return err
}
