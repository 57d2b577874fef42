package macsec

import (
	"cmp"
	"context"
	"slices"

	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/devices/macsec/secy"
	"github.com/keyorch/keyorch/devices/turnstile"
	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/upstream"
)

// Device is the MACsec interfaces of one node. It is safe for concurrent use;
// operations on one interface wait for each other.
type Device struct {
	config
	node keychain.NodeID
	open func(ctx context.Context, netns, iface string) (kernel, error)
	busy turnstile.Turnstile[string] // by interface
}

// kernel is one interface for the time of one operation: secy.Conn.
type kernel interface {
	Show() (secy.SecY, error)
	AddRXSC(peer secy.SCI) error
	ActivateRXSC(peer secy.SCI) error
	AddRXSA(peer secy.SCI, an uint8, key secy.Key) error
	ActivateRXSA(peer secy.SCI, an uint8) error
	DeleteRXSA(peer secy.SCI, an uint8) error
	AddTXSA(an uint8, key secy.Key) error
	DeleteTXSA(an uint8) error
	Encode(an uint8) error
	Close()
}

// New is the driver of kind macsec: the device of one node, as the topology
// declares it. It asks the kernel nothing yet. Errors: Invalid.
func New(node keychain.NodeID, fields map[string]any) (*Device, error) {
	c, err := read(fields)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "device of %s", node)
	}
	return &Device{config: c, node: node, open: openInterface}, nil
}

func openInterface(ctx context.Context, netns, iface string) (kernel, error) {
	c, err := secy.Open(ctx, netns, iface)
	if err != nil {
		return nil, err // not c, which would be an interface that is not nil
	}
	return c, nil
}

// Capabilities is what MACsec in Linux can do.
func (d *Device) Capabilities() keychain.Capabilities { return capabilities() }

// Upstream is the node's sending side.
func (d *Device) Upstream() upstream.Device { return Upstream{d} }

// Downstream is the node's receiving side.
func (d *Device) Downstream() downstream.Device { return Downstream{d} }

// operate does something with the interface of link, as its SecY is now, when
// nobody else does. f gets the parameters of the link.
func (d *Device) operate(ctx context.Context, link keychain.LinkID, f func(p part, k kernel, now secy.SecY) error) error {
	p, err := d.part(link)
	if err != nil {
		return err
	}
	leave, err := d.busy.Enter(ctx, p.iface)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "wait for %s", d.place(p))
	}
	defer leave()
	k, err := d.open(ctx, d.netns, p.iface)
	if err != nil {
		return err
	}
	defer k.Close()
	now, err := k.Show()
	if err != nil {
		return err
	}
	return f(p, k, now)
}

// entry is an SA with the key that its identifier names: the zero Ref for a key
// that is not ours.
type entry struct {
	secy.SA
	ref keychain.Ref
}

func entries(sas []secy.SA) []entry {
	var all []entry
	for _, sa := range sas {
		ref, _ := keying.ParseName(sa.KeyID[:])
		all = append(all, entry{sa, ref})
	}
	slices.SortStableFunc(all, func(a, b entry) int { return cmp.Compare(a.ref.Epoch, b.ref.Epoch) })
	return all
}

// ofEpoch is the SA of an epoch of ours, and underAN the one under a number.
func ofEpoch(all []entry, e keychain.Epoch) (entry, bool) {
	return first(all, func(a entry) bool { return a.ref.Epoch == e })
}

func underAN(all []entry, an keychain.AN) (entry, bool) {
	return first(all, func(a entry) bool { return a.AN == uint8(an) })
}

func first(all []entry, ok func(entry) bool) (entry, bool) {
	i := slices.IndexFunc(all, ok)
	if i < 0 {
		return entry{}, false
	}
	return all[i], true
}
