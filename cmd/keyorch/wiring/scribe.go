package wiring

import (
	"context"
	"log/slog"
	"time"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/store"
)

// scribeDuty is the duty of the one worker that writes the audit trail.
const scribeDuty = "scribe"

// scribeAgain is how long the scribe waits after something failed.
const scribeAgain = time.Second

// scribe writes the audit trail while this worker has the duty, until ctx ends.
func (w Worker) scribe(ctx context.Context) {
	s := &audit.Scribe{
		Ledger: w.Store.Trail(), Signer: trailSigner{w.Custody}, Logger: w.Logger, Pace: audit.DefaultPace(),
		Keys: func(ctx context.Context) (audit.Keys, error) { return w.Custody.AuditKeys(ctx) },
	}
	keepLeading(ctx, w.Store, scribeDuty, w.Logger, s.Run)
}

// keepLeading does what one worker does at a time, and comes again when it failed.
func keepLeading(ctx context.Context, s *store.Store, duty string, log *slog.Logger, run func(context.Context) error) {
	for {
		err := s.Lead(ctx, duty, run)
		if ctx.Err() != nil {
			return
		}
		log.WarnContext(ctx, "a duty was interrupted, and is taken up again", "duty", duty, "error", err)
		select {
		case <-time.After(scribeAgain):
		case <-ctx.Done():
			return
		}
	}
}

// trailSigner signs with Vault.
type trailSigner struct{ vault *custody.Custody }

func (t trailSigner) Name() string { return custody.AuditKey }

func (t trailSigner) Sign(ctx context.Context, statement []byte) (audit.Signature, error) {
	version, value, err := t.vault.SignAudit(ctx, statement)
	return audit.Signature{Key: custody.AuditKey, Version: version, Value: value}, err
}
