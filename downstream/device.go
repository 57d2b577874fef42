// Package downstream is the receiving role of a node: what a device that
// accepts must be able to do, and how an order to accept is obeyed.
//
// Installing comes before anything else, and only what an order no longer names
// is removed, never the last key.
package downstream

import (
	"context"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// Observation is what a device says that it accepts now, without key bytes.
type Observation struct {
	// Accepts lists the keys accepted, sorted by epoch.
	Accepts []keychain.Ref
	// Packets counts what was accepted, by epoch; nil when the device does not
	// count.
	Packets map[keychain.Epoch]uint64
}

// Device is one node's receiving side, as a driver shows it. Every method is
// idempotent, safe to repeat after an unknown outcome, and safe for concurrent
// use for different links.
//
// Errors carry a fault kind, as those of upstream.Device do. No error holds key
// bytes.
type Device interface {
	// Observe reads back what the device accepts on link.
	Observe(ctx context.Context, link keychain.LinkID) (Observation, error)
	// Install makes the device accept this key as well as what it accepts now, and
	// changes nothing that is sent. Installing an accepted epoch again is no error.
	Install(ctx context.Context, sa keychain.SA, key secret.Key) error
	// Remove stops accepting the epoch of sa. Removing what is not there is no
	// error; removing the last key is Refused.
	Remove(ctx context.Context, sa keychain.SA) error
	// Capabilities says what this device, as configured, can do.
	Capabilities() keychain.Capabilities
}
