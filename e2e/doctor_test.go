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
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/cmd/keyorch/doctor"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// doctorFile is the page whose outputs come from here: `go test -run Doctor -update .`
// writes them anew.
const doctorFile = "../docs/doctor.md"

// clinic is a world whose processes joined, and what doctor said in it.
type clinic struct {
	*world
	dirs map[string]string // identity directories, by common name
	said map[string]string // shortened, by the name of the case
}

// TestDoctorNamesWhatIsWrong breaks one thing after the other on real servers.
func TestDoctorNamesWhatIsWrong(t *testing.T) {
	c := &clinic{world: newWorld(t), dirs: map[string]string{}, said: map[string]string{}}
	c.settle()
	c.run("healthy", c.healthy)
	c.run("certificates", c.certificates)
	c.run("settings", c.settings)
	c.run("clock", c.clocks)
	c.run("agent away", c.agentAway)
	c.run("etcd without users", c.withoutUsers)
	c.run("before bootstrap", c.beforeBootstrap)
	c.run("vault sealed", c.sealed)
	c.run("no transit", c.withoutTransit)
	c.run("docs", c.page)
}

// settle declares a network, has everybody enrolled and joined, and starts them.
func (c *clinic) settle() {
	t := c.t
	documents := os.Expand(stolen, os.Getenv)
	file := filepath.Join(c.Lab.Dir, "network.yaml")
	must(t, os.WriteFile(file, []byte(documents), 0o600))
	c.keyorch(0, "apply", "-f", file)
	var err error
	c.topo, err = topology.Parse([]topology.Source{{Name: file, Data: []byte(documents)}}, wiring.Kinds(), topology.Topology{})
	must(t, err)
	for _, s := range c.topo.Sites {
		dir, _ := c.joined(s.Name)
		c.dirs["keyorch-agent."+string(s.Name)] = dir
		c.agents[s.Name] = c.agentOf(s.Name, dir)
	}
	for _, who := range [][2]string{{"worker", "w1"}, {"operator", "alice"}, {"auditor", "eve"}} {
		name := "keyorch-" + who[0] + "." + who[1]
		token := filepath.Join(c.Lab.Dir, name+".join")
		c.dirs[name] = filepath.Join(c.Lab.Dir, "identity-"+who[1])
		c.administrator(0, "enroll", "--"+who[0], who[1], "--out", token)
		c.nobody(0, "join", "-f", token, "--identity", c.dirs[name])
	}
	c.startWorker()
	c.rotate(0, "--all")
	s, err := c.Lab.StoreAs(c.t.Context(), devstack.Worker)
	must(c.t, err)
	c.t.Cleanup(func() { _ = s.Close() })
	c.until("the worker has begun the audit trail", func() bool {
		head, err := s.Trail().Head(c.t.Context())
		return err == nil && head.Seq > 0
	})
	c.until("every link is Steady", func() bool {
		records := c.view.Records()
		return len(records) == len(c.topo.Links) && !slices.ContainsFunc(records, func(r link.Record) bool { return r.State.Phase != link.Steady })
	})
}

const (
	alice = "keyorch-operator.alice"
	eve   = "keyorch-auditor.eve"
	w1    = "keyorch-worker.w1"
	dc1   = "keyorch-agent.dc1"
)

// visit runs doctor with an identity directory, wants an exit code and some words, and
// keeps what was said for the page, if it has a name there.
func (c *clinic) visit(name string, code int, env []string, dir string, args []string, words ...string) string {
	c.t.Helper()
	said := c.wanting(code, c.with(env, append([]string{"doctor", "--identity", dir}, args...)...), append([]string{"doctor"}, args...))
	for _, w := range words {
		if !strings.Contains(said.Out, w) {
			c.t.Errorf("%s: no %q in\n%s", name, w, said.Out)
		}
	}
	command := "$ " + strings.Join(append([]string{"keyorch doctor"}, args...), " ")
	if len(env) > 0 {
		command = "$ " + strings.Join(env, " ") + " " + strings.TrimPrefix(command, "$ ")
	}
	c.said[name] = c.alike(command + "\n" + said.Out)
	return said.Out
}

func (c *clinic) healthy(t *testing.T) {
	for _, who := range []string{alice, w1, eve} {
		said := c.visit("healthy "+who, 0, nil, c.dirs[who], nil, "0 failed", who, "what it must not do is denied")
		if strings.Contains(said, "WARN") {
			t.Errorf("%s", said)
		}
	}
	c.visit("healthy "+dc1, 0, nil, c.dirs[dc1], []string{"--site", "dc1"}, " 0 to look at, 0 failed", "all 7 that keyorch-agent.dc1 needs")
	var x struct {
		Checks  []doctor.Finding
		Healthy bool
	}
	said := c.with(nil, "doctor", "--identity", c.dirs[alice], "-o", "json")
	if err := json.Unmarshal([]byte(said.Out), &x); err != nil || !x.Healthy || len(x.Checks) < 10 {
		t.Errorf("as JSON (%v): %s", err, said.Out)
	}
	if said := c.with(nil, "doctor", "--identity", c.dirs[alice], "-o", "yaml"); !strings.Contains(said.Out, "healthy: true") {
		t.Errorf("as YAML: %s", said.Out)
	}
}

// certificates breaks what alice shows to the servers.
func (c *clinic) certificates(t *testing.T) {
	now := time.Now()
	for _, x := range []struct {
		name     string
		cn       string
		from, to time.Time
		says     []string
	}{
		{"expired", alice, now.Add(-48 * time.Hour), now.Add(-time.Hour), []string{"expired at", "mend: have it renewed"}},
		{"not yet valid", alice, now.Add(time.Hour), now.Add(48 * time.Hour), []string{"is not valid before", "mend: compare the clocks"}},
		{"unknown", "keyorch-operator.mallory", now.Add(-time.Hour), now.Add(48 * time.Hour), []string{"etcd has no user keyorch-operator.mallory", "mend: run keyorch enroll"}},
		{"no name of ours", "mallory", now.Add(-time.Hour), now.Add(48 * time.Hour), []string{`"mallory" is not a name of keyorch's`}},
	} {
		dir := c.copied(c.dirs[alice])
		must(t, c.issue(identity.Directory(dir), x.cn, x.from, x.to))
		c.visit(x.name, map[bool]int{true: 2, false: 3}[x.name == "no name of ours"], nil, dir, nil, x.says...)
	}
	dir := c.copied(c.dirs[alice])
	must(t, os.Chmod(identity.Directory(dir).Key(), 0o644))
	c.visit("key readable", 3, nil, dir, nil, "may be read or changed by others (mode 0644)", "mend: run chmod 600")
	dir = c.copied(c.dirs[alice])
	must(t, os.WriteFile(identity.Directory(dir).CA(), read(t, identity.Directory(c.stranger()).CA()), 0o600))
	c.visit("authority", 3, nil, dir, nil, "FAIL  https://", "mend:")
	c.visit("another site", 3, nil, c.dirs[dc1], []string{"--site", "dc2"}, "keyorch-agent.dc1 cannot serve site dc2")
	mixed, err := c.Lab.Stack.Env(t.Context(), devstack.Operator)
	must(t, err)
	i := slices.IndexFunc(mixed, func(v string) bool { return strings.HasPrefix(v, "VAULT_TOKEN=") })
	said := c.with([]string{mixed[i]}, "doctor", "--identity", c.dirs[w1])
	if said.Code != 3 || !strings.Contains(said.Out, "etcd knows this side as keyorch-worker.w1, and its token has the policies keyorch-operator") {
		t.Errorf("two identities: exit %d\n%s", said.Code, said.Out)
	}
	if strings.Contains(said.Out+said.Err, strings.TrimPrefix(mixed[i], "VAULT_TOKEN=")) {
		t.Error("it shows the token")
	}
}

// settings points doctor to where nobody is.
func (c *clinic) settings(t *testing.T) {
	c.visit("temporal away", 6, []string{"TEMPORAL_ADDRESS=127.0.0.1:1"}, c.dirs[w1], nil, "127.0.0.1:1 does not answer", "mend: start the server")
	c.visit("etcd away", 6, []string{"ETCDCTL_ENDPOINTS=https://127.0.0.1:1," + c.Lab.Stack.EtcdEndpoint}, c.dirs[w1], []string{"--timeout", "2s"}, "FAIL  https://127.0.0.1:1", "that keyorch-worker.w1 needs")
	c.visit("wrong namespace", 0, []string{"VAULT_NAMESPACE=team-a"}, c.dirs[w1], nil, "this Vault knows no namespaces")
	c.visit("no temporal namespace", 2, []string{"TEMPORAL_NAMESPACE=team-a"}, c.dirs[w1], nil, `there is no namespace "team-a"`)
	c.visit("plaintext", 2, []string{"ETCDCTL_ENDPOINTS=" + strings.Replace(c.Lab.Stack.EtcdEndpoint, "https", "http", 1)}, c.dirs[w1], nil, "is not encrypted")
	if said := c.with(nil, "doctor"); said.Code != 2 || !strings.Contains(said.Out, "ETCDCTL_ENDPOINTS") || !strings.Contains(said.Out, "VAULT_ADDR") {
		t.Errorf("without settings: exit %d\n%s", said.Code, said.Out)
	}
}

// clocks has doctor run on a host whose clock is wrong.
func (c *clinic) clocks(t *testing.T) {
	as := identity.Directory(c.dirs[w1])
	vault, err := c.Lab.Stack.VaultAs(t.Context(), devstack.Worker)
	must(t, err)
	for off, want := range map[time.Duration]doctor.State{10 * time.Second: doctor.Warn, 10 * time.Minute: doctor.Fail} {
		p := doctor.Patient{
			Etcd: store.Config{Endpoints: []string{c.Lab.Stack.EtcdEndpoint}, Files: as.Files()}, Custody: vault, Version: "v", Patience: 5 * time.Second,
			Now:  func() time.Time { return time.Now().Add(off) },
			Dial: func(ctx context.Context) (*wiring.TemporalClient, error) { return nil, context.Canceled },
		}
		seen := 0
		for _, f := range p.Examine(t.Context()) {
			if strings.HasSuffix(f.Check, "clock") && f.State != doctor.Skipped { // etcd's HTTP has a port of its own here
				seen++
				if f.State != want || !strings.Contains(f.What, "behind this host's") {
					t.Errorf("%v ahead: %+v", off, f)
				}
			}
		}
		if seen != 1 {
			t.Errorf("%d clocks were compared", seen)
		}
	}
}

func (c *clinic) agentAway(t *testing.T) {
	c.agents["dc3"].Kill()
	c.until("nobody serves bad", func() bool { return len(c.view.Present([]keychain.NodeID{"bad"})) == 0 })
	c.visit("agent away", 0, nil, c.dirs[alice], nil, "no agent serves bad of dc3")
	c.worker.Kill()
}

func (c *clinic) withoutUsers(t *testing.T) {
	root, err := c.Lab.Stack.EtcdClient(t.Context(), devstack.Root)
	must(t, err)
	defer func() { _ = root.Close() }()
	_, err = root.AuthDisable(t.Context())
	must(t, err)
	c.visit("users off", 3, nil, c.dirs["keyorch-agent.dc2"], []string{"--site", "dc2"}, "authentication is off", "may do what it must not")
	_, err = root.AuthEnable(t.Context())
	must(t, err)
	c.visit("users on again", 0, nil, c.dirs["keyorch-agent.dc2"], []string{"--site", "dc2"})
}

// beforeBootstrap takes from a worker and an agent what this version has to be given: as after
// an upgrade, when bootstrap was not run again. They say so, and go on when it was.
func (c *clinic) beforeBootstrap(t *testing.T) {
	const words, dc3 = "run keyorch bootstrap with this version", "keyorch-agent.dc3"
	root, err := c.Lab.Stack.EtcdClient(t.Context(), devstack.Root)
	must(t, err)
	defer func() { _ = root.Close() }()
	logs := []string{c.worker.Log, c.agents["dc3"].Log}
	for _, log := range logs {
		if strings.Contains(string(read(t, log)), words) {
			t.Errorf("%s complained of rights that it had", log)
		}
	}
	for role, inbox := range map[string]string{"keyorch-worker": "", dc3: dc3 + "/"} {
		from := store.DefaultPrefix + "/trail/inbox/" + inbox
		_, err = root.RoleRevokePermission(t.Context(), role, from, clientv3.GetPrefixRangeEnd(from))
		must(t, err)
	}
	c.startWorker()
	c.agents["dc3"] = c.agentOf("dc3", c.dirs[dc3])
	for _, log := range logs {
		c.until("it says what to do: "+log, func() bool { return strings.Contains(string(read(t, log)), words) })
	}
	c.visit("before bootstrap", 3, nil, c.dirs[w1], nil, "may not do all that it has to: writes /keyorch/v1/trail/inbox/", "mend: have the administrator "+words)
	c.administrator(0, "bootstrap")
	c.visit("after bootstrap", 0, nil, c.dirs[w1], nil, " 0 failed")
	c.rotate(0, "--all")
	c.worker.Kill()
	c.agents["dc3"].Terminate()
	c.until("nobody serves bad again", func() bool { return len(c.view.Present([]keychain.NodeID{"bad"})) == 0 })
}

func (c *clinic) sealed(t *testing.T) {
	root := c.root()
	must(t, root.Sys().SealWithContext(t.Context()))
	c.visit("sealed", 6, nil, c.dirs[w1], nil, "it is sealed", "mend: unseal it")
	c.unseal()
}

func (c *clinic) withoutTransit(t *testing.T) {
	root := c.root()
	must(t, root.Sys().UnmountWithContext(t.Context(), "transit"))
	c.visit("no transit", 3, nil, c.dirs[w1], nil, "nothing is mounted at transit/", "mend: run keyorch bootstrap")
	c.administrator(0, "bootstrap")
	c.visit("no keys", 3, nil, c.dirs[w1], nil, "Vault has no key keyorch-", "mend: run keyorch apply")
	must(t, root.Sys().PutPolicyWithContext(t.Context(), "keyorch-worker", `path "auth/token/lookup-self" { capabilities = ["read"] }`))
	c.visit("denied", 3, nil, c.dirs[w1], nil, "may not mint under keyorch-", "mend: have the administrator")
}

// page compares the outputs in the page with what was said.
func (c *clinic) page(t *testing.T) {
	old := string(read(t, doctorFile))
	blocks := regexp.MustCompile("(?s)<!-- doctor: ([a-z0-9. -]+) -->\n```text\n.*?```\n")
	seen := 0
	page := blocks.ReplaceAllStringFunc(old, func(block string) string {
		name := blocks.FindStringSubmatch(block)[1]
		said, ok := c.said[name]
		if !ok {
			t.Errorf("the page shows %q, which was not looked at", name)
			return block
		}
		seen++
		return fmt.Sprintf("<!-- doctor: %s -->\n```text\n%s```\n", name, said)
	})
	switch {
	case seen < 9:
		t.Errorf("the page has %d outputs", seen)
	case page == old || t.Failed():
	case *update:
		must(t, os.WriteFile(doctorFile, []byte(page), 0o644))
	default:
		t.Errorf("%s is not what is printed now (rewrite it with go test -run Doctor -update ., and read the diff):\n%s", doctorFile, page)
	}
}
