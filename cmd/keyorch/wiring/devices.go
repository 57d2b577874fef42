package wiring

import (
	"maps"

	"github.com/keyorch/keyorch/agents"
	"github.com/keyorch/keyorch/devices/exec"
	"github.com/keyorch/keyorch/devices/sim"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// Devices builds the devices of nodes.
type Devices struct {
	// Network is the simulated network of this process, which sim devices without
	// an address of their own belong to; nil for none.
	Network *sim.Network
	// SimAddress is where they are when this process has none ("unix:///…").
	SimAddress string
}

// Kinds is every kind of device that this build drives, with what checks its
// parameters.
func Kinds() topology.Kinds {
	return topology.Kinds{
		"exec": func(d topology.Device) (keychain.Capabilities, error) { return exec.Capabilities(d.Params) },
		"sim":  func(d topology.Device) (keychain.Capabilities, error) { return sim.Capabilities(d.Params) },
	}
}

// Open makes the device of one node. Faults: Invalid for parameters that its
// kind refuses, and for a kind that this build does not have.
func (d Devices) Open(n topology.Node) (agents.Node, error) {
	switch n.Device.Kind {
	case "exec":
		gear, err := exec.New(n.Name, n.Device.Params)
		if err != nil {
			return agents.Node{}, err
		}
		return agents.Node{ID: n.Name, Kind: n.Device.Kind, Upstream: gear.Upstream(), Downstream: gear.Downstream()}, nil
	case "sim":
		params := n.Device.Params
		if d.Network == nil && d.SimAddress != "" && params["network"] == nil {
			params = maps.Clone(params)
			if params == nil {
				params = map[string]any{}
			}
			params["network"] = d.SimAddress
		}
		node, err := sim.New(n.Name, params, d.Network)
		if err != nil {
			return agents.Node{}, err
		}
		return agents.Node{ID: n.Name, Kind: n.Device.Kind, Upstream: node.Upstream(), Downstream: node.Downstream()}, nil
	}
	return agents.Node{}, fault.New(fault.Invalid, "open node %s: this build has no device kind %q", n.Name, n.Device.Kind)
}
