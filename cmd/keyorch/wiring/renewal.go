package wiring

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"path"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// Signer has certificates signed: package custody's, by Vault PKI.
type Signer interface {
	SignCSR(ctx context.Context, path string, csr []byte) (custody.Signed, error)
}

// Renewal keeps the certificate of a process fresh. What goes wrong with it stops
// nothing: the certificate in use goes on working for the sixth of its life that is
// left at least.
type Renewal struct {
	Files identity.Files
	// PKI is the path that signs, which ends with the identity's common name.
	PKI    string
	Signer Signer
	Logger *slog.Logger
}

// Ensure sees to it that there is a certificate, and that it is not due. It is for the
// start of a process: an old one that is still good is enough, whatever Vault says.
// Faults: Invalid (a path that ends with no identity), those of Signer, and those of
// identity.Files.Read for files that a new certificate does not mend.
func (r Renewal) Ensure(ctx context.Context) error {
	due, usable := r.due()
	if usable && time.Now().Before(due) {
		return nil
	}
	err := r.renew(ctx)
	if err != nil && usable {
		r.Logger.WarnContext(ctx, "the certificate is not renewed yet", "error", err)
		return nil
	}
	return err
}

// Keep renews until ctx ends.
func (r Renewal) Keep(ctx context.Context) {
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval, retry.RandomizationFactor = 5*time.Second, 10*time.Minute, 1
	due, _ := r.due()
	for wait := time.Until(due); ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(wait, 0)):
		}
		if err := r.renew(ctx); err != nil {
			wait = retry.NextBackOff()
			r.Logger.WarnContext(ctx, "cannot renew the certificate; the one in use goes on working", "error", err, "again in", wait.Round(time.Second))
			continue
		}
		retry.Reset()
		due, _ = r.due()
		wait = time.Until(due)
		r.Logger.InfoContext(ctx, "renewed the certificate", "next", due.UTC().Format(time.RFC3339))
	}
}

// due is when to renew what is in the files: at once when it cannot be used.
func (r Renewal) due() (at time.Time, usable bool) {
	if _, err := os.Stat(r.Files.Cert); err != nil {
		return time.Time{}, false
	}
	c, err := r.Files.Read(time.Now(), "etcd")
	if err != nil {
		return time.Time{}, false
	}
	return identity.RenewAt(c.Leaf, rand.Float64()), true
}

func (r Renewal) renew(ctx context.Context) error {
	id, err := identity.ParseCommonName(path.Base(r.PKI))
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "renew the certificate at %q, which must end with the name of an identity", r.PKI)
	}
	request, err := identity.NewRequest(id)
	if err != nil {
		return err
	}
	signed, err := r.Signer.SignCSR(ctx, r.PKI, request.CSR())
	if err != nil {
		return err
	}
	// The authorities of etcd are who joined's, or who wrote that file's.
	if err := request.Write(r.Files, id, []byte(signed.Chain), nil, time.Now()); err != nil {
		return err
	}
	// Files that cannot be used all the same would be due at once, again and again.
	return r.Files.Check(time.Now(), "etcd")
}
