package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/approval/approvaltest"
	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/workflows"
)

func TestApprovals(t *testing.T) {
	c := newConsents(t)
	c.traffic()
	force := []string{"rotate", "dc1-dc2", "--ignore-windows", "--reason", "forced"}
	c.run("approved, carried out once", func(t *testing.T) {
		c.as("otto", 3, "rotate", "dc1-dc2") // it is frozen
		id := c.asks("otto", force...)
		c.as("otto", 3, append(force, "--approval", id)...)
		c.keysOf(t, "dc1-dc2", 1)
		c.signs("anna", 0, id, c.anna)
		c.as("otto", 0, append(force, "--approval", id)...)
		c.keysOf(t, "dc1-dc2", 2)
		c.recorded(t, `"verb":"used"`, id, "keyorch-operator.anna", `"by":"keyorch-worker"`)
		c.run("TestDeniedReplayedApproval", func(t *testing.T) {
			if said := c.as("otto", 3, append(force, "--approval", id)...); !strings.Contains(said.Err, "used already") {
				t.Errorf("%s", said.Err)
			}
			c.recorded(t, `"kind":"refusal"`, `"by":"keyorch-operator.otto"`, "used already")
			c.refused(t, c.begins(id, nil), "used already", id)
		})
	})
	c.run("TestDeniedApprovalThatEtcdHasForgotten", c.forgotten)
	c.run("signed by ssh-keygen", c.bySSHKeygen)
	c.run("TestDeniedForgedApproval", func(t *testing.T) {
		id := c.asks("otto", force...)
		forged := c.anna
		forged.Sign = approvaltest.Ed25519(t).Sign // anna's name, another key's signature
		if said := c.signs("anna", 3, id, forged); !strings.Contains(said.Err, "not by this key") {
			t.Errorf("%s", said.Err)
		}
		c.recorded(t, `"kind":"refusal"`, `"by":"keyorch-operator.anna"`, "not by this key")
		c.votes("anna", id, forged.Over(c.statement(id)))
		c.refused(t, c.begins(id, nil), "not by this key", id)
	})
	c.run("TestDeniedApprovalByAnUnlistedKey", func(t *testing.T) {
		id := c.asks("otto", force...)
		mine := approvaltest.Ed25519(t)
		if said := c.signs("anna", 3, id, mine); !strings.Contains(said.Err, "not listed") {
			t.Errorf("%s", said.Err)
		}
		c.votes("anna", id, mine.Over(c.statement(id)))
		c.refused(t, c.begins(id, nil), "not listed", id)
	})
	c.run("TestDeniedApprovalForAnotherPlan", func(t *testing.T) {
		id := c.asks("otto", force...)
		other := c.asks("otto", "rotate", "dc2-dc1", "--ignore-windows", "--reason", "forced")
		c.votes("anna", id, c.anna.Over(c.statement(other)))
		c.refused(t, c.begins(id, nil), "not over this statement", id)
		c.signs("anna", 0, id, c.anna)
		c.refused(t, c.begins(id, func(q *workflows.CampaignRequest) { q.Selection.Links = []keychain.LinkID{"dc2-dc1"} }), "the plan has changed", id)
		if said := c.as("otto", 3, "rotate", "dc2-dc1", "--ignore-windows", "--reason", "forced", "--approval", id); !strings.Contains(said.Err, "the plan has changed") {
			t.Errorf("%s", said.Err)
		}
	})
	c.run("TestDeniedApprovingOnesOwnRequest", func(t *testing.T) {
		id := c.asks("anna", force...)
		if said := c.signs("anna", 3, id, c.anna); !strings.Contains(said.Err, "their own request") {
			t.Errorf("%s", said.Err)
		}
		c.votes("anna", id, c.anna.Over(c.statement(id)))
		c.votes("ben", id, c.anna.Over(c.statement(id)))
		c.refused(t, c.begins(id, nil), "their own request", id)
		// Nor does it help to ask in the name of somebody else.
		r := approval.NewRequest(approval.Plan{Verb: approval.RotateForced, Requester: "keyorch-operator.otto"}, time.Now(), time.Hour)
		doc, err := json.Marshal(r)
		must(t, err)
		client, err := c.Lab.Stack.EtcdClient(t.Context(), devstack.PersonIdentity("anna"))
		must(t, err)
		defer func() { _ = client.Close() }()
		if _, err := client.Put(t.Context(), store.DefaultPrefix+"/approvals/requests/keyorch-operator.otto/"+r.ID(), string(doc)); err == nil {
			t.Error("anna has written what otto asks for")
		}
	})
	c.run("what has changed while it waited", c.changedMeanwhile)
	c.run("TestDeniedApprovalWithoutATouch", c.withoutATouch)
	c.run("TestDeniedForcedRotationPastTheVerbs", c.pastTheVerbs)
	c.run("TestDeniedWeakenedRule", c.weakened)
	c.run("TestDeniedPolicyThatNobodyApproved", c.policies)
	c.run("rejected and expired", c.rejected)
	c.run("long over", c.over)
	for _, id := range []keychain.LinkID{"dc1-dc3", "dc3-dc1"} { // the node that was shut out is not on them
		if s := c.Lab.Network.Stats(id); s.Sent == 0 || s.Lost.Total() > 0 || s.Reused > 0 {
			t.Errorf("%s: %+v", id, s)
		}
	}
	c.run("TestDeniedRevocationWithoutThePIN", c.revokes)
}

// keysOf wants a link on an epoch.
func (c *consents) keysOf(t *testing.T, id keychain.LinkID, e keychain.Epoch) {
	t.Helper()
	if got := c.record(id).State.Sends().Epoch; got != e {
		t.Errorf("%s is on epoch %d, want %d", id, got, e)
	}
}

// bySSHKeygen has the real ssh-keygen sign, with a key in a file and with one in
// ssh-agent, and check what keyorch takes.
func (c *consents) bySSHKeygen(t *testing.T) {
	testbed.Need(t, false, "openssh-client")
	dir := t.TempDir()
	key := filepath.Join(dir, "id")
	public := made(t, key)
	// A rule that is new for its verb's second half is in force at once.
	more := rule("dora", "rotate-force", "", fmt.Sprintf("    - {name: dora, keys: [%q, %q]}\n", made(t, filepath.Join(dir, "spare")), public))
	c.as("otto", 0, "apply", "-f", c.file(more))
	c.until("the new rule is in force", func() bool { return len(c.view.Rules().Rules) == 4 })
	force := []string{"rotate", "dc2-dc1", "--ignore-windows", "--reason", "by two rules"}
	id := c.asks("otto", force...)
	c.bySSHAgent(t, dir, id)
	c.as("dora", 0, "approvals", "sign", id, "--key", key)
	if said := c.as("otto", 3, append(force, "--approval", id)...); !strings.Contains(said.Err, "anna or ben (rule force)") {
		t.Errorf("%s", said.Err)
	}
	c.signs("ben", 0, id, c.ben)
	c.as("otto", 0, append(force, "--approval", id)...)
	shown := c.as("otto", 0, "approvals", "show", id, "-o", "json").Out
	var doc struct {
		Statement string
		Votes     []struct{ By, Signature string }
	}
	must(t, json.Unmarshal([]byte(shown), &doc))
	i := slices.IndexFunc(doc.Votes, func(v struct{ By, Signature string }) bool { return v.By == "keyorch-operator.dora" })
	must(t, os.WriteFile(filepath.Join(dir, "signers"), []byte("dora "+public), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "sig"), []byte(doc.Votes[i].Signature), 0o600))
	verify := exec.Command("ssh-keygen", "-Y", "verify", "-f", filepath.Join(dir, "signers"), "-I", "dora", "-n", approval.Namespace, "-s", filepath.Join(dir, "sig"))
	verify.Stdin = strings.NewReader(doc.Statement)
	if out, err := verify.CombinedOutput(); err != nil || !strings.Contains(string(out), "Good") {
		t.Errorf("ssh-keygen -Y verify: %v %s", err, out)
	}
	// That rule goes away again when it approves so itself.
	c.goes(t, "dora", key)
}

// goes removes a rule from what is declared, which counts when its own approver agrees.
func (c *consents) goes(t *testing.T, name, key string) {
	t.Helper()
	client, err := c.Lab.Stack.EtcdClient(t.Context(), devstack.PersonIdentity("otto"))
	must(t, err)
	defer func() { _ = client.Close() }()
	_, err = client.Delete(t.Context(), store.DefaultPrefix+"/topology/approvalrule/"+name)
	must(t, err)
	id := c.asks("otto", "apply", "-f", c.file("apiVersion: keyorch/v1\nkind: Site\nmetadata: {name: dc1}\n"))
	c.as(name, 0, "approvals", "sign", id, "--key", key)
	c.until("the rule is gone", func() bool { return len(c.view.Rules().Rules) == 3 })
}

// withoutATouch has a compromise signed by a hardware key.
func (c *consents) withoutATouch(t *testing.T) {
	compromise := []string{"compromise", "--node", "dc2-spine2", "--reason", "stolen"}
	id := c.asks("otto", compromise...)
	untouched := c.carl.Saying(approvaltest.Untouched)
	if said := c.signs("carl", 3, id, untouched); !strings.Contains(said.Err, "not touched") {
		t.Errorf("%s", said.Err)
	}
	c.votes("carl", id, untouched.Over(c.statement(id)))
	c.refused(t, c.begins(id, c.urgently(id)), "not touched", id)
	if said := c.as("otto", 3, append(compromise, "--approval", id)...); !strings.Contains(said.Err, "not touched") {
		t.Errorf("%s", said.Err)
	}
	before := c.record("dc1-dc2").State.Sends().Epoch
	c.signs("carl", 0, id, c.carl)
	c.as("otto", 0, append(compromise, "--approval", id)...)
	c.keysOf(t, "dc1-dc2", before+1)
}

// urgently begins what a request asks for past the verb that shuts somebody out.
func (c *consents) urgently(id string) func(*workflows.CampaignRequest) {
	plan := c.planOf(id)
	return func(q *workflows.CampaignRequest) {
		q.Kind, q.IgnoreWindows, q.Reason, q.About, q.Selection.Links = campaign.Emergency, false, plan.Reason, plan.About, nil
		for _, l := range plan.Links {
			q.Selection.Links = append(q.Selection.Links, l.Name)
		}
	}
}

func (c *consents) planOf(id string) approval.Plan {
	a, ok := c.view.Asked(id)
	if !ok {
		c.t.Fatalf("there is no request %s", id)
	}
	return a.Request.Plan
}
