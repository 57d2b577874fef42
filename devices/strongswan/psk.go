package strongswan

import (
	"slices"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// psk is the keys of a link as the PSK of IKE. charon verifies a peer with every
// secret that one of the two identities owns, and signs with the one whose owners
// match best: that of the remote identity counts most, then that of the local one,
// then the last that was loaded. So each key has up to two secrets of the same
// bytes: one that the remote identity owns accepts, and one that both own outranks
// it and signs.
type psk struct {
	device *Device
	link   keychain.LinkID
	pskConfig
}

const (
	accepting = ".accept"
	signing   = ".sign"
	// answering ends the name of the connection that answers probes.
	answering = "probe"
)

func (p psk) label() string { return "keyorch/v1 strongswan psk" }

// secrets lists the keys that charon accepts with, and those that it signs with:
// one, but for a switch that was broken off.
func (p psk) secrets(t *talk) (accept, sign []keychain.Ref, err error) {
	names, err := t.secrets()
	return named(p.link, names, accepting), named(p.link, names, signing), err
}

// held lists both kinds, since both verify.
func (p psk) held(t *talk) ([]keychain.Ref, error) {
	accept, sign, err := p.secrets(t)
	return sorted(append(accept, sign...)), err
}

// accepts lists nothing while charon has no connection to answer probes with, so
// that it is loaded again: without it the peer cannot switch.
func (p psk) accepts(t *talk) ([]keychain.Ref, error) {
	loaded, err := t.loaded()
	if err != nil || !slices.Contains(loaded, p.answer()) {
		return nil, err
	}
	accept, _, err := p.secrets(t)
	return accept, err
}

// answer is the name of the connection that answers probes.
func (p psk) answer() string { return namePrefix + string(p.link) + "." + answering }

// load loads the key so that it is accepted. The connection comes first: what
// accepts also answers.
func (p psk) load(t *talk, r keychain.Ref, key secret.Key) error {
	err := t.change("load-conn", message(p.answer(), p.probe(p.link, keychain.Ref{}).message()))
	if err != nil {
		return err
	}
	owners := []string{p.remote, probeID(p.link, r, p.remote)}
	return t.loadSecret(nameOf(p.link, r)+accepting, "IKE", owners, key)
}

// unload leaves what is shown for last, so that it is repeated when it is broken
// off.
func (p psk) unload(t *talk, r keychain.Ref) error {
	if err := t.unloadSecret(nameOf(p.link, r) + signing); err != nil {
		return err
	}
	return t.unloadSecret(nameOf(p.link, r) + accepting)
}

func (p psk) initiates() error { return nil }

// sends is the key that charon signs with, while the tunnel is up that keyorch
// looks after. While there are two, which only a switch that was broken off leaves
// behind, it is none, and the switch is repeated.
func (p psk) sends(t *talk) (keychain.Ref, error) {
	_, sign, err := p.secrets(t)
	if err != nil || len(sign) != 1 {
		return keychain.Ref{}, err
	}
	up, err := p.up(t)
	if err != nil || !up {
		return keychain.Ref{}, err
	}
	return sign[0], nil
}

// lead has the peer prove that it accepts r, and then signs with r.
func (p psk) lead(t *talk, r keychain.Ref, key secret.Key) error {
	accept, sign, err := p.secrets(t)
	if err != nil {
		return err
	}
	if err := p.device.other(append(slices.Clone(accept), sign...), r); err != nil {
		return err
	}
	up, err := p.up(t)
	if err != nil || up && slices.Equal(sign, []keychain.Ref{r}) {
		return err
	}
	if err := p.prove(t, r, key, slices.Contains(accept, r)); err != nil {
		return err
	}
	// What is proven is taken also when the caller's context has ended: it is short,
	// and leaves one key that signs.
	err = p.device.afterwards(t.ctx, func(t *talk) error { return p.sign(t, r, key, sign) })
	if err != nil {
		return err
	}
	return p.refresh(t, up)
}

// sign makes charon sign with r: from the first step on, since it is the last that
// is loaded.
func (p psk) sign(t *talk, r keychain.Ref, key secret.Key, before []keychain.Ref) error {
	err := t.loadSecret(nameOf(p.link, r)+signing, "IKE", []string{p.local, p.remote}, key)
	if err != nil {
		return err
	}
	for _, old := range before {
		if old == r {
			continue
		}
		if err := t.unloadSecret(nameOf(p.link, old) + signing); err != nil {
			return fault.Wrap(fault.Unknown, err, "leave epoch %d alone to sign on %s", r.Epoch, p.link)
		}
	}
	return nil
}
