package devstack

import (
	"context"
	"os"
	"path/filepath"

	"go.temporal.io/sdk/client"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"

	"github.com/keyorch/keyorch/fault"
)

// TemporalOptions change how Temporal runs, for tests of what keyorch does then. The
// zero value changes nothing.
type TemporalOptions struct {
	// Configure changes the static configuration, say to ask for TLS.
	Configure func(*config.Config)
	// Tuning is put over the dynamic configuration.
	Tuning dynamicconfig.StaticClient
	// Authorizer and Claims say who may do what; nil lets everybody do everything.
	Authorizer authorization.Authorizer
	Claims     authorization.ClaimMapper
	// Dial is how the stack itself asks whether Temporal answers, when it takes more
	// than an address.
	Dial func(*client.Options)
}

func (o TemporalOptions) tuned(own dynamicconfig.StaticClient) dynamicconfig.StaticClient {
	for key, value := range o.Tuning {
		own[key] = value
	}
	return own
}

func (o TemporalOptions) guards(conf *config.Config, logger log.Logger) (a authorization.Authorizer, c authorization.ClaimMapper, err error) {
	if a = o.Authorizer; a == nil {
		if a, err = authorization.GetAuthorizerFromConfig(&conf.Global.Authorization); err != nil {
			return nil, nil, err
		}
	}
	if c = o.Claims; c == nil {
		c, err = authorization.GetClaimMapperFromConfig(&conf.Global.Authorization, logger)
	}
	return a, c, err
}

// StartTemporal runs a Temporal alone, without etcd and Vault, with everything below
// dir. It logs to dir/temporal.log. The function returned stops it.
func StartTemporal(ctx context.Context, dir string, o TemporalOptions) (address string, stop func() error, err error) {
	ports, err := settlePorts(dir, Ports{})
	if err != nil {
		return "", nil, err
	}
	logFile, err := os.OpenFile(filepath.Join(dir, "temporal.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return "", nil, fault.Wrap(fault.Unavailable, err, "start temporal")
	}
	server, err := startTemporal(ctx, dir, ports, logFile, o)
	if err != nil {
		_ = logFile.Close()
		return "", nil, err
	}
	return temporalAt(ports), func() error {
		err := server.Stop()
		_ = logFile.Close()
		return err
	}, nil
}

func temporalAt(ports Ports) string { return address(ports.Temporal) }
