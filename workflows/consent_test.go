package workflows_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/approval/approvaltest"
	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/workflows"
)

// consenting is a world in which anna has to approve.
func consenting(t *testing.T, verbs ...approval.Verb) (*world, approvaltest.Pen) {
	w := newWorld(t, draining("a"), draining("b"))
	w.established("a", "b")
	pen := approvaltest.Ed25519(t)
	w.rules = approval.InForce{Revision: 7, Since: time.Now(), Rules: []approval.Rule{{
		Name: "one", Verbs: verbs, Approvals: 1, Deadline: time.Hour, Approvers: []approval.Approver{{Name: "anna", Keys: []string{pen.Line()}}},
	}}}
	return w, pen
}

// approved writes a request that anna has signed, and gives its ID.
func (w *world) approved(pen approvaltest.Pen, p approval.Plan) string {
	p.Requester = "keyorch-operator.otto"
	r := approval.NewRequest(p, time.Now(), time.Hour)
	if w.consents.asked == nil {
		w.consents.asked = map[string]approval.Asked{}
	}
	w.consents.asked[r.ID()] = approval.Asked{Request: r, By: p.Requester, Votes: []approval.Vote{{By: "keyorch-operator.anna", Signature: pen.Over(r.Statement().Bytes())}}}
	return r.ID()
}

func forced(name, id string) workflows.CampaignRequest {
	return workflows.CampaignRequest{
		Name: name, Kind: campaign.Rotation, IgnoreWindows: true, Approval: id, Selection: campaign.Selection{Links: []keychain.LinkID{"a"}},
	}
}

func TestAForcedCampaignNeedsApprovals(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w, pen := consenting(t, approval.RotateForced)
		w.drives = true
		need, _ := workflows.NeedOf(forced("x", ""), w.declared, []keychain.LinkID{"a"}, false)
		id := w.approved(pen, need.Plan)
		if r := w.newRun("rotate-1").campaign(forced("rotate-1", "")); r.State != campaign.Ended || !strings.Contains(r.Reason, "needs approvals") || len(r.Waves) > 0 {
			t.Errorf("without approvals: %+v", r)
		}
		if r := w.newRun("rotate-2").campaign(forced("rotate-2", id)); r.Tally.Rotated != 1 || r.Approval != id || r.By != "keyorch-operator.otto" {
			t.Errorf("with approvals: %+v %+v", r, view{w}.Denials("rotate-2"))
		}
		if r := w.newRun("rotate-3").campaign(forced("rotate-3", id)); !strings.Contains(r.Reason, "used already") || len(r.Waves) > 0 {
			t.Errorf("a second time: %+v", r)
		}
		w.steady("a", 2, link.Rotated)
		refusals := 0
		for _, r := range w.trail {
			if r.Kind == audit.Refusal {
				refusals++
			}
		}
		if refusals != 2 {
			t.Errorf("the trail has %d refusals, want 2: %+v", refusals, w.trail)
		}
	})
}

func TestABatchIsForcedOnlyByItsCampaign(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w, _ := consenting(t, approval.RotateForced, approval.Compromise)
		for _, b := range []workflows.Batch{
			{Campaign: "of-nobody", Intent: workflows.ToRotate, IgnoreWindows: true},
			{Campaign: "of-nobody", Intent: workflows.ToRotate, Urgent: true},
			{Campaign: "of-nobody", Intent: workflows.ToRenew, IgnoreWindows: true},
		} {
			b.Links = []keychain.LinkID{"a"}
			out := w.newRun("past").outcome(b)
			if len(out.Links) != 1 || out.Links[0].Outcome != link.Denied || !strings.Contains(out.Links[0].Reason, "needs approvals") {
				t.Errorf("%+v: %+v", b, out)
			}
		}
		w.rules = approval.InForce{} // without the rules they run: it is these that stop them
		out := w.newRun("past").outcome(workflows.Batch{Campaign: "of-nobody", Intent: workflows.ToRotate, IgnoreWindows: true, Links: []keychain.LinkID{"a"}})
		want(t, out, res("a", link.Rotated, 2))
	})
}

func TestAnAbortAfterTheSwitchNeedsApprovals(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w, pen := consenting(t, approval.AbortSwitched)
		r := w.newRun(theCampaign)
		var refused, taken *update
		w.when("a", in(link.Draining), func() {
			refused = r.abort(workflows.AbortRequest{Links: []keychain.LinkID{"a"}, Reason: "no"})
			var id string
			w.locked(func() {
				need := workflows.NeedOfAbort("", []approval.Link{workflows.Rotation(w.records["a"])}, "a change of mind")
				id = w.approved(pen, need.Plan)
			})
			taken = r.abort(workflows.AbortRequest{Links: []keychain.LinkID{"a"}, Reason: "a change of mind", Approval: id})
		})
		out := r.outcome(batch("a", "b"))
		want(t, out, res("a", link.Aborted, 1), res("b", link.Rotated, 2))
		if len(refused.answer.Aborting) != 0 || len(taken.answer.Aborting) != 1 {
			t.Errorf("refused %+v, taken %+v", refused, taken)
		}
	})
}
