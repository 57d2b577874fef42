//go:build !linux

package wireguard

import "github.com/keyorch/keyorch/fault"

// openHost is for operators elsewhere, whose keyorch checks parameters only.
func openHost(string) (system, error) {
	return nil, fault.New(fault.Unavailable, "WireGuard is driven on Linux only: run the agent there")
}
