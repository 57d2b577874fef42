package wiring

import (
	"maps"

	"github.com/keyorch/keyorch/agents"
	"github.com/keyorch/keyorch/devices/bird"
	"github.com/keyorch/keyorch/devices/exec"
	"github.com/keyorch/keyorch/devices/frr"
	"github.com/keyorch/keyorch/devices/haproxy"
	"github.com/keyorch/keyorch/devices/macsec"
	"github.com/keyorch/keyorch/devices/netconf"
	"github.com/keyorch/keyorch/devices/sim"
	"github.com/keyorch/keyorch/devices/strongswan"
	"github.com/keyorch/keyorch/devices/wireguard"
	"github.com/keyorch/keyorch/devices/xfrm"
	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/upstream"
)

// Devices builds the devices of nodes.
type Devices struct {
	// Network is the simulated network of this process, which sim devices without
	// an address of their own belong to; nil for none.
	Network *sim.Network
	// SimAddress is where they are when this process has none ("unix:///…").
	SimAddress string
}

// sides is a driver's device: both roles of one node.
type sides interface {
	Upstream() upstream.Device
	Downstream() downstream.Device
}

// driver is what a kind of device gives: what its parameters allow, whether a
// node may take part in a link with them, and the device itself.
type driver struct {
	capabilities func(fields map[string]any) (keychain.Capabilities, error)
	part         func(fields map[string]any, p keychain.Part) error // nil: any part
	open         func(node keychain.NodeID, fields map[string]any) (sides, error)
}

// drivers is every kind of device that this build drives, but for sim, which
// belongs to a network of this process.
func drivers() map[string]driver {
	return map[string]driver{
		"bird":       {capabilities: bird.Capabilities, part: bird.Part, open: opener(bird.New)},
		"exec":       {capabilities: exec.Capabilities, open: opener(exec.New)},
		"frr":        {capabilities: frr.Capabilities, part: frr.Part, open: opener(frr.New)},
		"haproxy":    {capabilities: haproxy.Capabilities, part: haproxy.Part, open: opener(haproxy.New)},
		"netconf":    {capabilities: netconf.Capabilities, part: netconf.Part, open: opener(netconf.New)},
		"strongswan": {capabilities: strongswan.Capabilities, part: strongswan.Part, open: opener(strongswan.New)},
		"wireguard":  {capabilities: wireguard.Capabilities, part: wireguard.Part, open: opener(wireguard.New)},
		"macsec":     {capabilities: macsec.Capabilities, part: macsec.Part, open: opener(macsec.New)},
		"xfrm":       {capabilities: xfrm.Capabilities, part: xfrm.Part, open: opener(xfrm.New)},
	}
}

// opener is open as the table has it.
func opener[D sides](open func(keychain.NodeID, map[string]any) (D, error)) func(keychain.NodeID, map[string]any) (sides, error) {
	return func(node keychain.NodeID, fields map[string]any) (sides, error) {
		d, err := open(node, fields)
		if err != nil {
			return nil, err
		}
		return d, nil
	}
}

// Kinds is every kind of device that this build drives, with what checks its
// parameters.
func Kinds() topology.Kinds {
	kinds := topology.Kinds{"sim": {Check: func(d topology.Device) (keychain.Capabilities, error) { return sim.Capabilities(d.Params) }}}
	for name, driver := range drivers() {
		kind := topology.Kind{Check: func(d topology.Device) (keychain.Capabilities, error) { return driver.capabilities(d.Params) }}
		if driver.part != nil {
			kind.Part = func(d topology.Device, p keychain.Part) error { return driver.part(d.Params, p) }
		}
		kinds[name] = kind
	}
	return kinds
}

// Open makes the device of one node. Faults: Invalid for parameters that its
// kind refuses, and for a kind that this build does not have.
func (d Devices) Open(n topology.Node) (agents.Node, error) {
	device, err := d.open(n)
	if err != nil {
		return agents.Node{}, err
	}
	return agents.Node{ID: n.Name, Kind: n.Device.Kind, Upstream: device.Upstream(), Downstream: device.Downstream()}, nil
}

func (d Devices) open(n topology.Node) (sides, error) {
	if n.Device.Kind == "sim" {
		simulated, err := sim.New(n.Name, d.simulated(n.Device.Params), d.Network)
		if err != nil {
			return nil, err
		}
		return simulated, nil
	}
	driver, ok := drivers()[n.Device.Kind]
	if !ok {
		return nil, fault.New(fault.Invalid, "open node %s: this build has no device kind %q", n.Name, n.Device.Kind)
	}
	return driver.open(n.Name, n.Device.Params)
}

// simulated are the parameters of a sim device, with the address of the network
// where they have none and this process has no network either.
func (d Devices) simulated(params map[string]any) map[string]any {
	if d.Network != nil || d.SimAddress == "" || params["network"] != nil {
		return params
	}
	params = maps.Clone(params)
	if params == nil {
		params = map[string]any{}
	}
	params["network"] = d.SimAddress
	return params
}
