package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/e2e/lab"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
)

// with runs a verb with an environment that has nothing but env.
func (w *world) with(env []string, args ...string) lab.Said {
	w.t.Helper()
	var out, errOut strings.Builder
	cmd := exec.CommandContext(w.t.Context(), binary, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.Lab.Dir}, env...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	_ = cmd.Run() // the exit code tells
	return lab.Said{Out: out.String(), Err: errOut.String(), Code: cmd.ProcessState.ExitCode()}
}

// administrator runs a verb as who enrols and revokes, and wants its exit code.
func (w *world) administrator(code int, args ...string) lab.Said {
	w.t.Helper()
	env, err := w.Lab.Stack.Env(w.t.Context(), devstack.Root)
	must(w.t, err)
	return w.wanting(code, w.with(env, args...), args)
}

// nobody runs a verb with no environment at all.
func (w *world) nobody(code int, args ...string) lab.Said {
	w.t.Helper()
	return w.wanting(code, w.with(nil, args...), args)
}

func (w *world) wanting(code int, said lab.Said, args []string) lab.Said {
	w.t.Helper()
	if said.Code != code {
		w.t.Fatalf("keyorch %s: exit %d, want %d\n%s%s", strings.Join(args, " "), said.Code, code, said.Out, said.Err)
	}
	return said
}

// joined enrols a site, joins, and gives the identity directory and the file that has
// the used token.
func (w *world) joined(site keychain.SiteID, more ...string) (dir, token string) {
	w.t.Helper()
	dir, token = filepath.Join(w.Lab.Dir, "identity-"+string(site)), filepath.Join(w.Lab.Dir, string(site)+".join")
	w.administrator(0, append([]string{"enroll", string(site), "--out", token}, more...)...)
	w.nobody(0, "join", "-f", token, "--identity", dir)
	return dir, token
}

// agentOf starts an agent that knows nothing but its identity directory.
func (w *world) agentOf(site keychain.SiteID, dir string) *lab.Process {
	w.t.Helper()
	p, err := w.Alone(site, "--identity", dir)
	must(w.t, err)
	return p
}

func TestASiteJoinsAndIsShutOut(t *testing.T) {
	w := newWorld(t)
	documents := os.Expand(stolen, os.Getenv)
	file := filepath.Join(w.Lab.Dir, "network.yaml")
	must(t, os.WriteFile(file, []byte(documents), 0o600))
	w.keyorch(0, "apply", "-f", file)
	var err error
	w.topo, err = topology.Parse([]topology.Source{{Name: file, Data: []byte(documents)}}, wiring.Kinds(), topology.Topology{})
	must(t, err)
	w.startWorker()
	dirs, tokens := map[keychain.SiteID]string{}, map[keychain.SiteID]string{}
	for _, s := range w.topo.Sites {
		dirs[s.Name], tokens[s.Name] = w.joined(s.Name)
		w.agents[s.Name] = w.agentOf(s.Name, dirs[s.Name])
	}
	w.rotate(0, "--all")
	w.trafficAmong("one", "two")
	w.rotate(0, "--all")
	w.run("TestDeniedSecondJoin", func(t *testing.T) {
		said := w.nobody(3, "join", "-f", tokens["dc2"], "--identity", filepath.Join(t.TempDir(), "again"))
		if !strings.Contains(said.Err, "used already") {
			t.Errorf("%s", said.Err)
		}
	})
	w.run("secrets are the owner's alone", func(t *testing.T) { ownersAlone(t, append([]string{tokens["dc2"]}, dirs["dc1"])...) })
	said := w.administrator(3, "revoke", "dc3", "--reason", "stolen") // last has an empty side
	if !strings.Contains(said.Out, "is shut out") {
		t.Errorf("%s", said.Out)
	}
	w.run("TestDeniedRevokedAgent", func(t *testing.T) { w.isShutOut(t, dirs["dc3"]) })
	w.rotate(0, "both", "into", "away")
	w.lostNothing()
	w.run("it comes back as somebody else", func(t *testing.T) {
		again := w.administrator(3, "enroll", "dc3")
		if !strings.Contains(again.Err, "--again") {
			t.Errorf("%s", again.Err)
		}
		w.agents["dc3"].Kill()
		dir, _ := w.joined("dc3", "--again")
		w.agents["dc3"] = w.agentOf("dc3", dir)
		w.keyorch(0, "readmit", "--site", "dc3", "--reason", "rebuilt")
		if list := w.keyorch(0, "get", "identities").Out; !strings.Contains(list, "keyorch-agent-2.dc3") {
			t.Errorf("%s", list)
		}
		w.rotate(0, "--all")
	})
	w.lostNothing()
}

// TestACertificateIsRenewedWithoutARestart has an agent whose certificate and whose
// token last half a minute serve for longer than both.
func TestACertificateIsRenewedWithoutARestart(t *testing.T) {
	w := newWorld(t)
	w.declare(stolen)
	w.startWorker()
	w.startAgent("dc1")
	w.startAgent("dc3")
	dir, _ := w.joined("dc2", "--cert-ttl", "30s", "--token-ttl", "30s")
	files := identity.Directory(dir).Files()
	first, err := files.Read(time.Now(), "etcd")
	must(t, err)
	w.agents["dc2"] = w.agentOf("dc2", dir)
	w.rotate(0, "--all")
	w.trafficAmong("one", "two")
	for time.Now().Before(first.Leaf.NotAfter.Add(2 * time.Second)) {
		time.Sleep(time.Second)
	}
	now, err := files.Read(time.Now(), "etcd")
	must(t, err) // the first would be refused as expired
	if !now.Leaf.NotAfter.After(first.Leaf.NotAfter) || now.Identity != first.Identity {
		t.Errorf("%s until %v became %s until %v", first.Identity, first.Leaf.NotAfter, now.Identity, now.Leaf.NotAfter)
	}
	w.rotate(0, "--all")
	w.lostNothing()
}

// isShutOut says that a revoked site's certificate opens nothing any more.
func (w *world) isShutOut(t *testing.T, dir string) {
	t.Helper()
	said := w.nobody(3, "agent", "--site", "dc3", "--identity", dir, "--state-dir", filepath.Join(t.TempDir(), "state"))
	if !strings.Contains(said.Err, "vault") {
		t.Errorf("its start: %s", said.Err)
	}
	config := store.Config{Endpoints: []string{w.Lab.Stack.EtcdEndpoint}}
	config.Files.CA, config.Files.Cert, config.Files.Key = filepath.Join(dir, "ca.crt"), filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	if s, err := store.Open(t.Context(), config); err == nil {
		defer func() { _ = s.Close() }()
		if _, err = s.Topology(t.Context()); !fault.Is(err, fault.Refused) {
			t.Errorf("etcd lets it read: %v", err)
		}
	} else if !fault.Is(err, fault.Refused) {
		t.Errorf("etcd: %v", err)
	}
	deadline := time.Now().Add(patience)
	for {
		if _, there := w.view.Agent("bad"); !there {
			return
		}
		if time.Now().After(deadline) {
			t.Error("its agent still serves the node")
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// ownersAlone says that nobody else may read what is at these paths.
func ownersAlone(t *testing.T, paths ...string) {
	t.Helper()
	for _, p := range paths {
		must(t, filepath.Walk(p, func(path string, info os.FileInfo, err error) error {
			public := strings.HasSuffix(path, ".crt")
			if err == nil && !public && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			return err
		}))
	}
}
