// Package wiring puts keyorch together: it gives the workflows their store and
// custodian, the agents their devices, and runs both. Everything is wired by
// hand and nothing registers itself.
package wiring

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net"
	"strings"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/log"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/sealing"
)

// Temporal is how Temporal is reached, and with which keys what it is given is sealed.
type Temporal struct {
	// Profile is as Temporal's own tools have it. An empty address is
	// "localhost:7233" and an empty namespace "default".
	Profile envconfig.ClientConfigProfile
	// Codec is a file of keys for package sealing; empty for none.
	Codec string
}

// TemporalClient is a connection to Temporal. Its Keys may be nil.
type TemporalClient struct {
	client.Client
	Namespace string
	Keys      *sealing.Keys
}

// Campaigns are those of the connection.
func (c *TemporalClient) Campaigns() Campaigns { return Campaigns{Client: c.Client, Keys: c.Keys} }

// Schedules are those of the connection.
func (c *TemporalClient) Schedules() Schedules { return Schedules{Client: c.Client, Keys: c.Keys} }

// CodecVariable names the file of codec keys.
const CodecVariable = "KEYORCH_TEMPORAL_CODEC"

// ReadTemporal reads the variables of Temporal's own tools (TEMPORAL_ADDRESS and so
// on), over their configuration file, and CodecVariable. Faults: Invalid.
func ReadTemporal(env envconfig.EnvLookup) (Temporal, error) {
	if file, _ := env.LookupEnv("TEMPORAL_CONFIG_FILE"); file != "" {
		if err := readable(file, "TEMPORAL_CONFIG_FILE"); err != nil {
			return Temporal{}, err
		}
	}
	profile, err := envconfig.LoadClientConfigProfile(envconfig.LoadClientConfigProfileOptions{EnvLookup: env})
	if err != nil {
		if name, _ := env.LookupEnv("TEMPORAL_PROFILE"); strings.Contains(err.Error(), "unable to find profile") {
			return Temporal{}, fault.New(fault.Invalid, "read settings of temporal: TEMPORAL_PROFILE: the configuration file has no profile %q", name)
		}
		// What the library says may quote the file, and there are API keys in it.
		return Temporal{}, fault.New(fault.Invalid, "read settings of temporal: the configuration file is malformed or cannot be read: see temporal config list")
	}
	codec, _ := env.LookupEnv(CodecVariable)
	return Temporal{Profile: profile, Codec: codec}, nil
}

// DialTemporal connects to a Temporal that asks for nothing but an address and a
// namespace: see Temporal.Dial.
func DialTemporal(ctx context.Context, address, namespace string, logger *slog.Logger, more ...func(*client.Options)) (*TemporalClient, error) {
	return Temporal{Profile: envconfig.ClientConfigProfile{Address: address, Namespace: namespace}}.Dial(ctx, logger, more...)
}

// Dial connects; more changes the options. Faults: Invalid and Refused for settings
// that are wrong and for what the server says to them; Unavailable when it does not
// answer before ctx ends.
func (t Temporal) Dial(ctx context.Context, logger *slog.Logger, more ...func(*client.Options)) (*TemporalClient, error) {
	var keys *sealing.Keys
	var err error
	if t.Codec != "" {
		if keys, err = sealing.Read(t.Codec); err != nil {
			return nil, err
		}
	}
	options, err := t.options(keys)
	if err != nil {
		return nil, err
	}
	options.Logger = log.NewStructuredLogger(logger)
	for _, change := range more {
		change(&options)
	}
	c, err := client.DialContext(ctx, options)
	if err != nil {
		return nil, t.unanswered(ctx, options, err)
	}
	_, err = c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: options.Namespace})
	if err != nil {
		c.Close()
		return nil, t.unanswered(ctx, options, err)
	}
	return &TemporalClient{Client: c, Namespace: options.Namespace, Keys: keys}, nil
}

func (t Temporal) options(keys *sealing.Keys) (client.Options, error) {
	profile := t.Profile
	if profile.Address == "" {
		profile.Address = client.DefaultHostPort
	}
	if profile.Namespace == "" {
		profile.Namespace = client.DefaultNamespace
	}
	host, err := hostOf(profile.Address)
	if err != nil {
		return client.Options{}, err
	}
	local := onThisMachine(host)
	if profile.APIKey != "" && profile.TLS != nil && profile.TLS.Disabled && !local {
		return client.Options{}, fault.New(fault.Invalid, "connect to temporal: TEMPORAL_TLS is off, and the API key would travel in clear: leave TEMPORAL_TLS out")
	}
	if err := checkTLS(profile.TLS); err != nil {
		return client.Options{}, err
	}
	options, err := profile.ToClientOptions(envconfig.ToClientOptionsRequest{})
	if err != nil {
		return client.Options{}, fault.New(fault.Invalid, "connect to temporal: the TLS settings contradict each other, or a certificate is malformed: see docs/temporal.md")
	}
	if options.ConnectionOptions.TLS != nil {
		keepCurrent(options.ConnectionOptions.TLS, profile.TLS, host)
	}
	if local { // compressing saves nothing there
		options.ConnectionOptions.GrpcCompression = &client.GrpcCompressionNone{}
	}
	options.DataConverter, options.FailureConverter = keys.Converter(), keys.Failures()
	if keys.Seals() {
		options.Identity = nameless()
	}
	return options, nil
}

// nameless is who a client is, for Temporal's histories, without the name of its host.
func nameless() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return "keyorch-" + hex.EncodeToString(b[:])
}

// hostOf is the host of an address, which may be one of gRPC's, "dns:///host:port".
func hostOf(address string) (string, error) {
	if _, rest, ok := strings.Cut(address, ":///"); ok {
		address = rest
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" || strings.Contains(address, "/") {
		return "", fault.New(fault.Invalid, "connect to temporal: the address %q is not HOST:PORT, as in temporal.example.com:7233: set TEMPORAL_ADDRESS", address)
	}
	return host, nil
}

// onThisMachine reports whether a host is a loopback one.
func onThisMachine(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
