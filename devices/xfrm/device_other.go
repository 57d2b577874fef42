//go:build !linux

package xfrm

import (
	"context"

	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/upstream"
)

// Device is a node whose kernel this machine does not have. Its parameters can be
// checked, and nothing else.
type Device struct{ node keychain.NodeID }

// New checks the parameters. Errors: Invalid.
func New(node keychain.NodeID, fields map[string]any) (*Device, error) {
	if _, err := read(fields); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "device of %s", node)
	}
	return &Device{node}, nil
}

// Upstream is the node's sending side.
func (d *Device) Upstream() upstream.Device { return sender{d} }

// Downstream is the node's receiving side.
func (d *Device) Downstream() downstream.Device { return receiver{d} }

// Capabilities is what a Linux kernel can do.
func (d *Device) Capabilities() keychain.Capabilities { return capabilities() }

func (d *Device) absent() error {
	return fault.New(fault.Unavailable, "reach %s: its keys are in a Linux kernel: run the agent there", d.node)
}

type sender struct{ *Device }

func (s sender) Observe(context.Context, keychain.LinkID) (upstream.Observation, error) {
	return upstream.Observation{}, s.absent()
}

func (s sender) Switch(context.Context, keychain.SA, secret.Key) error { return s.absent() }

type receiver struct{ *Device }

func (r receiver) Observe(context.Context, keychain.LinkID) (downstream.Observation, error) {
	return downstream.Observation{}, r.absent()
}

func (r receiver) Install(context.Context, keychain.SA, secret.Key) error { return r.absent() }

func (r receiver) Remove(context.Context, keychain.SA) error { return r.absent() }
