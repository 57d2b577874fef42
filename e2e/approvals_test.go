package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/approval/approvaltest"
	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/e2e/lab"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/workflows"
)

// consents is a world in which rules ask for approvals: anna or ben for most, and
// carl's hardware key for a compromise.
type consents struct {
	*world
	anna, ben, carl approvaltest.Pen
	mu              sync.Mutex
	trail           []audit.Record
}

// as runs a verb as the operator of a name, and wants its exit code.
func (c *consents) as(who string, code int, args ...string) lab.Said {
	c.t.Helper()
	env, err := c.Lab.Stack.Env(c.t.Context(), devstack.PersonIdentity(who))
	must(c.t, err)
	return c.wanting(code, c.with(append(env, "SIM="+os.Getenv("SIM")), args...), args)
}

// storeOf is etcd as an operator may use it without keyorch's verbs.
func (c *consents) storeOf(who string) *store.Store {
	c.t.Helper()
	config, err := c.Lab.Stack.EtcdAs(c.t.Context(), devstack.PersonIdentity(who))
	must(c.t, err)
	s, err := store.Open(c.t.Context(), config)
	must(c.t, err)
	c.t.Cleanup(func() { _ = s.Close() })
	return s
}

// temporal is Temporal as any operator may use it.
func (c *consents) temporal() wiring.Campaigns {
	c.t.Helper()
	t, err := wiring.DialTemporal(c.t.Context(), c.Lab.Stack.TemporalAddress, c.Lab.Stack.TemporalNamespace, c.Lab.Logger)
	must(c.t, err)
	c.t.Cleanup(t.Close)
	return t.Campaigns()
}

// listen keeps every record that anybody writes into an inbox of the trail.
func (c *consents) listen() {
	client, err := c.Lab.Stack.EtcdClient(c.t.Context(), devstack.Root)
	must(c.t, err)
	ctx, stop := context.WithCancel(context.Background())
	c.t.Cleanup(func() { stop(); _ = client.Close() })
	inbox := store.DefaultPrefix + "/trail/inbox/"
	w := client.Watch(ctx, inbox, clientv3.WithPrefix(), clientv3.WithRev(1))
	go func() {
		for news := range w {
			for _, e := range news.Events {
				var records []audit.Record
				if json.Unmarshal(e.Kv.Value, &records) != nil {
					continue
				}
				by, _, _ := strings.Cut(strings.TrimPrefix(string(e.Kv.Key), inbox), "/")
				c.mu.Lock()
				for _, r := range records {
					r.By = by
					c.trail = append(c.trail, r)
				}
				c.mu.Unlock()
			}
		}
	}()
}

// recorded waits for a record of the trail whose text has all the words.
func (c *consents) recorded(t *testing.T, words ...string) {
	t.Helper()
	for over := time.Now().Add(patience); time.Now().Before(over); time.Sleep(50 * time.Millisecond) {
		c.mu.Lock()
		found := slices.ContainsFunc(c.trail, func(r audit.Record) bool {
			text, _ := json.Marshal(r)
			return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(string(text), w) })
		})
		c.mu.Unlock()
		if found {
			return
		}
	}
	t.Errorf("the trail has no record with %q", words)
}

var requestID = regexp.MustCompile(`ap-[0-9]{8}-[0-9]{6}-[0-9a-f]{16}`)

// asks runs a verb that needs approvals, and gives the ID of its request.
func (c *consents) asks(who string, args ...string) string {
	c.t.Helper()
	said := c.as(who, 3, args...)
	id := requestID.FindString(said.Err)
	if id == "" || !strings.Contains(said.Err, "approval") {
		c.t.Fatalf("%v: %s%s", args, said.Out, said.Err)
	}
	return id
}

// statement is what is to be signed.
func (c *consents) statement(id string) []byte {
	c.t.Helper()
	return []byte(c.as("anna", 0, "approvals", "show", id, "-o", "statement").Out)
}

// file has a text in it.
func (c *consents) file(text string) string {
	c.t.Helper()
	f := filepath.Join(c.t.TempDir(), "file")
	must(c.t, os.WriteFile(f, []byte(text), 0o600))
	return f
}

// signs hands a signature in by the verb.
func (c *consents) signs(who string, code int, id string, p approvaltest.Pen) lab.Said {
	c.t.Helper()
	return c.as(who, code, "approvals", "sign", id, "--signature", c.file(p.Over(c.statement(id))))
}

// votes writes a vote into etcd as an operator may, without the verb and its checks.
func (c *consents) votes(who, id, armored string) {
	c.t.Helper()
	must(c.t, c.storeOf(who).Vote(c.t.Context(), id, approval.Vote{At: time.Now(), Signature: armored}))
}

// begins starts a forced rotation past every verb, and gives what became of it.
func (c *consents) begins(id string, change func(*workflows.CampaignRequest)) campaign.Record {
	c.t.Helper()
	q := workflows.CampaignRequest{
		Name: fmt.Sprintf("rotate-past-%d", time.Now().UnixNano()), Kind: campaign.Rotation, Selection: campaign.Selection{Links: []keychain.LinkID{"dc1-dc2"}},
		IgnoreWindows: true, Approval: id, By: "nobody", Reason: "forced",
	}
	if a, ok := c.view.Asked(id); ok {
		q.Policy = a.Request.Plan.Policy
	}
	if change != nil {
		change(&q)
	}
	must(c.t, c.temporal().StartCampaign(c.t.Context(), q))
	var r campaign.Record
	c.until("campaign "+q.Name+" has ended", func() bool {
		var ok bool
		r, ok = c.view.Campaign(q.Name)
		return ok && r.State == campaign.Ended
	})
	return r
}

// refused wants a campaign that began nothing, for a reason, which the trail has.
func (c *consents) refused(t *testing.T, r campaign.Record, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(r.Reason, w) {
			t.Errorf("it ended because %q, want %q", r.Reason, w)
		}
	}
	if len(r.Waves) > 0 || r.Tally.Rotated > 0 {
		t.Errorf("it began something: %+v", r)
	}
	c.recorded(t, append([]string{`"kind":"refusal"`, `"by":"keyorch-worker"`, r.Name}, words...)...)
}

const frozenQuick = `apiVersion: keyorch/v1
kind: Policy
metadata: {name: quick}
spec: {drain: 300ms, freezes: [{from: 2020-01-01, to: 2099-01-01, reason: "always"}]}
`

// rule writes a rule as a document.
func rule(name, verbs, more string, approvers ...string) string {
	return fmt.Sprintf("---\napiVersion: keyorch/v1\nkind: ApprovalRule\nmetadata: {name: %s}\nspec:\n  verbs: [%s]\n%s  approvers:\n%s",
		name, verbs, more, strings.Join(approvers, ""))
}

func approver(name string, p approvaltest.Pen) string {
	return fmt.Sprintf("    - {name: %s, keys: [%q]}\n", name, p.Line())
}

// newConsents is a world whose links have keys, are frozen from now on, and whose rules are
// in force.
func newConsents(t *testing.T) *consents {
	w := newWorld(t)
	c := &consents{world: w, anna: approvaltest.Ed25519(t), ben: approvaltest.Ed25519(t), carl: approvaltest.SK(t, approvaltest.Touched)}
	c.listen()
	w.declare(threeSites)
	w.staff()
	w.rotate(0, "--all")
	c.as("otto", 0, "apply", "-f", c.file(frozenQuick+
		rule("force", "rotate-force, abort-switched, policies", "  approvals: 1\n", approver("anna", c.anna), approver("ben", c.ben))+
		rule("shut-out", "compromise, revoke", "  touch: true\n", approver("carl", c.carl))))
	c.until("rules and policies are in force", func() bool {
		_, pinned := c.view.Policies()
		return c.view.Rules().Revision != 0 && pinned != 0
	})
	return c
}

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
	c.run("TestDeniedApprovalWithoutATouch", c.withoutATouch)
	c.run("TestDeniedForcedRotationPastTheVerbs", c.pastTheVerbs)
	c.run("TestDeniedWeakenedRule", c.weakened)
	c.run("TestDeniedPolicyThatNobodyApproved", c.policies)
	c.run("rejected and expired", c.rejected)
	for _, id := range []keychain.LinkID{"dc1-dc3", "dc3-dc1"} { // the node that was shut out is not on them
		if s := c.Lab.Network.Stats(id); s.Sent == 0 || s.Lost.Total() > 0 || s.Reused > 0 {
			t.Errorf("%s: %+v", id, s)
		}
	}
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
	out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "dora", "-f", key).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen: %v %s", err, out)
	}
	public, err := os.ReadFile(key + ".pub")
	must(t, err)
	// A rule that is new for its verb's second half is in force at once.
	more := rule("dora", "rotate-force", "", fmt.Sprintf("    - {name: dora, keys: [%q]}\n", strings.TrimSpace(string(public))))
	c.as("otto", 0, "apply", "-f", c.file(more))
	c.until("the new rule is in force", func() bool { return len(c.view.Rules().Rules) == 3 })
	force := []string{"rotate", "dc2-dc1", "--ignore-windows", "--reason", "by two rules"}
	id := c.asks("otto", force...)
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
	must(t, os.WriteFile(filepath.Join(dir, "signers"), []byte("dora "+string(public)), 0o600))
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
	c.until("the rule is gone", func() bool { return len(c.view.Rules().Rules) == 2 })
}

// withoutATouch has a compromise signed by a hardware key.
func (c *consents) withoutATouch(t *testing.T) {
	compromise := []string{"compromise", "--node", "dc2-spine2", "--reason", "stolen"}
	id := c.asks("otto", compromise...)
	untouched := c.carl
	quiet := approvaltest.SK(t, approvaltest.Untouched)
	untouched.Sign = quiet.Sign
	if said := c.signs("carl", 3, id, untouched); !strings.Contains(said.Err, "not touched") {
		t.Errorf("%s", said.Err)
	}
	c.votes("carl", id, untouched.Over(c.statement(id)))
	plan := c.planOf(id)
	r := c.begins(id, func(q *workflows.CampaignRequest) {
		q.Kind, q.IgnoreWindows, q.Reason, q.About, q.Selection.Links = campaign.Emergency, false, plan.Reason, plan.About, nil
		for _, l := range plan.Links {
			q.Selection.Links = append(q.Selection.Links, l.Name)
		}
	})
	c.refused(t, r, "not touched", id)
	if said := c.as("otto", 3, append(compromise, "--approval", id)...); !strings.Contains(said.Err, "not touched") {
		t.Errorf("%s", said.Err)
	}
	before := c.record("dc1-dc2").State.Sends().Epoch
	c.signs("carl", 0, id, c.carl)
	c.as("otto", 0, append(compromise, "--approval", id)...)
	c.keysOf(t, "dc1-dc2", before+1)
}

func (c *consents) planOf(id string) approval.Plan {
	a, ok := c.view.Asked(id)
	if !ok {
		c.t.Fatalf("there is no request %s", id)
	}
	return a.Request.Plan
}

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
	c.as("otto", 3, "apply", "-f", c.file(weak))
	changed := c.newestRequest(approval.Rules)
	c.signs("ben", 0, changed, c.ben)
	c.until("the changed rule is in force", func() bool {
		return slices.ContainsFunc(c.view.Rules().Rules, func(r approval.Rule) bool { return r.Approvers[0].Name == "mallory" })
	})
	c.recorded(t, `"verb":"in force"`, "ApprovalRule force", changed)
	again := rule("force", "rotate-force, abort-switched, policies", "  approvals: 1\n", approver("anna", c.anna), approver("ben", c.ben))
	c.as("otto", 3, "apply", "-f", c.file(again))
	c.signs("mallory", 0, c.newestRequest(approval.Rules), mine)
	c.until("the rule is as it was, and policies are pinned", func() bool {
		_, pinned := c.view.Policies()
		return pinned != 0 && slices.ContainsFunc(c.view.Rules().Rules, func(r approval.Rule) bool { return r.Approvers[0].Name == "anna" })
	})
}

// newestRequest is the last request of a verb.
func (c *consents) newestRequest(verb approval.Verb) string {
	c.t.Helper()
	must(c.t, c.view.CatchUp(c.t.Context()))
	id := ""
	var at time.Time
	for _, a := range c.view.AllAsked() {
		if a.Request.Plan.Verb == verb && a.Ended == nil && !a.Request.At.Before(at) {
			id, at = a.Request.ID(), a.Request.At
		}
	}
	if id == "" {
		c.t.Fatalf("nobody has asked for approvals of %s", verb)
	}
	return id
}

// policies changes how links are rotated, by the verb and past it.
func (c *consents) policies(t *testing.T) {
	open := "apiVersion: keyorch/v1\nkind: Policy\nmetadata: {name: quick}\nspec: {drain: 300ms}\n"
	c.as("otto", 3, "apply", "-f", c.file(open))
	c.as("otto", 3, "apply", "-f", c.file(`apiVersion: keyorch/v1
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
	id := c.newestRequest(approval.Policies)
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
