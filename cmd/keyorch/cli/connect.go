package cli

import (
	"context"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/store"
)

// dialTime is how long a server may take to answer the first question.
const dialTime = 5 * time.Second

// observe is told of requests to a server, for metrics; nil: nobody is.
type observe func(op string, took time.Duration, err error)

// openStore is for verbs: whose certificate Vault signs gets one first when there is
// none, or it is due.
func (a *app) openStore(ctx context.Context) (*store.Store, error) {
	if a.getenv(envPKI) != "" {
		if err := a.renewal(lateSigner{a}, slog.New(slog.DiscardHandler)).Ensure(ctx); err != nil {
			return nil, err
		}
	}
	return a.openStoreObserved(ctx, nil)
}

func (a *app) openStoreObserved(ctx context.Context, told observe) (*store.Store, error) {
	c := store.EnvConfig(a.getenv)
	c.Observe, c.Plain = told, a.plain
	return store.Open(ctx, c)
}

func (a *app) openCustody(ctx context.Context) (*custody.Custody, error) {
	return a.openCustodyObserved(ctx, nil, nil)
}

// openCustodyObserved connects to Vault and logs in, as the settings say. Log gets
// what becomes of the login later; nil: nobody does.
func (a *app) openCustodyObserved(ctx context.Context, told observe, log *slog.Logger) (*custody.Custody, error) {
	config, err := custody.EnvConfig(a.getenv)
	if err != nil {
		return nil, err
	}
	config.Observe, config.Logger = told, log
	c, err := custody.Open(config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	if err := c.Ping(ctx); err != nil {
		return nil, err
	}
	return c, c.Login(ctx)
}

func (a *app) openTemporal(ctx context.Context, level string, more ...func(*client.Options)) (*wiring.TemporalClient, error) {
	log, err := a.logger(level)
	if err != nil {
		return nil, err
	}
	t, err := wiring.ReadTemporal(environment{a})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	return t.Dial(ctx, log, more...)
}

// environment is the process's, as Temporal's settings are read from it.
type environment struct{ *app }

// LookupEnv implements envconfig.EnvLookup: empty is not set.
func (e environment) LookupEnv(name string) (string, bool) {
	v := e.getenv(name)
	return v, v != ""
}

// Environ implements envconfig.EnvLookup: it is asked for names that begin with
// TEMPORAL_GRPC_META_.
func (e environment) Environ() []string {
	if e.environ == nil {
		return nil
	}
	return e.environ()
}
