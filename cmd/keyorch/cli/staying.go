package cli

import (
	"cmp"
	"context"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/identity"
)

// identityOr is the directory of an agent's identity when --identity names none: the
// environment's, or the one below its state directory.
func (a *app) identityOr(stateDir string) string {
	return cmp.Or(a.getenv(envIdentity), filepath.Join(stateDir, "identity"))
}

// keepIdentity has a process that runs for long stay who it is, until the function
// returned is called: its login to Vault is kept alive, and its certificate is renewed
// where Vault signs it. A certificate that is missing is got at once. Faults: those of
// wiring.Renewal.
func (a *app) keepIdentity(ctx context.Context, vault *custody.Custody, log *slog.Logger) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var over sync.WaitGroup
	over.Go(func() { vault.Keep(ctx) })
	stop = func() { cancel(); over.Wait() }
	if a.getenv(envPKI) == "" {
		return stop, nil
	}
	renewal := wiring.Renewal{
		Files: identity.Files{CA: a.getenv("ETCDCTL_CACERT"), Cert: a.getenv("ETCDCTL_CERT"), Key: a.getenv("ETCDCTL_KEY")},
		PKI:   a.getenv(envPKI), Signer: vault, Logger: log,
	}
	if err := renewal.Ensure(ctx); err != nil {
		stop()
		return nil, err
	}
	over.Go(func() { renewal.Keep(ctx) })
	return stop, nil
}
