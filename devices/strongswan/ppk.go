package strongswan

import (
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// ppk is the keys of a link as PPKs: the responder looks one up by the name that
// the initiator gives, so all that it holds are accepted.
type ppk struct {
	device *Device
	link   keychain.LinkID
	linkConfig
}

func (p ppk) label() string { return "keyorch/v1 strongswan ppk" }

func (p ppk) held(t *talk) ([]keychain.Ref, error) {
	names, err := t.secrets()
	return named(p.link, names, ""), err
}

func (p ppk) accepts(t *talk) ([]keychain.Ref, error) { return p.held(t) }

func (p ppk) load(t *talk, r keychain.Ref, key secret.Key) error {
	name := nameOf(p.link, r)
	return t.loadSecret(name, "ppk", []string{name}, key)
}

func (p ppk) unload(t *talk, r keychain.Ref) error { return t.unloadSecret(nameOf(p.link, r)) }

func (p ppk) initiates() error {
	if p.connection == nil {
		return fault.New(fault.Invalid, "%s has no connection for link %s: add it under device.links.%s.connection", p.device.node, p.link, p.link)
	}
	return nil
}

// sends is the key whose SAs carry the traffic. While SAs under two keys are up,
// which only a switch that was broken off leaves behind, it names none of them: the
// older one would take the traffic back at its next rekeying, and the switch that
// is then repeated ends it.
func (p ppk) sends(t *talk) (keychain.Ref, error) {
	all, err := t.associations(p.link)
	return all.sends(p.connection.children()), err
}

// lead establishes an IKE SA under the key beside the one in use, which it then
// takes over from; then all others are ended.
func (p ppk) lead(t *talk, r keychain.Ref, key secret.Key) error {
	s := &change{ppk: p, ref: r, key: key}
	return s.run(t)
}
