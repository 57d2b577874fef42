package xfrm

import (
	"context"

	"github.com/keyorch/keyorch/devices/turnstile"
	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/upstream"
)

const (
	// label derives the key of AES and the salt of the nonce from a link key.
	label    = "keyorch/v1 xfrm rfc4106"
	saltSize = 4 // RFC 4106, section 8.1
	icvBits  = 128
)

// Device is the kernel of one node. It is safe for concurrent use; operations on
// one link wait for each other.
type Device struct {
	config
	node keychain.NodeID
	open func() (kernel, error)
	busy turnstile.Turnstile[keychain.LinkID]
}

// New is the driver of kind xfrm: the device of one node, as the topology declares
// it. It asks the kernel nothing yet. Errors: Invalid.
func New(node keychain.NodeID, fields map[string]any) (*Device, error) {
	c, err := read(fields)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "device of %s", node)
	}
	return &Device{node: node, config: c, open: func() (kernel, error) { return openKernel(c.netns) }}, nil
}

// Capabilities is what the kernel can do.
func (d *Device) Capabilities() keychain.Capabilities { return capabilities() }

// Upstream is the node's sending side. It is an upstream.Resumer.
func (d *Device) Upstream() upstream.Device { return Upstream{d} }

// Downstream is the node's receiving side.
func (d *Device) Downstream() downstream.Device { return Downstream{d} }

// operate does f with the kernel, after what was begun before on the same link. It
// comes back when ctx ends; f then ends by itself. It wipes key, which only f uses.
func (d *Device) operate(ctx context.Context, link keychain.LinkID, key secret.Key, f func(part, *session) error) error {
	p, err := d.part(link)
	if err != nil {
		key.Wipe()
		return err
	}
	leave, err := d.busy.Enter(ctx, link)
	if err != nil {
		key.Wipe()
		return fault.Wrap(fault.Unavailable, err, "nothing was asked of the kernel")
	}
	done := make(chan error, 1)
	go func() {
		defer leave()
		defer key.Wipe()
		k, err := d.open()
		if err != nil {
			done <- err
			return
		}
		defer k.Close()
		done <- f(p, &session{ctx: ctx, kernel: k, netns: d.netns})
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ended(ctx)
	}
}

// fits is Refused for an epoch that a request ID has no room for.
func fits(sa keychain.SA) error {
	if sa.Epoch > maxEpoch {
		return fault.New(fault.Refused, "epoch %d does not fit into the request ID of a security association, which has 32 bits", sa.Epoch)
	}
	return nil
}
