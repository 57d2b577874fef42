package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/topology"
)

// testFreedPolicies has a worker that has not seen the newest rules yet: they may ask for
// approvals of policies, which must not be freed any more.
func testFreedPolicies(t *testing.T, e *env) {
	s := e.open()
	read := func() inForce {
		a, err := s.Approvals(e.ctx)
		must(t, err)
		return inForce{a.Rules.Revision, a.Pinned}
	}
	must(t, s.PinRules(e.ctx, approval.InForce{Since: time.Now()}, approval.Consent{}))
	before := read()
	must(t, s.PinPolicies(e.ctx, topology.Pinned{}, 0, approval.Consent{}))
	must(t, s.PinRules(e.ctx, approval.InForce{Since: time.Now(), Revision: before.rules}, approval.Consent{}))
	now := read()
	wantKind(t, s.FreePolicies(e.ctx, now.policies, before.rules), fault.Stale)
	if got := read(); got != now || got.policies == 0 {
		t.Errorf("by rules of before, what is pinned is %+v, want %+v", got, now)
	}
	must(t, s.FreePolicies(e.ctx, now.policies, now.rules))
	if got := read(); got.policies != 0 {
		t.Errorf("policies are not freed: %+v", got)
	}
}

// inForce is the revisions of the rules and of the policies in force.
type inForce struct{ rules, policies int64 }

func testForgottenEnds(t *testing.T, e *env) {
	s := e.open()
	asked := time.Now().Add(-2 * approval.MaxDeadline)
	var ids []string
	for i := range 250 { // more than fit into two transactions
		r := approval.NewRequest(approval.Plan{Verb: approval.Revoke, Reason: fmt.Sprint(i)}, asked, time.Hour)
		ids = append(ids, r.ID())
		must(t, s.EndApproval(e.ctx, approval.End{ID: r.ID(), State: approval.Used, At: asked}))
	}
	fresh := approval.NewRequest(approval.Plan{Verb: approval.Revoke}, time.Now(), time.Hour).ID()
	must(t, s.EndApproval(e.ctx, approval.End{ID: fresh, State: approval.Used, At: time.Now()}))
	view, err := s.View(e.ctx)
	must(t, err)
	if got := view.EndsOver(time.Now()); len(got) != len(ids) {
		t.Errorf("%d ends are over, want %d", len(got), len(ids))
	}
	must(t, s.ForgetEnds(e.ctx, view.EndsOver(time.Now())))
	must(t, view.CatchUp(e.ctx))
	left := view.EndsOver(time.Now().Add(2 * approval.MaxDeadline))
	if len(left) != 1 || left[0] != fresh {
		t.Errorf("after that there are the ends of %q, want that of %s", left, fresh)
	}
}
