package testbed

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// CI reports whether this is the gate, in which no device may be left out.
func CI() bool { return os.Getenv("CI") != "" }

// Need sees to it that the test can run: as root where root is set, and with the
// Debian packages installed, which it installs when they are missing, and says
// which. Without root the test is skipped with the reason, or fails where this is
// the gate.
func Need(t testing.TB, root bool, packages ...string) {
	t.Helper()
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
	for _, args := range [][]string{{"update", "-qq"}, append([]string{"install", "-y", "-qq", "--no-install-recommends"}, packages...)} {
		cmd := exec.CommandContext(t.Context(), "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("apt-get %s: %v\n%s", args[0], err, out)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
