package guest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/keyorch/keyorch/e2e/devices/guest/protocol"
)

// inside is the variable by which a test knows that it runs in a guest.
const inside = "KEYORCH_GUEST"

// Inside reports whether this process runs in a guest.
func Inside() bool { return os.Getenv(inside) != "" }

// Test says how to run a test in a guest.
type Test struct {
	// Files are the test files of the current directory that make up the test
	// binary. They must do without the rest of their package, so that no server has
	// to fit into the guest.
	Files []string
	// Modules are loaded first.
	Modules []string
}

// RunTest runs the test that calls it once more, in a guest. It fails when the
// test fails in there.
func RunTest(t *testing.T, o Test) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "guest.test")
	args := append([]string{"test", "-c", "-tags", "devices", "-trimpath", "-ldflags=-s -w", "-o", binary}, o.Files...)
	must(t, static(t.Context(), args...))
	g := Start(t, Options{Programs: map[string]string{"guest.test": binary}, Modules: o.Modules})
	r, err := g.Exec(t.Context(), protocol.Command{
		Args: []string{"guest.test", "-test.v", "-test.run", "^" + t.Name() + "$"},
		Env:  []string{inside + "=1"},
	})
	must(t, err)
	t.Logf("in the guest:\n%s%s", r.Stdout, r.Stderr)
	if r.Code != 0 {
		t.Errorf("the test failed in the guest: exit %d", r.Code)
	}
}
