package guest

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/e2e/devices/guest/protocol"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
)

// packages are the Debian packages that a guest is made with.
var packages = []string{"qemu-system-x86", "busybox-static", "cpio", "kmod", "e2fsprogs", "dash",
	"iproute2", "iputils-ping", "wireguard-tools"}

// Options says what a guest has beside its kernel.
type Options struct {
	// Programs are static programs of the host, by the name that they get in
	// /disk/bin, which is in the PATH.
	Programs map[string]string
	// Modules are loaded at every boot; one that does not load fails the test.
	Modules []string
	// Memory is how many MiB the guest has; 0 is 512.
	Memory int
}

// Guest is a machine with a kernel of its own. It is off when the test has ended.
type Guest struct {
	options Options
	memory  int
	dir     string
	kernel  kernel
	machine *machine
}

// Start makes a guest and boots it.
func Start(t testing.TB, o Options) *Guest {
	t.Helper()
	testbed.Need(t, false, packages...)
	g := &Guest{options: o, memory: o.Memory, dir: t.TempDir()}
	if g.memory == 0 {
		g.memory = 512
	}
	must(t, testbed.WithApt(func() (err error) {
		g.kernel, err = fetchKernel(t.Context())
		return err
	}))
	must(t, makeInitramfs(t.Context(), g.kernel, g.initramfs()))
	must(t, g.makeDisk(t.Context()))
	t.Cleanup(func() {
		if g.machine != nil {
			g.machine.powerOff()
		}
		if t.Failed() {
			t.Logf("the end of the guest's console:\n%s", testbed.Tail(g.console(), 2000))
		}
	})
	g.up(t)
	return g
}

// Restart cuts the guest's power and boots it again. Nothing is left but what was
// written to /disk and synchronised: namespaces, keys and processes are gone.
func (g *Guest) Restart(t testing.TB) {
	t.Helper()
	g.machine.powerOff()
	g.up(t)
}

func (g *Guest) up(t testing.TB) {
	t.Helper()
	must(t, g.boot(t.Context()))
	for _, m := range g.options.Modules {
		g.Run(t, "/sbin/modprobe", m)
	}
}

func (g *Guest) disk() string      { return filepath.Join(g.dir, "disk.img") }
func (g *Guest) initramfs() string { return filepath.Join(g.dir, "initramfs.gz") }

// makeDisk makes the file system of /disk, with the programs in it.
func (g *Guest) makeDisk(ctx context.Context) error {
	root := filepath.Join(g.dir, "disk")
	guestd := filepath.Join(g.dir, "guestd")
	if err := Build(ctx, guestd, "github.com/keyorch/keyorch/e2e/devices/guest/guestd"); err != nil {
		return err
	}
	programs := maps.Clone(g.options.Programs)
	if programs == nil {
		programs = map[string]string{}
	}
	programs["guestd"] = guestd
	size := int64(64 << 20) // for the journals
	for _, name := range slices.Sorted(maps.Keys(programs)) {
		to := filepath.Join(root, "bin", name)
		if err := copyFile(programs[name], to); err != nil {
			return err
		}
		info, err := os.Stat(to)
		if err != nil {
			return err
		}
		size += info.Size() + info.Size()/4
	}
	defer func() { _ = os.RemoveAll(root) }()
	_, err := output(ctx, "", "mkfs.ext4", "-q", "-F", "-E", "root_owner=0:0", "-d", root, g.disk(), fmt.Sprintf("%dk", size>>10))
	return err
}

// Build builds a static program of pkg (a package of this module or of the
// product's) for Options.Programs.
func Build(ctx context.Context, to, pkg string, flags ...string) error {
	args := append([]string{"build", "-trimpath", "-ldflags=-s -w", "-o", to}, append(flags, pkg)...)
	return static(ctx, args...)
}

// static runs the go command so that what it builds needs no libraries.
func static(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// Exec runs a program to its end.
func (g *Guest) Exec(ctx context.Context, c protocol.Command) (protocol.Result, error) {
	return call[protocol.Result](ctx, g.machine, protocol.Exec, c)
}

// Run runs a program to its end, wants it to succeed and gives what it printed.
func (g *Guest) Run(t testing.TB, args ...string) string {
	t.Helper()
	r, err := g.Exec(t.Context(), protocol.Command{Args: args})
	if err != nil || r.Code != 0 {
		t.Fatalf("in the guest: %s: exit %d %v\n%s%s", strings.Join(args, " "), r.Code, err, r.Stdout, r.Stderr)
	}
	return string(r.Stdout)
}

// Sh runs a script with dash, which stops at the first command that fails.
func (g *Guest) Sh(t testing.TB, script string) string {
	t.Helper()
	return g.Run(t, "dash", "-ec", script)
}

// ReadFile gives the content of a file.
func (g *Guest) ReadFile(t testing.TB, path string) string {
	t.Helper()
	content, err := g.read(t.Context(), path)
	must(t, err)
	return content
}

func (g *Guest) read(ctx context.Context, path string) (string, error) {
	f, err := call[protocol.File](ctx, g.machine, protocol.Read, protocol.File{Path: path})
	return string(f.Data), err
}

// WriteFile writes a file, and the directories above it where they are missing.
func (g *Guest) WriteFile(t testing.TB, path, content string, mode fs.FileMode) {
	t.Helper()
	_, err := call[protocol.Empty](t.Context(), g.machine, protocol.Write, protocol.File{Path: path, Mode: uint32(mode), Data: []byte(content)})
	must(t, err)
}

// Pair makes two namespaces, a and b, joined by a cable, with the addresses that
// testbed.Pair gives.
func (g *Guest) Pair(t testing.TB) (a, b testbed.Namespace) {
	t.Helper()
	g.Sh(t, `
ip netns add a; ip netns add b
ip link add va netns a type veth peer name vb netns b
end() {
	ip -n $1 link set lo up
	ip -n $1 link set v$1 up
	ip -n $1 addr add 10.9.0.$2/24 dev v$1
	ip -n $1 addr add 2001:db8:9::$2/64 dev v$1 nodad
	ip -n $1 addr add 10.1.0.$2/32 dev lo
	ip -n $1 addr add 2001:db8:1::$2/128 dev lo nodad
}
end a 1; end b 2`)
	return testbed.Namespace{Name: "a"}, testbed.Namespace{Name: "b"}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
