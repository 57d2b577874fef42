package cli

import (
	"context"
	"time"

	"github.com/keyorch/keyorch/store"
)

// identities is who is enrolled, and who was.
func (w *world) identities(ctx context.Context) (*listed, error) {
	enrolled, err := w.store.Enrolments(ctx)
	if err != nil {
		return nil, err
	}
	return identitiesOf(time.Now(), enrolled), nil
}

func identitiesOf(now time.Time, enrolled []store.Enrolment) *listed {
	l := &listed{header: []string{"IDENTITY", "AUTH", "ENROLLED", "BY", "REVOKED"}}
	for _, e := range enrolled {
		revoked := "-"
		if !e.RevokedAt.IsZero() {
			revoked = age(now, e.RevokedAt) + " ago by " + e.RevokedBy
		}
		l.add(e.Identity.CommonName(), e, string(e.Auth), age(now, e.At), dash(e.By), revoked)
	}
	return l
}
