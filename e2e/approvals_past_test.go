package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/approval/approvaltest"
	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/workflows"
)

// pastTheVerbs starts workflows as an operator with Temporal's own tools could.
func (c *consents) pastTheVerbs(t *testing.T) {
	before := c.record("dc1-dc3").State.Sends().Epoch
	only := func(q *workflows.CampaignRequest) { q.Selection.Links = []keychain.LinkID{"dc1-dc3"} }
	c.refused(t, c.begins("", only), "needs approvals")
	c.refused(t, c.begins("", func(q *workflows.CampaignRequest) { only(q); q.Kind, q.IgnoreWindows = campaign.Emergency, false }), "needs approvals")
	c.refused(t, c.begins("", func(q *workflows.CampaignRequest) { only(q); q.Kind = campaign.Retry }), "needs approvals")
	for name, b := range map[string]workflows.Batch{
		"a batch":                {Campaign: "of-nobody", Intent: workflows.ToRotate, IgnoreWindows: true},
		"an urgent batch":        {Campaign: "of-nobody", Intent: workflows.ToRotate, Urgent: true},
		"of an approved one":     {Campaign: c.approvedCampaign(), Intent: workflows.ToRotate, IgnoreWindows: true},
		"another key for it":     {Campaign: c.approvedCampaign(), Intent: workflows.ToRenew, IgnoreWindows: true},
		"in the name of mending": {Campaign: "mend-dc1-dc3-1", Intent: workflows.ToMend, Urgent: true},
	} {
		b.Links = []keychain.LinkID{"dc1-dc3"}
		id := fmt.Sprintf("past-%d", time.Now().UnixNano())
		must(t, c.temporal().Start(t.Context(), id, b))
		for over := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			running, err := c.temporal().Running(t.Context(), id)
			must(t, err)
			if !running {
				break
			}
			if time.Now().After(over) {
				t.Fatalf("%s does not end", name)
			}
		}
		c.keysOf(t, "dc1-dc3", before)
		if b.Intent != workflows.ToMend {
			c.recorded(t, `"kind":"refusal"`, `"by":"keyorch-worker"`, "needs approvals", id)
		}
	}
}

// approvedCampaign is one that ran on the strength of approvals.
func (c *consents) approvedCampaign() string {
	for _, r := range c.view.Campaigns() {
		if r.Approval != "" && r.Kind == campaign.Rotation {
			return r.Name
		}
	}
	c.t.Fatal("no campaign was approved")
	return ""
}

// weakened has an operator write into etcd what would let him approve by himself.
func (c *consents) weakened(t *testing.T) {
	mine := approvaltest.Ed25519(t)
	weak := rule("force", "rotate-force", "", approver("mallory", mine))
	c.as("otto", 3, "apply", "-f", c.file(weak)) // it says that it does not count yet
	client, err := c.Lab.Stack.EtcdClient(t.Context(), devstack.PersonIdentity("otto"))
	must(t, err)
	defer func() { _ = client.Close() }()
	for _, key := range []string{"rules", "policies", "ended/x"} {
		if _, err := client.Put(t.Context(), store.DefaultPrefix+"/approvals/"+key, "{}"); err == nil {
			t.Errorf("an operator has written approvals/%s", key)
		}
		if _, err := client.Delete(t.Context(), store.DefaultPrefix+"/approvals/"+key); err == nil {
			t.Errorf("an operator has deleted approvals/%s", key)
		}
	}
	id := c.asks("otto", "rotate", "dc1-dc2", "--ignore-windows", "--reason", "forced")
	c.votes("mallory", id, mine.Over(c.statement(id)))
	c.refused(t, c.begins(id, nil), "not listed in rule force", id)
	_, err = client.Delete(t.Context(), store.DefaultPrefix+"/topology/approvalrule/force")
	must(t, err)
	time.Sleep(3 * time.Second) // the worker looks every second
	c.refused(t, c.begins("", nil), "needs approvals")
	// Who is there to approve it can: then the rule is another one.
	changed := c.asks("otto", "apply", "-f", c.file(weak))
	c.signs("ben", 0, changed, c.ben)
	c.until("the changed rule is in force", func() bool {
		return slices.ContainsFunc(c.view.Rules().Rules, func(r approval.Rule) bool { return r.Approvers[0].Name == "mallory" })
	})
	c.recorded(t, `"verb":"in force"`, "ApprovalRule force", changed)
	again := rule("force", "rotate-force, abort-switched, policies", "  approvals: 1\n", approver("anna", c.anna), approver("ben", c.ben))
	c.signs("mallory", 0, c.asks("otto", "apply", "-f", c.file(again)), mine)
	c.until("the rule is as it was, and policies are pinned", func() bool {
		_, pinned := c.view.Policies()
		return pinned != 0 && slices.ContainsFunc(c.view.Rules().Rules, func(r approval.Rule) bool { return r.Approvers[0].Name == "anna" })
	})
}

// policies changes how links are rotated, by the verb and past it.
func (c *consents) policies(t *testing.T) {
	open := "apiVersion: keyorch/v1\nkind: Policy\nmetadata: {name: quick}\nspec: {drain: 300ms}\n"
	c.as("otto", 3, "apply", "-f", c.file(open))
	id := c.asks("otto", "apply", "-f", c.file(`apiVersion: keyorch/v1
kind: Link
metadata: {name: dc1-dc3}
spec: {upstream: [dc1-spine1], downstream: [dc3-spine1]}
`)) // no policy at all: the defaults have no freeze
	if said := c.as("otto", 3, "rotate", "dc1-dc3"); !strings.Contains(said.Err+said.Out, "always") {
		t.Errorf("%s%s", said.Out, said.Err)
	}
	past := c.begins("", func(q *workflows.CampaignRequest) {
		q.IgnoreWindows, q.Selection.Links = false, []keychain.LinkID{"dc1-dc3"}
	})
	if past.Tally.Rotated != 0 || past.Tally.Skipped+past.Tally.Refused != 1 {
		t.Errorf("a link whose policy nobody approved: %+v", past.Tally)
	}
	if said := c.as("otto", 0, "approvals", "show", id).Out; !strings.Contains(said, "the policy of Link dc1-dc3") || !strings.Contains(said, "Policy quick") {
		t.Errorf("%s", said)
	}
	c.signs("anna", 0, id, c.anna)
	c.until("the policy is in force", func() bool {
		l, _ := c.view.Topology().Link("dc1-dc3")
		return l.Policy == ""
	})
	c.as("otto", 0, "rotate", "dc1-dc3")
}

// rejected has requests come to nothing.
func (c *consents) rejected(t *testing.T) {
	force := []string{"rotate", "dc1-dc2", "--ignore-windows", "--reason", "forced"}
	id := c.asks("otto", force...)
	c.signs("anna", 0, id, c.anna)
	c.as("otto", 3, "approvals", "reject", id, "--reason", "he may not")
	c.as("ben", 0, "approvals", "reject", id, "--reason", "not tonight")
	if said := c.as("otto", 3, append(force, "--approval", id)...); !strings.Contains(said.Err, "not tonight") {
		t.Errorf("%s", said.Err)
	}
	c.refused(t, c.begins(id, nil), "not tonight", id)
	c.recorded(t, `"verb":"rejected"`, id, `"by":"keyorch-worker"`, "nothing has changed")
	// One that has expired, written past the verb, since none is good for so short.
	r := approval.NewRequest(approval.Plan{Verb: approval.RotateForced, Requester: "keyorch-operator.otto", Reason: "late"}, time.Now(), time.Second)
	must(t, c.storeOf("otto").Ask(t.Context(), r))
	c.recorded(t, `"verb":"expired"`, r.ID(), "nothing has changed")
}

// forgotten uses approvals, has etcd forget that they were used, as one that was put back
// from an older copy has, and recovers.
func (c *consents) forgotten(t *testing.T) {
	force := []string{"rotate", "dc1-dc2", "--ignore-windows", "--reason", "forced"}
	id := c.asks("otto", force...)
	c.signs("anna", 0, id, c.anna)
	c.as("otto", 0, append(force, "--approval", id)...)
	client, err := c.Lab.Stack.EtcdClient(t.Context(), devstack.Root)
	must(t, err)
	defer func() { _ = client.Close() }()
	forget := func() {
		_, err := client.Delete(t.Context(), store.DefaultPrefix+"/approvals/ended/"+id)
		must(t, err)
		c.until("it is open again", func() bool { a, ok := c.view.Asked(id); return ok && a.Ended == nil })
	}
	forget()
	c.as("otto", 0, append(force, "--approval", id)...) // that is what must not be
	forget()
	if said := c.administrator(0, "recover", "--dry-run"); !strings.Contains(said.Err, "to be ended") {
		t.Errorf("%s", said.Err)
	}
	if said := c.administrator(0, "recover"); !strings.Contains(said.Err, "ended") {
		t.Errorf("%s", said.Err)
	}
	if said := c.as("otto", 3, append(force, "--approval", id)...); !strings.Contains(said.Err, "ask anew") {
		t.Errorf("%s", said.Err)
	}
	c.refused(t, c.begins(id, nil), "ask anew", id)
	c.recorded(t, `"verb":"rejected"`, id, "ask anew")
}

// TestDeniedAbortAfterTheSwitch takes back what has switched, by the verb and past it.
func TestDeniedAbortAfterTheSwitch(t *testing.T) {
	w := newWorld(t)
	c := &consents{world: w, anna: approvaltest.Ed25519(t)}
	c.listen()
	w.declare(strings.Replace(threeSites, "spec: {drain: 300ms}", "spec: {drain: 1h}", 1))
	w.staff()
	w.rotate(0, "--all") // the first keys drain nothing
	c.as("otto", 0, "apply", "-f", c.file(strings.TrimPrefix(rule("back", "abort-switched", "", approver("anna", c.anna)), "---\n")))
	w.until("the rule is in force", func() bool { return w.view.Rules().Revision != 0 })
	w.traffic()
	_ = w.rotating("dc1-dc3", "dc3-dc1", "--timeout", "0s") // it follows a campaign that is taken away
	w.untilPhase("dc1-dc3", link.Draining)
	w.untilPhase("dc3-dc1", link.Draining)
	owner := w.record("dc1-dc3").Owner
	id := c.asks("otto", "abort", "dc1-dc3", "--reason", "the wrong one")
	var answer workflows.AbortAnswer
	ask := func(q workflows.AbortRequest) error {
		q.Links = []keychain.LinkID{"dc1-dc3"}
		return c.temporal().Ask(t.Context(), patience, owner, workflows.AbortUpdate, q, &answer)
	}
	for why, q := range map[string]workflows.AbortRequest{
		"needs approvals": {}, "approvals are missing": {Approval: id}, "no such request": {Approval: "ap-20260101-000000-0000000000000000"},
	} {
		if err := ask(q); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%+v: %v, want %q", q, err, why)
		}
		c.recorded(t, `"kind":"refusal"`, `"by":"keyorch-worker"`, `"verb":"abort"`, why)
	}
	name := w.record("dc1-dc3").Last.Campaign
	err := c.temporal().Ask(t.Context(), patience, name, workflows.AbortUpdate, workflows.AbortRequest{Reason: "all of it"}, nil)
	if err == nil || !strings.Contains(err.Error(), "needs approvals") {
		t.Errorf("the abort of a campaign: %v", err)
	}
	// Nor does it help to take the workflow away, and to start another that takes it back.
	w.terminate(name)
	w.terminate(owner)
	must(t, c.temporal().Start(t.Context(), owner, workflows.Batch{Campaign: "of-nobody", Intent: workflows.ToAbort, Links: []keychain.LinkID{"dc1-dc3"}}))
	c.recorded(t, `"kind":"refusal"`, "of-nobody", "needs approvals")
	if s := w.record("dc1-dc3").State; s.Phase != link.Draining || s.Reverting {
		t.Errorf("it went back without an approval: %v", s.Phase)
	}
	c.signs("anna", 0, id, c.anna)
	c.as("otto", 0, "abort", "dc1-dc3", "--reason", "the wrong one", "--approval", id)
	w.until("it is back on its old key, and drains", func() bool {
		s := w.record("dc1-dc3").State
		return s.Reverting && s.Phase == link.Draining && s.To.Epoch == 1
	})
	c.recorded(t, `"verb":"used"`, id, "keyorch-operator.anna")
	w.noLoss()
}
