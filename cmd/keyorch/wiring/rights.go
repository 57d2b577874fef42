package wiring

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/store"
)

const (
	// rightsAgain is how long it waits to ask for rights again when etcd did not answer.
	rightsAgain = time.Second
	// fewRights is how many of the rights that are missing one line names.
	fewRights = 3
)

// tellRights says so in the log when etcd does not let this process do all that its version has
// to. That is so after an upgrade until bootstrap was run again: every write is then refused, link by
// link, and nobody would look for the reason there.
func tellRights(ctx context.Context, s *store.Store, log *slog.Logger) {
	me, err := identity.ParseCommonName(s.User())
	if err != nil || me.Role == identity.Admin {
		return // without TLS there are no rights
	}
	_, lacking, err := s.Lacking(ctx, me)
	for fault.Is(err, fault.Unavailable) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(rightsAgain):
		}
		_, lacking, err = s.Lacking(ctx, me)
	}
	if err != nil || len(lacking) == 0 {
		return
	}
	log.ErrorContext(ctx, "etcd denies what this version has to do: have the administrator run keyorch bootstrap with this version; until then nothing goes on",
		"identity", me.CommonName(), "rights", len(lacking), "denied", fmt.Sprint(lacking[:min(fewRights, len(lacking))]))
}
