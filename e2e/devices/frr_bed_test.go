//go:build devices

package devices_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devices/testbed"
)

// frrNode is one FRR, zebra and ospf6d, in a namespace. Its pathspace is the name
// of the namespace.
type frrNode struct {
	t             testing.TB
	at            testbed.Namespace
	dir           string // for logs
	zebra, ospf6d *testbed.Process
}

// newFRR starts an FRR whose frr.conf is conf.
func newFRR(t testing.TB, at testbed.Namespace, conf string) *frrNode {
	t.Helper()
	testbed.Need(t, true, "frr")
	n := &frrNode{t: t, at: at, dir: t.TempDir()}
	for _, dir := range []string{n.etc(), n.run()} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
	}
	for _, file := range []struct{ path, text string }{
		{filepath.Join(n.etc(), "vtysh.conf"), "service integrated-vtysh-config\n"},
		{n.conf(), conf},
	} {
		if err := os.WriteFile(file.path, []byte(file.text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	n.own(n.etc(), n.run(), n.conf())
	n.zebra = n.daemon("zebra")
	n.start()
	return n
}

func (n *frrNode) etc() string    { return filepath.Join("/etc/frr", n.at.Name) }
func (n *frrNode) run() string    { return filepath.Join("/var/run/frr", n.at.Name) }
func (n *frrNode) conf() string   { return filepath.Join(n.etc(), "frr.conf") }
func (n *frrNode) socket() string { return filepath.Join(n.run(), "ospf6d.vty") }

// own gives paths to the user that FRR runs as.
func (n *frrNode) own(paths ...string) {
	n.t.Helper()
	frr, err := user.Lookup("frr")
	if err != nil {
		n.t.Fatal(err)
	}
	uid, _ := strconv.Atoi(frr.Uid)
	gid, _ := strconv.Atoi(frr.Gid)
	for _, p := range paths {
		if err := os.Chown(p, uid, gid); err != nil {
			n.t.Fatal(err)
		}
	}
}

func (n *frrNode) daemon(name string) *testbed.Process {
	n.t.Helper()
	p := n.at.Start(n.t, filepath.Join(n.dir, name+".log"), nil,
		"/usr/lib/frr/"+name, "-N", n.at.Name, "-i", filepath.Join(n.run(), name+".pid"), "--log", "stdout")
	testbed.Until(n.t, 10*time.Second, name+" answers", func() bool {
		return exec.Command("vtysh", "-N", n.at.Name, "-d", name, "-c", "show version").Run() == nil
	})
	return p
}

// start starts ospf6d, and loads the saved configuration as FRR's own scripts do.
func (n *frrNode) start() {
	n.t.Helper()
	n.ospf6d = n.daemon("ospf6d")
	n.vtysh("-b")
}

// restart kills ospf6d, so that all that it has is in the saved configuration.
func (n *frrNode) restart() {
	n.t.Helper()
	n.ospf6d.Kill()
	n.start()
}

// vtysh runs vtysh as the operator.
func (n *frrNode) vtysh(args ...string) string {
	n.t.Helper()
	return testbed.Namespace{}.Run(n.t, append([]string{"vtysh", "-N", n.at.Name}, args...)...)
}

// configure gives lines to FRR, as the operator types them.
func (n *frrNode) configure(lines ...string) {
	n.t.Helper()
	file := filepath.Join(n.t.TempDir(), "lines")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		n.t.Fatal(err)
	}
	n.vtysh("-f", file)
}

// keys are the numbers in a key chain.
func (n *frrNode) keys(chain string) []string {
	n.t.Helper()
	var ids []string
	in := false
	for line := range strings.Lines(n.vtysh("-d", "ospf6d", "-c", "show running-config")) {
		words := strings.Fields(line)
		switch {
		case !strings.HasPrefix(line, " "):
			in = strings.TrimSpace(line) == "key chain "+chain
		case in && len(words) == 2 && words[0] == "key":
			ids = append(ids, words[1])
		}
	}
	return ids
}

// full reports whether this node has a neighbour, and all of its routes.
func (n *frrNode) full() bool {
	out, err := exec.Command("vtysh", "-N", n.at.Name, "-c", "show ipv6 ospf6 neighbor").Output()
	return err == nil && strings.Contains(string(out), "Full/")
}

// troubledVtysh is a vtysh that troubles the next change: "fail" has FRR out of
// reach meanwhile, "lose" loses what FRR says to it and to the next question, and
// "hang" stops the daemon.
func (n *frrNode) troubledVtysh() (program string, next func(trouble string)) {
	n.t.Helper()
	program, file := filepath.Join(n.dir, "vtysh"), filepath.Join(n.dir, "next")
	script := fmt.Sprintf(`#!/bin/sh
next=%[1]s socket=%[2]s
case " $* " in
*" -f "*)
	trouble=$(cat $next 2>/dev/null)
	rm -f $next
	case $trouble in
	fail)
		mv $socket $socket.away
		vtysh "$@"
		code=$?
		mv $socket.away $socket
		exit $code ;;
	lose)
		vtysh "$@"
		: >$next.deaf
		exit 1 ;;
	hang)
		kill -STOP $(cat %[3]s) ;;
	esac ;;
esac
if [ -e $next.deaf ]; then
	rm $next.deaf
	echo 'Exiting: failed to connect to any daemons.' >&2
	exit 1
fi
exec vtysh "$@"
`, file, n.socket(), filepath.Join(n.run(), "ospf6d.pid"))
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		n.t.Fatal(err)
	}
	return program, func(trouble string) {
		if err := os.WriteFile(file, []byte(trouble), 0o600); err != nil {
			n.t.Fatal(err)
		}
	}
}

// goOn takes back what "hang" did.
func (n *frrNode) goOn() {
	_ = os.Remove(filepath.Join(n.dir, "next"))
	pid, err := os.ReadFile(filepath.Join(n.run(), "ospf6d.pid"))
	if id, bad := strconv.Atoi(strings.TrimSpace(string(pid))); err == nil && bad == nil {
		_ = syscall.Kill(id, syscall.SIGCONT)
	}
}
