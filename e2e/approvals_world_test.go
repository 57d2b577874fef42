package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
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
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/e2e/lab"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/workflows"
)

// consents is a world in which rules ask for approvals: anna or ben for most, carl's
// hardware key for a compromise, and pia's with its PIN for a revocation.
type consents struct {
	*world
	anna, ben, carl, pia approvaltest.Pen
	agent                string // the socket of an ssh-agent that verbs may use
	mu                   sync.Mutex
	trail                []audit.Record
}

// as runs a verb as the operator of a name, and wants its exit code.
func (c *consents) as(who string, code int, args ...string) lab.Said {
	c.t.Helper()
	env, err := c.Lab.Stack.Env(c.t.Context(), devstack.PersonIdentity(who))
	must(c.t, err)
	return c.wanting(code, c.with(append(env, "SIM="+os.Getenv("SIM"), "SSH_AUTH_SOCK="+c.agent), args...), args)
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

// toAll is a link that somebody is left on when a site is shut out.
const toAll = `---
apiVersion: keyorch/v1
kind: Link
metadata: {name: to-all}
spec: {upstream: [dc1-spine1], downstream: [dc2-spine1, dc3-spine1], policy: quick}
`

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
	c := &consents{world: w, anna: approvaltest.Ed25519(t), ben: approvaltest.Ed25519(t), carl: approvaltest.SK(t, approvaltest.Touched), pia: approvaltest.SK(t, approvaltest.WithPIN)}
	c.listen()
	w.declare(threeSites + toAll)
	w.staff()
	w.rotate(0, "--all")
	c.as("otto", 0, "apply", "-f", c.file(frozenQuick+
		rule("force", "rotate-force, abort-switched, policies", "  approvals: 1\n", approver("anna", c.anna), approver("ben", c.ben))+
		rule("shut-out", "compromise", "  touch: true\n", approver("carl", c.carl))+
		rule("leave", "revoke", "  pin: true\n", approver("pia", c.pia))))
	c.until("rules and policies are in force", func() bool {
		_, pinned := c.view.Policies()
		return c.view.Rules().Revision != 0 && pinned != 0
	})
	return c
}
