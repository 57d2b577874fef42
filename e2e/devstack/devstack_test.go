package devstack_test

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/e2e/devstack/devstacktest"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// startLimit is how long a start may take, also on a busy machine.
const startLimit = 5 * time.Second

// threeSites is dc1 sending to dc2, and dc3 apart.
func threeSites() topology.Topology {
	return topology.Topology{
		Sites: []topology.Site{{Name: "dc1"}, {Name: "dc2"}, {Name: "dc3"}},
		Nodes: []topology.Node{{Name: "n1", Site: "dc1"}, {Name: "n2", Site: "dc2"}, {Name: "n3", Site: "dc3"}},
		Links: []topology.Link{
			{Name: "dc1-dc2", Upstream: []keychain.NodeID{"n1"}, Downstream: []keychain.NodeID{"n2"}},
			{Name: "dc1-all", Upstream: []keychain.NodeID{"n1"}, Downstream: []keychain.NodeID{"n2", "n3"}},
		},
	}
}

func openCustody(t *testing.T, s *devstack.Stack, identity string) *custody.Custody {
	t.Helper()
	as, err := s.VaultAs(t.Context(), identity)
	if err != nil {
		t.Fatal(err)
	}
	c, err := custody.Open(as)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func agent(t *testing.T, s *devstack.Stack, site keychain.SiteID) *custody.Custody {
	t.Helper()
	return openCustody(t, s, devstack.AgentIdentity(site))
}

func etcdClient(t *testing.T, s *devstack.Stack) *clientv3.Client {
	t.Helper()
	c, err := s.EtcdClient(t.Context(), devstack.Root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestNothingIsLostAndNothingMovesWhenTheStackIsStoppedAndStarted(t *testing.T) {
	ctx := t.Context()
	// A path with everything that a URI or a shell would trip over.
	o := devstack.Options{Data: filepath.Join(t.TempDir(), "a b#c%20d?e'f"), UI: true}
	begin := time.Now()
	first := devstacktest.At(t, o)
	t.Logf("new directory: ready after %v", time.Since(begin).Round(time.Millisecond))
	if err := first.Provision(ctx, threeSites()); err != nil {
		t.Fatal(err)
	}
	if _, err := etcdClient(t, first).Put(ctx, "planet", "earth"); err != nil {
		t.Fatal(err)
	}
	sites := []keychain.SiteID{"dc1", "dc2"}
	wrapped, err := openCustody(t, first, devstack.Worker).Mint(ctx, "dc1-dc2", 1, sites)
	if err != nil {
		t.Fatal(err)
	}
	waiting := client.StartWorkflowOptions{ID: "kept", TaskQueue: "nobody"}
	if _, err := temporalClient(t, first).ExecuteWorkflow(ctx, waiting, oneByOne, 1); err != nil {
		t.Fatal(err)
	}
	opened, authority := environments(t, first), read(t, first.Data, "tls", "ca.crt")

	begin = time.Now()
	devstacktest.Stop(t, first)
	t.Logf("stopped after %v", time.Since(begin).Round(time.Millisecond))
	begin = time.Now()
	second := devstacktest.At(t, o)
	t.Logf("old directory: ready after %v", time.Since(begin).Round(time.Millisecond))

	if again := environments(t, second); !maps.EqualFunc(opened, again, slices.Equal) {
		t.Errorf("addresses or tokens have changed:\n%v\n%v", opened, again)
	}
	if read(t, second.Data, "tls", "ca.crt") != authority {
		t.Error("the certificate authority is another one")
	}
	if got, err := etcdClient(t, second).Get(ctx, "planet"); err != nil || got.Count != 1 {
		t.Errorf("etcd: %v, %v", got, err)
	}
	key, err := agent(t, second, "dc2").Unwrap(ctx, "dc1-dc2", 1, wrapped)
	if err != nil {
		t.Errorf("vault: %v", err)
	}
	key.Wipe()
	described, err := temporalClient(t, second).DescribeWorkflowExecution(ctx, "kept", "")
	if status := described.GetWorkflowExecutionInfo().GetStatus(); err != nil || status != enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
		t.Errorf("temporal: %v, %v", status, err)
	}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// environments are the variables of every identity.
func environments(t *testing.T, s *devstack.Stack) map[string][]string {
	t.Helper()
	all := make(map[string][]string)
	for _, identity := range []string{devstack.Operator, devstack.Worker, devstack.AgentIdentity("dc1"), devstack.AgentIdentity("dc2")} {
		env, err := s.Env(t.Context(), identity)
		if err != nil {
			t.Fatal(err)
		}
		all[identity] = env
	}
	return all
}

func TestStartIsQuick(t *testing.T) {
	o := devstack.Options{Data: t.TempDir(), UI: true}
	for _, directory := range []string{"new", "old"} {
		begin := time.Now()
		s := devstacktest.At(t, o)
		took := time.Since(begin)
		t.Logf("%s directory: ready after %v", directory, took.Round(time.Millisecond))
		if took > startLimit {
			t.Errorf("%s directory: ready after %v, more than %v", directory, took, startLimit)
		}
		devstacktest.Stop(t, s)
	}
}

func TestVaultLetsEachIdentityDoItsOwnWorkOnly(t *testing.T) {
	ctx := t.Context()
	s := devstacktest.Shared(t)
	for range 2 { // the second time changes nothing
		if err := s.Provision(ctx, threeSites()); err != nil {
			t.Fatal(err)
		}
	}
	worker, operator := openCustody(t, s, devstack.Worker), openCustody(t, s, devstack.Operator)
	toDC2, err := worker.Mint(ctx, "dc1-dc2", 7, []keychain.SiteID{"dc1", "dc2"})
	if err != nil {
		t.Fatal(err)
	}
	toAll, err := worker.Mint(ctx, "dc1-all", 7, []keychain.SiteID{"dc1", "dc2", "dc3"})
	if err != nil {
		t.Fatal(err)
	}
	for _, open := range []struct {
		who  string
		as   *custody.Custody
		link keychain.LinkID
		what keychain.Wrapped
		kind fault.Kind // Unknown: it opens
	}{
		{"the worker does not open what it minted", worker, "dc1-dc2", toDC2, fault.Refused},
		{"the operator does not", operator, "dc1-dc2", toDC2, fault.Refused},
		{"the sending site opens its link's key", agent(t, s, "dc1"), "dc1-dc2", toDC2, fault.Unknown},
		{"the accepting site opens its link's key", agent(t, s, "dc2"), "dc1-dc2", toDC2, fault.Unknown},
		{"a site apart does not", agent(t, s, "dc3"), "dc1-dc2", toDC2, fault.Refused},
		{"a link of several sites opens at each", agent(t, s, "dc3"), "dc1-all", toAll, fault.Unknown},
		{"a key opens for its own link only", agent(t, s, "dc2"), "dc1-all", toDC2, fault.Mismatch},
	} {
		key, err := open.as.Unwrap(ctx, open.link, 7, open.what)
		key.Wipe()
		if (err == nil) != (open.kind == fault.Unknown) || err != nil && fault.Of(err) != open.kind {
			t.Errorf("%s: %v", open.who, err)
		}
	}
	if _, err := agent(t, s, "dc2").Mint(ctx, "dc1-dc2", 8, []keychain.SiteID{"dc1", "dc2"}); !fault.Is(err, fault.Refused) {
		t.Errorf("an agent mints: %v", err)
	}
	// Teeth: with everything allowed the same call opens, so it was the policy that
	// refused the worker.
	if _, err := openCustody(t, s, devstack.Root).Unwrap(ctx, "dc1-dc2", 7, toDC2); err != nil {
		t.Errorf("root: %v", err)
	}
}

func TestEnvFilesAreShellLinesForTheirOwnerOnly(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := devstacktest.At(t, devstack.Options{Data: data})
	if err := s.WriteEnv(t.Context(), []keychain.SiteID{"dc1"}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(data); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("data directory: %v, %v", info, err)
	}
	for _, name := range []string{"temporal.db", "temporal.db-wal", "vault/dev-keys.json", "vault/dev-tokens.json", "logs/vault.log",
		"tls/ca.key", "tls/server.key", "identity/root/tls.key", "identity/keyorch-worker/tls.key", "identity/keyorch-agent.dc1/tls.key"} {
		if info, err := os.Stat(filepath.Join(data, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	for name, identity := range map[string]string{
		"env": devstack.Operator, "env.operator": devstack.Operator, "env.worker": devstack.Worker, "env.agent.dc1": "agent.dc1",
	} {
		path := filepath.Join(data, name)
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
		sh := exec.CommandContext(t.Context(), "sh", "-c", `. "$0" && env`, path)
		sh.Env = []string{"PATH=" + os.Getenv("PATH")}
		out, err := sh.Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want, err := s.Env(t.Context(), identity)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Split(string(out), "\n")
		for _, line := range want {
			if !slices.Contains(got, line) {
				t.Errorf("%s: sh does not get %s", name, line)
			}
		}
		if temporal := slices.ContainsFunc(got, func(l string) bool { return strings.HasPrefix(l, "TEMPORAL_") }); temporal == (name == "env.agent.dc1") {
			t.Errorf("%s: has a way to temporal: %v", name, temporal)
		}
	}
	if _, err := s.Env(t.Context(), "nobody"); !fault.Is(err, fault.Invalid) {
		t.Errorf("environment of an unknown identity: %v", err)
	}
	if _, err := s.Env(t.Context(), "agent.../root"); !fault.Is(err, fault.Invalid) {
		t.Errorf("environment of a site with a wrong name: %v", err)
	}
}

func TestADirectoryInUseIsRefusedWithItsUser(t *testing.T) {
	data := t.TempDir()
	s := devstacktest.At(t, devstack.Options{Data: data})
	_, err := devstack.Start(t.Context(), devstack.Options{Data: data})
	if !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "pid "+strconv.Itoa(os.Getpid())) {
		t.Errorf("second start: %v", err)
	}
	devstacktest.Stop(t, s)
	devstacktest.Stop(t, devstacktest.At(t, devstack.Options{Data: data}))
}

func TestATakenPortIsNamedWithItsHolder(t *testing.T) {
	data := t.TempDir()
	devstacktest.Stop(t, devstacktest.At(t, devstack.Options{Data: data}))
	raw, err := os.ReadFile(filepath.Join(data, "ports.json"))
	if err != nil {
		t.Fatal(err)
	}
	var ports devstack.Ports
	if err := json.Unmarshal(raw, &ports); err != nil {
		t.Fatal(err)
	}
	squatter, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(ports.Vault)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = devstack.Start(t.Context(), devstack.Options{Data: data})
	for _, want := range []string{"vault", strconv.Itoa(ports.Vault), "pid " + strconv.Itoa(os.Getpid())} {
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("start with vault's port taken: no %q in: %v", want, err)
		}
	}
	if err := squatter.Close(); err != nil {
		t.Fatal(err)
	}
	devstacktest.Stop(t, devstacktest.At(t, devstack.Options{Data: data})) // the refusal left nothing behind
}

func TestTheWebPagesAnswer(t *testing.T) {
	s := devstacktest.At(t, devstack.Options{Data: t.TempDir(), UI: true})
	for path, want := range map[string]string{"/": "<html", "/api/v1/namespaces/default": `"default"`} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.TemporalUI+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		_, err = body.ReadFrom(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(body.String(), want) {
			t.Errorf("%s: %s, %v, no %q", path, resp.Status, err, want)
		}
	}
}

func TestStartGivesUpWhenItsContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	data := t.TempDir()
	if _, err := devstack.Start(ctx, devstack.Options{Data: data}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("start: %v", err)
	}
	devstacktest.Stop(t, devstacktest.At(t, devstack.Options{Data: data}))
}
