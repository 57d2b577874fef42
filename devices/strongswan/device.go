package strongswan

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/devices/turnstile"
	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/upstream"
)

// secretSize is the length of what charon gets for a link key. 32 bytes are the 256
// bits that RFC 8784 asks for.
const secretSize = 32

// Device operates the charon of one node. It is safe for concurrent use;
// operations on one link wait for each other.
type Device struct {
	config
	node keychain.NodeID
	busy turnstile.Turnstile[keychain.LinkID]
}

// Capabilities says that charon holds many secrets, and forgets all that was loaded
// over VICI when it restarts. They have no counter: traffic keys are new with every
// SA.
func (d *Device) Capabilities() keychain.Capabilities { return capabilities() }

// Upstream is the node as a sender.
func (d *Device) Upstream() upstream.Device { return Upstream{d} }

// Downstream is the node as a receiver.
func (d *Device) Downstream() downstream.Device { return Downstream{d} }

// mode is what the keys of one link are to charon: PPKs, or the PSK of IKE.
type mode interface {
	// label says how the secret is derived from the link key.
	label() string
	// held lists the keys whose secrets charon holds, sorted by epoch.
	held(*talk) ([]keychain.Ref, error)
	// accepts lists those of them that a peer can use.
	accepts(*talk) ([]keychain.Ref, error)
	// load makes charon accept a key; loading it again changes nothing.
	load(*talk, keychain.Ref, secret.Key) error
	// unload takes from charon all that it holds of a key.
	unload(*talk, keychain.Ref) error
	// initiates is Invalid when the node cannot send on the link.
	initiates() error
	// sends is the key in use.
	sends(*talk) (keychain.Ref, error)
	// lead makes a key the one in use, and the only one.
	lead(*talk, keychain.Ref, secret.Key) error
}

// mode is that of a link. Errors: Invalid.
func (d *Device) mode(link keychain.LinkID) (mode, error) {
	l, ok := d.links[link]
	switch {
	case !ok:
		return nil, params.NoLink(link)
	case l.psk != nil:
		return psk{device: d, link: link, pskConfig: *l.psk}, nil
	}
	return ppk{device: d, link: link, linkConfig: l}, nil
}

// alone calls f in a conversation with charon, one at a time for each link.
func (d *Device) alone(ctx context.Context, link keychain.LinkID, f func(*talk) error) error {
	leave, err := d.busy.Enter(ctx, link)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "wait for the operation before on link %s", link)
	}
	defer leave()
	t, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer t.hangUp()
	return f(t)
}

// secrets lists what charon's secrets are called. Errors: Unavailable.
func (t *talk) secrets() ([]string, error) {
	answers, err := t.read("secrets", "get-shared", "", nil)
	if err != nil {
		return nil, err
	}
	return texts(answers[0], "keys"), nil
}

// loadSecret gives charon a secret. The library keeps copies of what it sends that
// nobody can wipe.
func (t *talk) loadSecret(id, kind string, owners []string, key secret.Key) error {
	request := message("id", id, "type", kind, "owners", owners)
	err := key.Use(func(b []byte) error { return request.Set("data", string(b)) })
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "load %s", id)
	}
	defer request.Unset("data")
	return t.change("load-shared", request)
}

// unloadSecret takes a secret from charon.
func (t *talk) unloadSecret(id string) error {
	return t.change("unload-shared", message("id", id))
}

// named lists the keys of link in names that end with suffix, sorted by epoch.
func named(link keychain.LinkID, names []string, suffix string) []keychain.Ref {
	var refs []keychain.Ref
	for _, name := range names {
		bare, has := strings.CutSuffix(name, suffix)
		if ref, ours := parseName(link, bare); has && ours {
			refs = append(refs, ref)
		}
	}
	return sorted(refs)
}

// sorted sorts refs by epoch, and leaves each once.
func sorted(refs []keychain.Ref) []keychain.Ref {
	slices.SortFunc(refs, func(a, b keychain.Ref) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.KCV, b.KCV))
	})
	return slices.Compact(refs)
}

// other is an error when one of refs is another key under the epoch of r.
func (d *Device) other(refs []keychain.Ref, r keychain.Ref) error {
	for _, got := range refs {
		if got.Epoch == r.Epoch && got.KCV != r.KCV {
			return fault.New(fault.Mismatch, "%s has another key under epoch %d: its KCV is %s, not %s", d.node, r.Epoch, got.KCV, r.KCV)
		}
	}
	return nil
}
