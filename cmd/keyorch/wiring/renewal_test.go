package wiring_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/identity/identitytest"
)

// signer is Vault's PKI, which may be away.
type signer struct {
	t         *testing.T
	authority *identitytest.Authority
	life      time.Duration
	away      atomic.Bool
	asked     atomic.Int64
}

func (s *signer) SignCSR(ctx context.Context, _ string, csr []byte) (custody.Signed, error) {
	if s.asked.Add(1) > 100 { // without a pause between them, no time would ever pass
		<-ctx.Done()
	}
	if s.away.Load() {
		return custody.Signed{}, fault.New(fault.Unavailable, "reach vault")
	}
	now := time.Now()
	return custody.Signed{Chain: string(s.authority.Sign(s.t, csr, identitytest.Life(now, now.Add(s.life))))}, nil
}

// renewing is the renewal of a site's agent that has no certificate yet.
func renewing(t *testing.T) (wiring.Renewal, *signer) {
	t.Helper()
	s := &signer{t: t, authority: identitytest.NewAuthority(t), life: time.Hour}
	files := identity.Directory(t.TempDir()).Files()
	identitytest.Write(t, files.CA, s.authority.PEM())
	return wiring.Renewal{Files: files, PKI: "keyorch-pki/sign/keyorch-agent.dc2", Signer: s, Logger: slog.New(slog.DiscardHandler)}, s
}

func TestACertificateIsGotAndRenewedWhenItIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := renewing(t)
		if err := r.Ensure(t.Context()); err != nil || s.asked.Load() != 1 {
			t.Fatalf("%v after %d requests", err, s.asked.Load())
		}
		if err := r.Ensure(t.Context()); err != nil || s.asked.Load() != 1 {
			t.Errorf("one that is fresh: %v after %d requests", err, s.asked.Load())
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go r.Keep(ctx)
		for range 10 {
			time.Sleep(time.Hour)
			if err := r.Files.Check(time.Now(), "etcd"); err != nil {
				t.Error(err)
			}
		}
		if n := s.asked.Load(); n < 12 || n > 22 { // every half to five sixths of an hour
			t.Errorf("asked %d times in 10 h", n)
		}
	})
}

func TestACertificateThatIsStillGoodIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := renewing(t)
		if err := r.Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.away.Store(true)
		time.Sleep(55 * time.Minute) // it is due, and lasts for 5 minutes
		if err := r.Ensure(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(6 * time.Minute)
		if err := r.Ensure(t.Context()); !fault.Is(err, fault.Unavailable) {
			t.Errorf("one that has expired, and Vault away: %v", err)
		}
	})
}

// What a new certificate does not mend must not have Vault asked without a pause.
func TestFilesThatCannotBeUsedAreNotRenewedInALoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := renewing(t)
		if err := os.WriteFile(r.Files.CA, bytes.Repeat([]byte("x"), 10), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := r.Ensure(t.Context()); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v", err)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go r.Keep(ctx)
		time.Sleep(10 * time.Minute)
		if n := s.asked.Load(); n > 20 {
			t.Errorf("asked %d times in 10 min", n)
		}
	})
}

func TestAPathWithoutAnIdentityIsNamed(t *testing.T) {
	r, s := renewing(t)
	r.PKI = "keyorch-pki/sign/somebody"
	if err := r.Ensure(t.Context()); !fault.Is(err, fault.Invalid) || s.asked.Load() != 0 {
		t.Errorf("%v after %d requests", err, s.asked.Load())
	}
}
