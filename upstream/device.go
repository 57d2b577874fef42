// Package upstream is the sending role of a node: what a device that sends must
// be able to do, and how an order to send is obeyed.
//
// Switching comes last and only on an order: nothing in this package installs a
// key for sending that the order does not name, and a failed switch leaves the
// old key in use.
package upstream

import (
	"context"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// Observation is what a device says that it does now, without key bytes.
type Observation struct {
	// Sends is the key in use; zero when the device sends nothing on this link.
	Sends keychain.Ref
	// Holds lists, sorted by epoch, every key that the device still has for this link
	// and could send with, the one in use among them; nil when it cannot tell. Who says
	// that a former key is gone goes by this.
	Holds []keychain.Ref
	// Packets counts what was sent, by epoch; nil when the device does not count.
	Packets map[keychain.Epoch]uint64
}

// Device is one node's sending side, as a driver shows it. Every method is
// idempotent, safe to repeat after an unknown outcome, and safe for concurrent
// use for different links.
//
// Errors carry a fault kind: Invalid (the node's parameters are wrong), Refused
// (the device says no, for good), Unavailable (it could not be reached, nothing
// happened), Unknown (it may have happened), Mismatch (it has another key under
// that epoch). No error holds key bytes.
type Device interface {
	// Observe reads back what the device sends with on link.
	Observe(ctx context.Context, link keychain.LinkID) (Observation, error)
	// Switch makes the device send with this key. When it fails with any kind but
	// Unknown, the key that was in use still is. Switching to the key in use is no
	// error and does not restart its counter.
	Switch(ctx context.Context, sa keychain.SA, key secret.Key) error
	// Capabilities says what this device, as configured, can do.
	Capabilities() keychain.Capabilities
}

// Resumer is implemented by counter-bound devices that can go back to a sending
// key which is still installed with its counter. There is no key in the call, so
// that it cannot install one anew.
type Resumer interface {
	// Resume sends with sa again. Refused says that the device does not hold it
	// any more.
	Resume(ctx context.Context, sa keychain.SA) error
}
