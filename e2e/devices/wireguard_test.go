//go:build devices

package devices_test

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/wireguard"
	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/downstream/downstreamtest"
	"github.com/keyorch/keyorch/e2e/devices/guest"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/upstream"
	"github.com/keyorch/keyorch/upstream/upstreamtest"
)

// wgSockets is where wireguard-go has its sockets, for all namespaces of a host.
const wgSockets = "/var/run/wireguard"

// wgKey is a static key pair in base64.
type wgKey struct{ private, public string }

func newWGKey(t testing.TB) wgKey {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return wgKey{base64.StdEncoding.EncodeToString(k.Bytes()), base64.StdEncoding.EncodeToString(k.PublicKey().Bytes())}
}

// wgInterface is one interface of one end, with what its operator gives it.
type wgInterface struct {
	ns            testbed.Namespace
	name          string
	port          int
	own           wgKey
	peer          string // public key
	endpoint      string
	address       string // its own, inside of the tunnel
	allowed       string // the peer's
	dir           string // for sockets and logs
	kernel        bool
	daemon        *testbed.Process
	control       *testbed.Proxy // in front of the socket of wireguard-go; nil without
	wantsControls bool
	unfront       func()
}

// start makes the interface and gives it the operator's settings.
func (i *wgInterface) start(t testing.TB) {
	t.Helper()
	if i.kernel {
		i.ns.IP(t, "link", "add", i.name, "type", "wireguard")
	} else {
		_ = os.Remove(i.socket())
		i.daemon = i.ns.Start(t, filepath.Join(i.dir, i.name+".log"), []string{"LOG_LEVEL=error"}, "wireguard-go", "-f", i.name)
		t.Cleanup(func() { _ = os.Remove(i.socket()) }) // a killed daemon leaves it
		testbed.Until(t, 10*time.Second, "wireguard-go of "+i.name+" has its socket", func() bool {
			_, err := os.Stat(i.socket())
			return err == nil
		})
	}
	file := filepath.Join(i.dir, i.name+".key")
	if err := os.WriteFile(file, []byte(i.own.private), 0o600); err != nil {
		t.Fatal(err)
	}
	i.ns.Run(t, "wg", "set", i.name, "private-key", file, "listen-port", fmt.Sprint(i.port),
		"peer", i.peer, "endpoint", i.endpoint, "allowed-ips", i.allowed)
	i.ns.IP(t, "addr", "add", i.address, "dev", i.name)
	if i.wantsControls {
		i.front(t)
	}
}

func (i *wgInterface) socket() string { return filepath.Join(wgSockets, i.name+".sock") }

// front puts a proxy where the socket is, by a mount: the daemon ends when anything
// about the file of its socket changes.
func (i *wgInterface) front(t testing.TB) {
	t.Helper()
	behind, front := filepath.Join(i.dir, i.name+".sock"), filepath.Join(i.dir, i.name+".front")
	if err := os.WriteFile(behind, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bind := func(what, where string) {
		if err := syscall.Mount(what, where, "", syscall.MS_BIND, ""); err != nil {
			t.Fatalf("mount %s on %s: %v", what, where, err)
		}
	}
	bind(i.socket(), behind)
	i.control = testbed.NewProxy(t, "unix", front, behind, "set=1\n")
	i.control.Refusal = "errno=-5\n\n" // EIO
	bind(front, i.socket())
	i.unfront = func() {
		_ = syscall.Unmount(i.socket(), syscall.MNT_DETACH)
		_ = syscall.Unmount(behind, syscall.MNT_DETACH)
		i.unfront = nil
	}
	t.Cleanup(func() {
		if i.unfront != nil {
			i.unfront()
		}
	})
}

// restart loses all that is not the operator's, as when the machine or the daemon
// is started again.
func (i *wgInterface) restart(t testing.TB) {
	t.Helper()
	i.stop(t)
	i.start(t)
}

func (i *wgInterface) stop(t testing.TB) {
	t.Helper()
	if i.kernel {
		i.ns.IP(t, "link", "del", i.name)
		return
	}
	if i.unfront != nil {
		i.unfront()
	}
	i.daemon.Kill()
}

// wgTunnel is one link: two interfaces at each of two ends.
type wgTunnel struct{ ends [2][2]*wgInterface }

// wgBed is two namespaces with tunnels between them.
type wgBed struct {
	ns      [2]testbed.Namespace
	keys    [2]wgKey
	tunnels map[keychain.LinkID]wgTunnel
}

// newWGBed makes a bed with interfaces of the kernel or of wireguard-go. The names
// of the latter are unique on the host.
func newWGBed(t testing.TB, role string, kernel, controls bool, links ...keychain.LinkID) *wgBed {
	t.Helper()
	if !kernel {
		testbed.Need(t, true, "wireguard-go", "wireguard-tools")
	}
	b := &wgBed{tunnels: map[keychain.LinkID]wgTunnel{}}
	b.ns[0], b.ns[1] = testbed.Pair(t, role)
	b.keys = [2]wgKey{newWGKey(t), newWGKey(t)}
	dir, err := os.MkdirTemp("/run", "keyorch-wg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for n, link := range links {
		var tunnel wgTunnel
		for end := range 2 {
			for slot := range 2 {
				name := fmt.Sprintf("w%d%s%d%c", n, []string{"a", "b"}[end], os.Getpid(), 'a'+slot)
				i := &wgInterface{
					ns: b.ns[end], name: name, port: 51000 + 2*n + slot, own: b.keys[end], peer: b.keys[1-end].public,
					endpoint: fmt.Sprintf("10.9.0.%d:%d", 2-end, 51000+2*n+slot),
					address:  wgAddress(n, end), allowed: wgAddress(n, 1-end), dir: dir, kernel: kernel, wantsControls: controls && end == 0,
				}
				i.start(t)
				tunnel.ends[end][slot] = i
			}
		}
		b.tunnels[link] = tunnel
	}
	return b
}

// wgAddress is the address of an end inside of the n-th tunnel.
func wgAddress(n, end int) string { return fmt.Sprintf("10.3.%d.%d/32", n, end+1) }

// fields are the parameters of the device at one end.
func (b *wgBed) fields(end int) map[string]any {
	links := map[string]any{}
	for link, tunnel := range b.tunnels {
		e := tunnel.ends[end]
		links[string(link)] = map[string]any{
			"interfaces": []any{e[0].name, e[1].name}, "peer": e[0].peer, "routes": []any{e[0].allowed},
			"source": strings.TrimSuffix(e[0].address, "/32"), "handshakeTimeout": "7s",
		}
	}
	return map[string]any{"netns": b.ns[end].Name, "links": links}
}

func (b *wgBed) device(t testing.TB, end int) *wireguard.Device {
	t.Helper()
	d, err := wireguard.New(keychain.NodeID(fmt.Sprintf("wg-%d", end)), b.fields(end))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// each calls f for every interface of an end, link by link.
func (b *wgBed) each(end int, f func(*wgInterface)) {
	for _, tunnel := range b.tunnels {
		for _, i := range tunnel.ends[end] {
			f(i)
		}
	}
}

// reset takes away what the driver did. A slot without a note of it is as it was.
func (b *wgBed) reset(t testing.TB) {
	t.Helper()
	for end, ns := range b.ns {
		script := "ip route flush proto static\n"
		b.each(end, func(i *wgInterface) {
			if i.control != nil {
				i.control.HangNext()() // clears what was not used up
			}
			script += fmt.Sprintf("[ -e /sys/class/net/%[1]s ] || exit 1; read -r note </sys/class/net/%[1]s/ifalias && { ip link set %[1]s down alias ''; wg set %[1]s peer %[2]s persistent-keepalive 0 preshared-key /dev/null; }\n", i.name, i.peer)
		})
		ns.Run(t, "sh", "-c", script+"true")
	}
}

// suite are the links of the conformance suites.
func suite() []keychain.LinkID {
	links := []keychain.LinkID{"conformance"}
	for i := range 8 {
		links = append(links, keychain.LinkID(fmt.Sprintf("link-%d", i)))
	}
	return links
}

// staged is a sender whose peer is given every key first, as the control plane
// does: a switch waits for a handshake with it.
type staged struct {
	upstream.Device
	peer downstream.Device
}

func (s staged) Switch(ctx context.Context, sa keychain.SA, key secret.Key) error {
	if err := s.stage(sa, key); err != nil {
		return fault.Wrap(fault.Invalid, err, "stage at the peer")
	}
	return s.Device.Switch(ctx, sa, key)
}

// stage makes room at the peer, where a key of the same slot is two epochs older.
func (s staged) stage(sa keychain.SA, key secret.Key) error {
	ctx := context.Background() // whatever became of that of the switch
	seen, err := s.peer.Observe(ctx, sa.Link)
	if err != nil {
		return err
	}
	for _, r := range seen.Accepts {
		if r.Epoch == sa.Epoch && r.KCV != sa.KCV {
			return nil // the check of another key under that epoch
		}
	}
	return s.peer.Install(ctx, sa, key)
}

func TestWireguardConformance(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	wgConformance(t, false)
}

// TestWireguardKernelConformance runs in a guest, whose kernel has WireGuard.
func TestWireguardKernelConformance(t *testing.T) {
	testbed.SideBySide(t, testbed.Guests)
	if !guest.Inside() {
		guest.RunTest(t, guest.Test{Files: []string{"wireguard_test.go"}, Modules: []string{"wireguard", "veth"}})
		return
	}
	wgConformance(t, true)
}

func wgConformance(t *testing.T, kernel bool) {
	b := newWGBed(t, "wg", kernel, !kernel, suite()...)
	here := b.tunnels["conformance"].ends[0]
	reboot := func() { // the daemons live as long as the bed, not as one check
		here[0].restart(t)
		here[1].restart(t)
	}
	t.Run("upstream", func(t *testing.T) {
		upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
			b.reset(t)
			f := upstreamtest.Fixture{
				Device: staged{b.device(t, 0).Upstream(), b.device(t, 1).Downstream()},
				Reboot: reboot,
			}
			if !kernel {
				f.FailNext, f.LoseNext, f.HangNext = wgFail(here), wgLose(here), wgHang(t, here)
			}
			return f
		})
	})
	t.Run("downstream", func(t *testing.T) {
		downstreamtest.Run(t, func(t *testing.T) downstreamtest.Fixture {
			b.reset(t)
			d := b.device(t, 0)
			f := downstreamtest.Fixture{
				Device: d.Downstream(),
				Reboot: reboot,
				Send:   staged{d.Upstream(), b.device(t, 1).Downstream()}.Switch,
				Sends: func(ctx context.Context, link keychain.LinkID) (keychain.Ref, error) {
					o, err := d.Upstream().Observe(ctx, link)
					return o.Sends, err
				},
			}
			if !kernel {
				f.FailNext, f.LoseNext, f.HangNext = wgFail(here), wgLose(here), wgHang(t, here)
			}
			return f
		})
	})
	t.Run("a route that guards is not the one that is used", func(t *testing.T) { wgForeignRoutes(t, b) })
}

// wgFail, wgLose and wgHang trouble whichever slot is changed next. Only wgHang
// stops the daemons themselves, which then carry out what they were asked late.
func wgFail(slots [2]*wgInterface) func() {
	return func() {
		for _, i := range slots {
			i.control.FailNext()
		}
	}
}

func wgLose(slots [2]*wgInterface) func() {
	return func() {
		for _, i := range slots {
			i.control.LoseNext()
		}
	}
}

func wgHang(t testing.TB, slots [2]*wgInterface) func() func() {
	signal := func(s syscall.Signal) {
		for _, i := range slots {
			if err := syscall.Kill(i.daemon.PID(), s); err != nil {
				t.Error(err)
			}
		}
	}
	return func() func() {
		signal(syscall.SIGSTOP)
		return func() { signal(syscall.SIGCONT) }
	}
}

// wgForeignRoutes is about a route to the same place that an operator has beside
// that of the link, with a greater metric, to guard against the default route.
func wgForeignRoutes(t *testing.T, b *wgBed) {
	b.reset(t)
	here := b.tunnels["conformance"].ends[0]
	sender := staged{b.device(t, 0).Upstream(), b.device(t, 1).Downstream()}
	c := keychain.SA{Link: "conformance", Ref: keychain.Ref{Epoch: 1}, Serial: 1}
	bytes := make([]byte, secret.Size)
	if _, err := rand.Read(bytes); err != nil {
		t.Fatal(err)
	}
	b.ns[0].IP(t, "route", "add", "unreachable", here[0].allowed, "metric", "4000")
	if err := sender.Switch(t.Context(), c, secret.New(bytes)); err != nil {
		t.Fatal(err)
	}
	if o, err := sender.Observe(t.Context(), c.Link); err != nil || o.Sends.Epoch != 1 {
		t.Errorf("beside a guard it sends with %v (%v)", o.Sends, err)
	}
}
