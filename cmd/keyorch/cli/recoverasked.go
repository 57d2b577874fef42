package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/fault"
)

// forgone is why nobody can use a request for approvals any more.
const forgone = "etcd was recovered, and may have forgotten that it was used: ask anew"

// endRequests ends the requests for approvals that are open. An etcd that was put back
// does not know which of them were used since its copy was made, and what approvers have
// signed once could be done twice.
func (r *rescue) endRequests(ctx context.Context) error {
	all, err := r.store.Approvals(ctx)
	if err != nil && !fault.Is(err, fault.Mismatch) { // what cannot be read cannot be used
		return err
	}
	now := time.Now().UTC()
	ended := 0
	for _, a := range all.Asked {
		if a.Ended != nil || !now.Before(a.Request.Expires) {
			continue
		}
		ended++
		if r.dry {
			continue
		}
		end := approval.End{ID: a.Request.ID(), State: approval.Rejected, At: now, Reason: forgone}
		if err := r.store.EndApproval(ctx, end, wiring.EndRecord(a, end)); err != nil {
			return err
		}
	}
	if ended > 0 {
		words := "ended"
		if r.dry {
			words = "to be ended"
		}
		_, _ = fmt.Fprintf(r.app.err, "open requests for approvals: %d %s, since etcd may have forgotten that they were used\n", ended, words)
	}
	return nil
}
