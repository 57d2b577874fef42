package e2e_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/approval/approvaltest"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/workflows"
)

// approvalsAreTold has otto wait for an approval, of which anna is told, and who gives it. Another
// one nobody gives: the returned function waits until its time is up.
func (w *world) approvalsAreTold(t *testing.T, good *listener) (late func()) {
	c := &consents{world: w, anna: approvaltest.Ed25519(t), ben: approvaltest.Ed25519(t)}
	c.listen()
	const good90s = 90 * time.Second
	c.as("otto", 0, "apply", "-f", c.file(strings.TrimPrefix(rule("force", "rotate-force",
		"  deadline: 90s\n  remindAfter: 1m\n  escalateAfter: 1m\n", approver("anna", c.anna), approver("ben", c.ben)), "---\n")))
	s, err := c.Lab.Store(t.Context())
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	c.until("the rule is in force, and the webhooks are known", func() bool {
		_, known, err := s.Outbox(t.Context())
		return err == nil && known != 0 && c.view.Rules().Revision != 0
	})
	env, err := c.Lab.Stack.Env(t.Context(), devstack.PersonIdentity("otto"))
	must(t, err)
	ended := c.beside(env, "rotate", "b", "--ignore-windows", "--reason", "forced", "--wait-approval")
	id := c.asked(approval.RotateForced, nil)
	// The other one seems to have been asked for a while ago, so that its time is up soon; what
	// falls due falls due after the webhooks were declared.
	other := approval.NewRequest(c.planOf(id), time.Now().Add(-55*time.Second), good90s)
	must(t, c.storeOf("otto").Ask(t.Context(), other))
	c.until("anna is told", func() bool { return len(good.about("approval "+id)) == 1 })
	c.signs("anna", 0, id, c.anna)
	ended(0)
	c.keysOf(t, "b", 2)
	c.until("it is told that it was decided", func() bool { return len(good.about("approval "+id)) == 2 })
	if got, want := good.about("approval "+id), []string{"approval.wanted", "approval.wanted.resolved"}; !slices.Equal(got, want) {
		t.Errorf("of what was approved it took %q, want %q", got, want)
	}
	return func() { c.expires(t, good, other) }
}

// expires waits until the time of a request is up, and sees that nothing has changed.
func (c *consents) expires(t *testing.T, good *listener, r approval.Request) {
	t.Helper()
	subject, before := "approval "+r.ID(), c.record("b").State.Sends().Epoch
	c.until("it is told that it has expired", func() bool { return good.said("approval.expired", subject) != "" })
	want := []string{"approval.wanted", "approval.escalated", "approval.reminder", "approval.expiring",
		"approval.expiring.resolved", "approval.wanted.resolved", "approval.expired"}
	if got := good.about(subject); !slices.Equal(got, want) {
		t.Errorf("of what nobody approved it took %q, want %q", got, want)
	}
	for kind, words := range map[string]string{
		"approval.wanted": "an approval is wanted from anna: Give 1 link", "approval.escalated": "an approval is now wanted from ben, too: ",
		"approval.reminder": "an approval is still wanted from anna, ben: ", "approval.expiring": "expires soon, and anna, ben did not answer: ",
		"approval.expired": "a request for approval has expired, and nothing was changed: ",
	} {
		if got := good.said(kind, subject); !strings.Contains(got, words) {
			t.Errorf("%s says %q, want %q", kind, got, words)
		}
	}
	if said := c.signs("anna", 3, r.ID(), c.anna); !strings.Contains(said.Err, "expired") {
		t.Errorf("%s", said.Err)
	}
	c.votes("anna", r.ID(), c.anna.Over(c.statement(r.ID())))
	if said := c.as("otto", 3, "rotate", "b", "--ignore-windows", "--reason", "forced", "--approval", r.ID()); !strings.Contains(said.Err, "it has expired") {
		t.Errorf("%s", said.Err)
	}
	c.refused(t, c.begins(r.ID(), func(q *workflows.CampaignRequest) { q.Selection.Links = []keychain.LinkID{"b"} }), "it has expired", r.ID())
	c.recorded(t, `"verb":"expired"`, r.ID(), "nothing has changed", `"by":"keyorch-worker"`)
	c.keysOf(t, "b", before)
}

// deleteABlock deletes a block of the audit trail, as who has every right on etcd can.
func (w *world) deleteABlock() {
	w.t.Helper()
	root, err := w.Lab.Stack.EtcdClient(w.t.Context(), devstack.Root)
	must(w.t, err)
	defer func() { _ = root.Close() }()
	blocks, err := root.Get(w.t.Context(), "/keyorch/v1/trail/chain/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	must(w.t, err)
	_, err = root.Delete(w.t.Context(), string(blocks.Kvs[len(blocks.Kvs)-2].Key))
	must(w.t, err)
}
