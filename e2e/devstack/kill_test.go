package devstack_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.temporal.io/sdk/client"

	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/e2e/devstack/devstacktest"
	"github.com/keyorch/keyorch/keychain"
)

// childData names the variable that makes this test binary a stack in a process
// of its own, on the directory that it holds.
const childData = "KEYORCH_TEST_STACK"

// runChild runs a stack until the process is killed.
func runChild(data string) int {
	if _, err := devstack.Start(context.Background(), devstack.Options{Data: data}); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	select {}
}

// startChild starts the stack in a process of its own and waits until it is
// ready.
func startChild(t *testing.T, data string) *os.Process {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childData+"="+data)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill() }) // gone already, unless the test failed
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("stack in a process of its own: %s", lines.Text())
	}
	return child.Process
}

func kill(t *testing.T, p *os.Process) {
	t.Helper()
	if err := p.Kill(); err != nil { // SIGKILL
		t.Fatal(err)
	}
	if _, err := p.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestWhatWasWrittenSurvivesSIGKILL(t *testing.T) {
	ctx := t.Context()
	o := devstack.Options{Data: t.TempDir()}
	first := devstacktest.At(t, o)
	if err := first.Provision(ctx, threeSites()); err != nil {
		t.Fatal(err)
	}
	devstacktest.Stop(t, first)

	// The addresses and tokens of first are those of the child as well.
	child := startChild(t, o.Data)
	if _, err := etcdClient(t, first).Put(ctx, "planet", "earth"); err != nil {
		t.Fatal(err)
	}
	wrapped, err := openCustody(t, first, devstack.Worker).Mint(ctx, "dc1-dc2", 1, []keychain.SiteID{"dc1", "dc2"})
	if err != nil {
		t.Fatal(err)
	}
	waiting := client.StartWorkflowOptions{ID: "kept", TaskQueue: "nobody"}
	if _, err := temporalClient(t, first).ExecuteWorkflow(ctx, waiting, oneByOne, 1); err != nil {
		t.Fatal(err)
	}
	kill(t, child)

	second := devstacktest.At(t, o) // the lock went with the process
	if got, err := etcdClient(t, second).Get(ctx, "planet"); err != nil || got.Count != 1 {
		t.Errorf("etcd: %v, %v", got, err)
	}
	key, err := agent(t, second, "dc2").Unwrap(ctx, "dc1-dc2", 1, wrapped)
	if err != nil {
		t.Errorf("vault: %v", err)
	}
	key.Wipe()
	if _, err := temporalClient(t, second).DescribeWorkflowExecution(ctx, "kept", ""); err != nil {
		t.Errorf("temporal: %v", err)
	}
}

// A process that dies during the very first start leaves halves behind: a Vault
// whose keys nobody knows, a database without all of its tables.
func TestAFirstStartThatWasKilledIsMadeGood(t *testing.T) {
	data := t.TempDir()
	devstacktest.Stop(t, devstacktest.At(t, devstack.Options{Data: data}))
	for _, done := range []string{"vault/dev-keys.json", "vault/dev-tokens.json", "temporal.ready"} {
		if err := os.Remove(filepath.Join(data, done)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(data, "vault", "initialising"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "temporal.db"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	kill(t, startChild(t, data)) // in another process: this one still has the old database open
}

// Teeth: without the mark of a first start nothing is removed.
func TestAVaultWhoseKeysAreGoneIsLeftAlone(t *testing.T) {
	data := t.TempDir()
	devstacktest.Stop(t, devstacktest.At(t, devstack.Options{Data: data}))
	if err := os.Remove(filepath.Join(data, "vault", "dev-keys.json")); err != nil {
		t.Fatal(err)
	}
	if s, err := devstack.Start(t.Context(), devstack.Options{Data: data}); err == nil {
		devstacktest.Stop(t, s)
		t.Error("a new vault took the place of one whose keys are gone")
	}
	if _, err := os.Stat(filepath.Join(data, "vault", "store", "core")); err != nil {
		t.Errorf("vault's storage: %v", err)
	}
}
