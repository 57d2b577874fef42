//go:build devices

package devices_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devices/testbed"
)

// charonConfig is strongswan.conf of both ends. The tunnel's packets are protected
// in charon itself (kernel-libipsec, which stands before kernel-netlink), so that
// the kernel of the machine needs no IPsec.
const charonConfig = `
charon-systemd {
  load = random nonce openssl aes sha1 sha2 hmac kdf gcm curve25519 kernel-libipsec kernel-netlink socket-default vici updown
  retransmit_timeout = 1.0
  retransmit_tries = 3
  install_virtual_ip = no
  filelog { f { path = %[1]s/charon.log
     flush_line = yes
     default = 1 } }
  plugins {
    vici { socket = unix://%[1]s/charon.vici }
    kernel-libipsec { load = yes
      allow_peer_ts = no }
  }
}
`

// strongswanPage is what operators read. What stands there is what runs here.
const strongswanPage = "../../docs/devices/strongswan.md"

// block is the nth block of a language on a page, counted from zero.
func block(t testing.TB, page, language string, nth int) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(text), "\n```"+language+"\n")
	if len(parts) < nth+2 {
		t.Fatalf("%s has %d blocks of %s", page, len(parts)-1, language)
	}
	inside, _, _ := strings.Cut(parts[nth+1], "\n```\n")
	return inside + "\n"
}

// charonEnd is the charon of one end, in a namespace.
type charonEnd struct {
	testbed.Namespace
	Dir     string
	process *testbed.Process
}

// socket is where charon listens.
func (e *charonEnd) socket() string { return filepath.Join(e.Dir, "charon.vici") }

// start starts charon with what the operator has in swanctl.conf.
func (e *charonEnd) start(t testing.TB) {
	t.Helper()
	_ = os.Remove(e.socket())
	e.process = e.Start(t, filepath.Join(e.Dir, "charon.out"), []string{"STRONGSWAN_CONF=" + filepath.Join(e.Dir, "strongswan.conf")}, "/usr/sbin/charon-systemd")
	testbed.Until(t, 10*time.Second, "charon answers", func() bool { return e.swanctl("--stats") == nil })
	if err := e.reload(); err != nil {
		t.Fatal(err)
	}
}

// reload loads swanctl.conf, as Debian's unit does after the start.
func (e *charonEnd) reload() error {
	return e.swanctl("--load-all", "--noprompt", "--file", filepath.Join(e.Dir, "swanctl.conf"))
}

// restart kills charon, with all that it holds in memory, and starts it again.
func (e *charonEnd) restart(t testing.TB) {
	t.Helper()
	e.process.Kill()
	e.start(t)
}

func (e *charonEnd) swanctl(args ...string) error {
	out, err := exec.Command("swanctl", append(args, "--uri", "unix://"+e.socket())...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("swanctl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (e *charonEnd) log() string { return testbed.Tail(filepath.Join(e.Dir, "charon.log"), 1<<20) }

// tunnelBed is two ends without a tunnel: a is to initiate it, b to respond.
func tunnelBed(t testing.TB) (a, b *charonEnd) {
	t.Helper()
	return charonBed(t, block(t, strongswanPage, "conf", 1), block(t, strongswanPage, "conf", 0))
}

// charonBed is two ends with what their operators have in swanctl.conf.
func charonBed(t testing.TB, confA, confB string) (a, b *charonEnd) {
	t.Helper()
	testbed.Need(t, true, "charon-systemd", "strongswan-swanctl", "libcharon-extra-plugins", "libstrongswan-standard-plugins",
		"libstrongswan-extra-plugins")
	na, nb := testbed.Pair(t, "ss")
	ends := []*charonEnd{{Namespace: na}, {Namespace: nb}}
	for i, swanctl := range []string{confA, confB} {
		dir, err := os.MkdirTemp("", "keyorch-ss-") // a socket's path has at most 107 bytes
		if err != nil {
			t.Fatal(err)
		}
		ends[i].Dir = dir
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("the end of charon.log at %s:\n%s", ends[i].Name, testbed.Tail(filepath.Join(dir, "charon.log"), 3000))
			}
			_ = os.RemoveAll(dir)
		})
		for name, text := range map[string]string{"strongswan.conf": fmt.Sprintf(charonConfig, dir), "swanctl.conf": swanctl} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		ends[i].start(t)
	}
	return ends[0], ends[1]
}
