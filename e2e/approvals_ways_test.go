package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/approval/approvaltest"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/e2e/lab"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/workflows"
)

// made makes a key of OpenSSH in a file, and gives its public half.
func made(t *testing.T, file string) string {
	t.Helper()
	out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", filepath.Base(file), "-f", file).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen: %v %s", err, out)
	}
	public, err := os.ReadFile(file + ".pub")
	must(t, err)
	return strings.TrimSpace(string(public))
}

// bySSHAgent has the real ssh-agent sign for dora, who has two keys in the rule, of which
// the second, id, is in the agent: alone, and among others.
func (c *consents) bySSHAgent(t *testing.T, dir, request string) {
	t.Helper()
	sign := func(code int, want string) {
		t.Helper()
		if said := c.as("dora", code, "approvals", "sign", request); !strings.Contains(said.Out+said.Err, want) {
			t.Errorf("%s%s, want %q", said.Out, said.Err, want)
		}
	}
	sign(3, "no ssh-agent answers")
	sockets, err := os.MkdirTemp("", "keyorch-") // the path of a socket is short
	must(t, err)
	c.agent = filepath.Join(sockets, "agent.sock")
	agent := exec.Command("ssh-agent", "-D", "-a", c.agent)
	must(t, agent.Start())
	defer func() {
		c.agent = ""
		_ = agent.Process.Kill()
		_ = agent.Wait()
		_ = os.RemoveAll(sockets)
	}()
	c.until("ssh-agent listens", func() bool { _, err := os.Stat(c.agent); return err == nil })
	add := func(args ...string) {
		t.Helper()
		cmd := exec.Command("ssh-add", args...)
		cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+c.agent)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("ssh-add: %v %s", err, out)
		}
	}
	sign(3, "ssh-agent has none of the keys")
	made(t, filepath.Join(dir, "other"))
	add(filepath.Join(dir, "other"))
	sign(3, "ssh-agent has none of the keys")
	add(filepath.Join(dir, "id"))
	sign(0, "signed with SHA256:")
	add("-D")
	add(filepath.Join(dir, "id"))
	sign(0, "signed with SHA256:")
}

// beside runs a verb beside the test; the returned function waits for its end and wants its
// exit code.
func (c *consents) beside(env []string, args ...string) (ended func(code int) lab.Said) {
	done := make(chan lab.Said, 1)
	go func() { done <- c.with(env, args...) }()
	return func(code int) lab.Said {
		c.t.Helper()
		select {
		case said := <-done:
			return c.wanting(code, said, args)
		case <-time.After(patience):
			c.t.Fatalf("keyorch %q does not end", args)
			return lab.Said{}
		}
	}
}

// asked waits for a request of a verb that is not among those before, and gives its ID.
func (c *consents) asked(verb approval.Verb, before []approval.Asked) (id string) {
	c.t.Helper()
	c.until("somebody asks for approvals of "+string(verb), func() bool {
		for _, a := range c.view.AllAsked() {
			known := slices.ContainsFunc(before, func(b approval.Asked) bool { return b.Request.ID() == a.Request.ID() })
			if id = a.Request.ID(); a.Request.Plan.Verb == verb && !known {
				return true
			}
		}
		return false
	})
	return id
}

// changedMeanwhile has the node get another link while a compromise of it waits: what was
// approved is not all of it, and nobody is excluded by halves.
func (c *consents) changedMeanwhile(t *testing.T) {
	known := c.view.AllAsked()
	env, err := c.Lab.Stack.Env(t.Context(), devstack.PersonIdentity("otto"))
	must(t, err)
	ended := c.beside(env, "compromise", "--node", "dc2-spine2", "--reason", "stolen", "--wait-approval")
	id := c.asked(approval.Compromise, known)
	c.as("otto", 0, "apply", "-f", c.file(strings.Replace(strings.TrimPrefix(toAll, "---\n"), "dc2-spine1,", "dc2-spine1, dc2-spine2,", 1)))
	c.signs("carl", 0, id, c.carl)
	if said := ended(3); !strings.Contains(said.Err, "the plan has changed") {
		t.Errorf("%s", said.Err)
	}
	must(t, c.view.CatchUp(t.Context()))
	if s := c.view.Standing(); len(s.Exclusions) > 0 {
		t.Errorf("somebody was shut out: %+v", s.Exclusions)
	}
}

// revokes shuts a site out, which pia has to approve with her PIN, and carl, since links
// get new keys for it; and then a person, who is on no link.
func (c *consents) revokes(t *testing.T) {
	revoke := []string{"revoke", "dc3", "--reason", "host stolen"}
	said := c.administrator(3, revoke...)
	id := requestID.FindString(said.Err)
	if !strings.Contains(said.Err, "1 more of pia (rule leave)") || !strings.Contains(said.Err, "1 more of carl (rule shut-out)") {
		t.Fatalf("%s", said.Err)
	}
	touched := c.pia.Saying(approvaltest.Touched)
	if said := c.signs("pia", 3, id, touched); !strings.Contains(said.Err, "unlocked with its PIN") {
		t.Errorf("%s", said.Err)
	}
	before := c.record("to-all").State.Sends().Epoch
	c.signs("carl", 0, id, c.carl)
	c.votes("pia", id, touched.Over(c.statement(id)))
	c.refused(t, c.begins(id, c.urgently(id)), "1 more of pia (rule leave)", "unlocked with its PIN", id)
	if said := c.administrator(3, append(revoke, "--approval", id)...); !strings.Contains(said.Err, "unlocked with its PIN") {
		t.Errorf("%s", said.Err)
	}
	if c.keysOf(t, "to-all", before); len(c.view.Standing().Exclusions) != 1 { // the node before
		t.Errorf("somebody was shut out: %+v", c.view.Standing())
	}
	c.signs("pia", 0, id, c.pia)
	if said := c.administrator(3, append(revoke, "--approval", id)...); !strings.Contains(said.Out, "is shut out") { // 3: links with an empty side
		t.Errorf("%s%s", said.Out, said.Err)
	}
	c.keysOf(t, "to-all", before+1)
	c.recorded(t, `"verb":"used"`, id, "rule leave: keyorch-operator.pia", "touched, PIN", "rule shut-out: keyorch-operator.carl")
	c.administrator(2, append(revoke, "--approval", id)...) // there is nobody of that name any more

	// A person is shut out when pia agrees. The verb waits for that.
	c.as("zoe", 0, "get", "links")
	known := c.view.AllAsked()
	env, err := c.Lab.Stack.Env(t.Context(), devstack.Root)
	must(t, err)
	ended := c.beside(env, "revoke", "--operator", "zoe", "--reason", "left", "--wait-approval")
	id = c.asked(approval.Revoke, known)
	c.signs("pia", 0, id, c.pia)
	ended(0)
	c.as("zoe", 3, "get", "links")
	c.recorded(t, `"verb":"used"`, id, "the revocation of keyorch-operator.zoe")
}

// over has a request of long ago, which is forgotten, and does not come back to life.
func (c *consents) over(t *testing.T) {
	open := c.asks("otto", "rotate", "dc1-dc2", "--ignore-windows", "--reason", "long ago")
	old := approval.NewRequest(c.planOf(open), time.Now().AddDate(0, 0, -130), approval.DefaultDeadline)
	s := c.storeOf("otto")
	must(t, s.Ask(t.Context(), old))
	c.recorded(t, `"verb":"expired"`, old.ID())
	ended := func() bool {
		client, err := c.Lab.Stack.EtcdClient(t.Context(), devstack.Root)
		must(t, err)
		defer func() { _ = client.Close() }()
		got, err := client.Get(t.Context(), store.DefaultPrefix+"/approvals/ended/"+old.ID())
		must(t, err)
		return len(got.Kvs) == 1
	}
	c.until("its end is written down", ended)
	c.asks("otto", "rotate", "dc1-dc2", "--ignore-windows", "--reason", "today") // which forgets the old one
	c.until("its end is forgotten", func() bool { return !ended() })
	must(t, s.Ask(t.Context(), old)) // as whoever has kept it may, with what anna signed
	c.votes("anna", old.ID(), c.anna.Over(old.Statement().Bytes()))
	must(t, c.view.CatchUp(t.Context()))
	c.refused(t, c.begins(old.ID(), func(q *workflows.CampaignRequest) { q.Reason = "long ago" }), "expired", old.ID())
}
