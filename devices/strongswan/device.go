package strongswan

import (
	"cmp"
	"context"
	"slices"

	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/devices/turnstile"
	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/upstream"
)

// ppkLabel makes the PPK of a link key. 32 bytes are the 256 bits that RFC 8784
// asks for.
const (
	ppkLabel = "keyorch/v1 strongswan ppk"
	ppkSize  = 32
)

// Device operates the charon of one node. It is safe for concurrent use;
// operations on one link wait for each other.
type Device struct {
	config
	node keychain.NodeID
	busy turnstile.Turnstile[keychain.LinkID]
}

// Capabilities says that charon holds many PPKs, and forgets all that was loaded
// over VICI when it restarts. A PPK has no counter: the traffic keys that are made
// with it are new with every SA.
func (d *Device) Capabilities() keychain.Capabilities { return capabilities() }

// Upstream is the node as an initiator.
func (d *Device) Upstream() upstream.Device { return Upstream{d} }

// Downstream is the node as a responder.
func (d *Device) Downstream() downstream.Device { return Downstream{d} }

// link is the parameters of a link. Errors: Invalid.
func (d *Device) link(link keychain.LinkID) (linkConfig, error) {
	l, ok := d.links[link]
	if !ok {
		return linkConfig{}, params.NoLink(link)
	}
	return l, nil
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

// names lists the keys of link whose secrets charon holds, sorted by epoch.
// Errors: Unavailable.
func (t *talk) names(link keychain.LinkID) ([]keychain.Ref, error) {
	answers, err := t.read("secrets", "get-shared", "", nil)
	if err != nil {
		return nil, err
	}
	var refs []keychain.Ref
	for _, id := range texts(answers[0], "keys") {
		if ref, ours := parseName(link, id); ours {
			refs = append(refs, ref)
		}
	}
	slices.SortFunc(refs, func(a, b keychain.Ref) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.KCV, b.KCV))
	})
	return refs, nil
}

// load gives charon the PPK of r; loading it again changes nothing. The library
// keeps copies of what it sends that nobody can wipe.
func (t *talk) load(link keychain.LinkID, r keychain.Ref, ppk secret.Key) error {
	name := nameOf(link, r)
	request := message("id", name, "type", "ppk", "owners", []string{name})
	err := ppk.Use(func(b []byte) error { return request.Set("data", string(b)) })
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "load epoch %d", r.Epoch)
	}
	defer request.Unset("data")
	return t.change("load-shared", request)
}

// unload takes the PPK of r from charon.
func (t *talk) unload(link keychain.LinkID, r keychain.Ref) error {
	return t.change("unload-shared", message("id", nameOf(link, r)))
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
