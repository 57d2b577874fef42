package testbed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netns"
)

// Namespace is a network namespace, by its name as `ip netns` has it. The zero
// Namespace is the one that the process is in.
type Namespace struct{ Name string }

// prefix begins the names of namespaces of this package; the ID of the process
// that made it follows, so that what a killed test left can be told apart.
const prefix = "keyorch-"

// NewNamespace makes a namespace with lo up, and removes it with whatever runs in
// it when the test ends. Its name ends in role.
func NewNamespace(t testing.TB, role string) Namespace {
	t.Helper()
	Need(t, true, "iproute2")
	sweep()
	n := unused(t, role)
	t.Cleanup(n.remove)
	n.IP(t, "link", "set", "lo", "up")
	return n
}

// unused makes a namespace whose name nobody has, since tests run side by side.
func unused(t testing.TB, role string) Namespace {
	t.Helper()
	for i := 1; ; i++ {
		n := Namespace{Name: fmt.Sprintf("%s%d-%d%s", prefix, os.Getpid(), i, role)}
		out, err := exec.Command("ip", "netns", "add", n.Name).CombinedOutput()
		if err == nil {
			return n
		}
		if !strings.Contains(string(out), "File exists") {
			t.Fatalf("ip netns add %s: %v\n%s", n.Name, err, out)
		}
	}
}

// Path is the file of the namespace.
func (n Namespace) Path() string { return filepath.Join("/run/netns", n.Name) }

// Args is a command line that runs args in the namespace.
func (n Namespace) Args(args ...string) []string {
	if n.Name == "" {
		return args
	}
	return append([]string{"ip", "netns", "exec", n.Name}, args...)
}

// Run runs a command in the namespace to its end, and wants it to succeed.
func (n Namespace) Run(t testing.TB, args ...string) string {
	t.Helper()
	return run(t, n.Args(args...)...)
}

// IP runs ip(8) on the namespace.
func (n Namespace) IP(t testing.TB, args ...string) string {
	t.Helper()
	if n.Name == "" {
		return run(t, append([]string{"ip"}, args...)...)
	}
	return run(t, append([]string{"ip", "-n", n.Name}, args...)...)
}

// In calls f on a thread that is in the namespace. Sockets that f opens stay in it.
func (n Namespace) In(f func() error) error {
	if n.Name == "" {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		back, err := enter(n.Path())
		if err != nil {
			done <- err
			return // with the thread locked, so that nobody else gets it
		}
		err = f()
		if back() == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// enter takes the calling thread into a namespace; back takes it out again.
func enter(path string) (back func() error, err error) {
	here, err := netns.Get()
	if err != nil {
		return nil, err
	}
	there, err := netns.GetFromPath(path)
	if err == nil {
		err = netns.Set(there)
		_ = there.Close()
	}
	if err != nil {
		_ = here.Close()
		return nil, err
	}
	return func() error {
		defer func() { _ = here.Close() }()
		return netns.Set(here)
	}, nil
}

func (n Namespace) remove() {
	pids, _ := exec.Command("ip", "netns", "pids", n.Name).Output()
	for _, pid := range strings.Fields(string(pids)) {
		if id, err := strconv.Atoi(pid); err == nil && id != os.Getpid() {
			_ = syscall.Kill(id, syscall.SIGKILL) // all that is in there was started by this test
		}
	}
	_ = exec.Command("ip", "netns", "del", n.Name).Run()
}

// sweep removes the namespaces of tests that were killed.
func sweep() {
	left, _ := filepath.Glob("/run/netns/" + prefix + "*")
	for _, path := range left {
		id, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), prefix), "-")
		pid, err := strconv.Atoi(id)
		if err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
			Namespace{Name: filepath.Base(path)}.remove()
		}
	}
}

// Pair makes two namespaces joined by a cable: va in the first, with 10.9.0.1/24
// and 2001:db8:9::1/64, and vb in the second, with the same ending in 2. Their lo
// has 10.1.0.1/32 and 2001:db8:1::1/128, and the same ending in 2, which nothing
// routes yet. role begins the names of both.
func Pair(t testing.TB, role string) (a, b Namespace) {
	t.Helper()
	a, b = NewNamespace(t, role+"a"), NewNamespace(t, role+"b")
	run(t, "ip", "link", "add", "va", "netns", a.Name, "type", "veth", "peer", "name", "vb", "netns", b.Name)
	for i, n := range []Namespace{a, b} {
		dev := []string{"va", "vb"}[i]
		n.IP(t, "link", "set", dev, "up")
		n.IP(t, "addr", "add", fmt.Sprintf("10.9.0.%d/24", i+1), "dev", dev)
		n.IP(t, "addr", "add", fmt.Sprintf("2001:db8:9::%d/64", i+1), "dev", dev, "nodad")
		n.IP(t, "addr", "add", fmt.Sprintf("10.1.0.%d/32", i+1), "dev", "lo")
		n.IP(t, "addr", "add", fmt.Sprintf("2001:db8:1::%d/128", i+1), "dev", "lo", "nodad")
	}
	return a, b
}

func run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
