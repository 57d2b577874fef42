package testbed

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// CI reports whether this is the gate, in which no device may be left out.
func CI() bool { return os.Getenv("CI") != "" }

// installing is held by whoever looks at packages or installs them. It is state of
// the package because tests run side by side.
var installing sync.Mutex

// Need sees to it that the test can run: as root where root is set, and with the
// Debian packages installed, which it installs when they are missing, and says
// which. Without root the test is skipped with the reason, or fails where this is
// the gate.
func Need(t testing.TB, root bool, packages ...string) {
	t.Helper()
	installing.Lock() // there is one apt-get at a time
	defer installing.Unlock()
	if os.Geteuid() != 0 && (root || len(missing(packages)) > 0) {
		giveUp(t, "it needs root, for network namespaces and packages")
	}
	lacking := missing(packages)
	if len(lacking) == 0 {
		return
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		giveUp(t, "it needs Debian's packages "+strings.Join(lacking, " ")+", and there is no apt-get")
	}
	t.Logf("installing Debian packages: %s", strings.Join(lacking, " "))
	install(t, lacking)
}

func giveUp(t testing.TB, why string) {
	t.Helper()
	if CI() {
		t.Fatal(why)
	}
	t.Skip(why)
}

// WithApt calls f while no other test of this process installs or downloads packages.
func WithApt(f func() error) error {
	installing.Lock()
	defer installing.Unlock()
	return f()
}

// missing are those of packages that are not installed.
func missing(packages []string) []string {
	var lacking []string
	for _, p := range packages {
		out, err := exec.Command("dpkg-query", "-W", "-f", "${db:Status-Status}", p).Output()
		if err != nil || string(out) != "installed" {
			lacking = append(lacking, p)
		}
	}
	return lacking
}

// policy is the file by which Debian asks whether a package may start its daemon.
const policy = "/usr/sbin/policy-rc.d"

// install installs packages without starting what is in them.
func install(t testing.TB, packages []string) {
	t.Helper()
	if _, err := os.Stat(policy); os.IsNotExist(err) {
		must(t, os.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755)) // 101: no
		defer func() { _ = os.Remove(policy) }()
	}
	must(t, apt(t.Context(), "update", "-qq"))
	must(t, apt(t.Context(), append([]string{"install", "-y", "-qq", "--no-install-recommends"}, packages...)...))
}

func apt(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, out)
	}
	return nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
