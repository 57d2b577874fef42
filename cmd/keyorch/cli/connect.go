package cli

import (
	"context"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/store"
)

// dialTime is how long a server may take to answer the first question.
const dialTime = 5 * time.Second

func (a *app) openStore(ctx context.Context) (*store.Store, error) {
	return store.Open(ctx, store.EnvConfig(a.getenv))
}

func (a *app) openCustody(ctx context.Context) (*custody.Custody, error) {
	if a.getenv("VAULT_ADDR") == "" {
		return nil, fault.New(fault.Invalid, "connect to vault: VAULT_ADDR is not set")
	}
	c, err := custody.Open(custody.Config{
		Address: a.getenv("VAULT_ADDR"), Token: a.getenv("VAULT_TOKEN"), Namespace: a.getenv("VAULT_NAMESPACE"),
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	return c, c.Ping(ctx)
}

func (a *app) openTemporal(ctx context.Context, level string) (client.Client, error) {
	log, err := a.logger(level)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	return wiring.DialTemporal(ctx, a.getenv("TEMPORAL_ADDRESS"), a.getenv("TEMPORAL_NAMESPACE"), log)
}
