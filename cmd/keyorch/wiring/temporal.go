// Package wiring puts keyorch together: it gives the workflows their store and
// custodian, the agents their devices, and runs both. Everything is wired by
// hand and nothing registers itself.
package wiring

import (
	"context"
	"log/slog"
	"net"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/keyorch/keyorch/fault"
)

// DialTemporal connects to a Temporal frontend. An empty address is
// "localhost:7233" and an empty namespace "default", as for Temporal's own
// tools; more changes the rest of the options. Faults: Unavailable when it does not
// answer before ctx ends.
func DialTemporal(ctx context.Context, address, namespace string, logger *slog.Logger, more ...func(*client.Options)) (client.Client, error) {
	if address == "" {
		address = client.DefaultHostPort
	}
	if namespace == "" {
		namespace = client.DefaultNamespace
	}
	options := client.Options{HostPort: address, Namespace: namespace, Logger: log.NewStructuredLogger(logger)}
	if onThisMachine(address) { // compressing saves nothing there
		options.ConnectionOptions.GrpcCompression = &client.GrpcCompressionNone{}
	}
	for _, change := range more {
		change(&options)
	}
	c, err := client.DialContext(ctx, options)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "connect to temporal: %s does not answer", address)
	}
	return c, nil
}

// onThisMachine reports whether an address is a loopback one.
func onThisMachine(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
