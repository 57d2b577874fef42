// The end-to-end tests: the real binary, real servers, and a simulated network
// with traffic that runs while everything else is killed.
package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/keyorch/keyorch/e2e/devstack"
)

// binary is the keyorch that TestMain builds.
var binary string

func TestMain(m *testing.M) {
	debug.SetGCPercent(devstack.GCPercent)
	dir, err := os.MkdirTemp("", "keyorch-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "keyorch")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "github.com/keyorch/keyorch/cmd/keyorch")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build keyorch: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}
