package proof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devices/guest"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// Stack is the servers, a worker on them, and the operator's shell.
type Stack struct {
	// Keyorch is the program, a static binary that also runs in the guest.
	Keyorch string
	// Dir is for what lasts as long as the stack: logs, journals.
	Dir string

	data     string
	server   *testbed.Process
	store    *store.Store
	view     *store.View
	stopView context.CancelFunc
	applying sync.Mutex
}

// startPatience is how long the servers may take to answer.
const startPatience = 60 * time.Second

// start starts the servers with a worker and without agents.
func start(t testing.TB) (*Stack, error) {
	dir, err := os.MkdirTemp("", "keyorch-devices-")
	if err != nil {
		return nil, err
	}
	s := &Stack{Dir: dir, data: filepath.Join(dir, "data")}
	if s.Keyorch, err = program(dir, "keyorch"); err != nil {
		return s, err
	}
	servers, err := program(dir, "keyorch-dev")
	if err != nil {
		return s, err
	}
	// Not t's own: the stack outlives the test that asked for it first.
	s.server = testbed.Namespace{}.Start(outliving{TB: t}, filepath.Join(dir, "keyorch-dev.log"), nil,
		servers, "up", "--data", s.data, "--no-agents", "--ui=false", "--name", guest.Host)
	for deadline := time.Now().Add(startPatience); ; time.Sleep(50 * time.Millisecond) {
		if strings.Contains(testbed.Tail(s.server.Log, 2000), "ready") {
			break
		}
		if time.Now().After(deadline) {
			return s, errors.New("the servers do not answer:\n" + testbed.Tail(s.server.Log, 2000))
		}
	}
	return s, s.look()
}

// program is the path of one of the two programs: in the folder KEYORCH_BIN, or
// else built into dir.
func program(dir, name string) (string, error) {
	if bin := os.Getenv("KEYORCH_BIN"); bin != "" {
		if path, err := exec.LookPath(filepath.Join(bin, name)); err == nil {
			return path, nil
		}
	}
	module, err := filepath.Abs("..") // e2e, from the folder of the tests
	env := os.Environ()
	if name == "keyorch" { // static, for the guest
		module, env = filepath.Dir(module), append(env, "CGO_ENABLED=0")
	}
	path := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-o", path, "./cmd/"+name)
	cmd.Dir, cmd.Env = module, env
	if out, failed := cmd.CombinedOutput(); failed != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, errors.Join(err, failed), out)
	}
	return path, nil
}

// look opens a view of the store.
func (s *Stack) look() error {
	env, err := s.Env("operator")
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stopView = stop
	if s.store, err = store.Open(ctx, store.EnvConfig(lookup(env))); err != nil {
		return err
	}
	s.view, err = s.store.View(ctx)
	return err
}

func (s *Stack) stop() {
	if s.stopView != nil {
		s.stopView()
	}
	if s.store != nil {
		_ = s.store.Close()
	}
	if s.server != nil {
		s.server.Stop()
	}
	_ = os.RemoveAll(s.Dir)
}

// Env is the environment of an identity of the stack: "operator", or "agent.SITE"
// once the site is declared.
func (s *Stack) Env(identity string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(s.data, "env."+identity))
	var env []string
	for line := range strings.Lines(string(data)) {
		if kv, ok := strings.CutPrefix(strings.TrimSpace(line), "export "); ok {
			key, value, _ := strings.Cut(kv, "=")
			env = append(env, key+"="+strings.Trim(value, "'"))
		}
	}
	return env, err
}

// lookup is os.Getenv for an environment that is not this process's.
func lookup(env []string) func(name string) string {
	return func(name string) string {
		for _, kv := range env {
			if value, ok := strings.CutPrefix(kv, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

// Said is what a verb printed and how it ended.
type Said struct {
	Out, Err string
	Code     int
}

// Run runs a verb as the operator.
func (s *Stack) Run(ctx context.Context, args ...string) Said {
	env, err := s.Env("operator")
	if err != nil {
		return Said{Err: err.Error(), Code: -1}
	}
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, s.Keyorch, args...)
	cmd.Env = append(env, "PATH="+os.Getenv("PATH"), "HOME="+s.Dir)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	_ = cmd.Run() // the exit code tells
	return Said{Out: out.String(), Err: errOut.String(), Code: cmd.ProcessState.ExitCode()}
}

// Verb runs a verb and wants its exit code.
func (s *Stack) Verb(t testing.TB, code int, args ...string) Said {
	t.Helper()
	said := s.Run(t.Context(), args...)
	if said.Code != code {
		t.Fatalf("keyorch %s: exit %d, want %d\n%s%s", strings.Join(args, " "), said.Code, code, said.Out, said.Err)
	}
	return said
}

// Apply declares documents. Proofs that run side by side wait for each other, since
// of two that apply at once keyorch sends one away.
func (s *Stack) Apply(t testing.TB, documents string) {
	t.Helper()
	s.applying.Lock()
	defer s.applying.Unlock()
	file := filepath.Join(t.TempDir(), "network.yaml")
	if err := os.WriteFile(file, []byte(documents), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Verb(t, 0, "apply", "-f", file)
}

// Agent starts the agent of a site on this machine. Its journal outlives it.
func (s *Stack) Agent(t testing.TB, site keychain.SiteID) *testbed.Process {
	t.Helper()
	var env []string
	testbed.Until(t, 10*time.Second, "the site has an identity", func() (ok bool) {
		var err error
		env, err = s.Env("agent." + string(site))
		return err == nil
	})
	return testbed.Namespace{}.Start(t, filepath.Join(s.Dir, "agent-"+string(site)+".log"), env,
		s.Keyorch, "agent", "--site", string(site), "--state-dir", filepath.Join(s.Dir, "state", string(site)))
}

// outliving is a test whose end nothing waits for.
type outliving struct{ testing.TB }

func (outliving) Cleanup(func()) {}
