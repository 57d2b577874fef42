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
	renewal := a.renewal(vault, log)
	if err := renewal.Ensure(ctx); err != nil {
		stop()
		return nil, err
	}
	over.Go(func() { renewal.Keep(ctx) })
	return stop, nil
}

// renewal keeps the certificate fresh that Vault signs at KEYORCH_PKI.
func (a *app) renewal(by wiring.Signer, log *slog.Logger) wiring.Renewal {
	return wiring.Renewal{
		Files: identity.Files{CA: a.getenv("ETCDCTL_CACERT"), Cert: a.getenv("ETCDCTL_CERT"), Key: a.getenv("ETCDCTL_KEY")},
		PKI:   a.getenv(envPKI), Signer: by, Logger: log,
	}
}

// lateSigner logs in to Vault only when there is something to sign.
type lateSigner struct{ *app }

// SignCSR implements wiring.Signer.
func (s lateSigner) SignCSR(ctx context.Context, path string, csr []byte) (custody.Signed, error) {
	vault, err := s.openCustody(ctx)
	if err != nil {
		return custody.Signed{}, err
	}
	return vault.SignCSR(ctx, path, csr)
}
