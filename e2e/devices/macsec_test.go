//go:build devices

package devices_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/macsec"
	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/downstream/downstreamtest"
	"github.com/keyorch/keyorch/e2e/devices/guest"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/secret/secrettest"
	"github.com/keyorch/keyorch/upstream"
	"github.com/keyorch/keyorch/upstream/upstreamtest"
)

// macsecModules are what a guest loads for MACsec.
var macsecModules = []string{"veth", "macsec", "aes_generic", "ghash_generic", "gcm", "ctr"}

const (
	macsecOwn  = "02:00:00:00:00:0a"
	macsecPeer = "02:00:00:00:00:0b"
	// etherMACsec is the EtherType of MACsec.
	etherMACsec = 0x88e5
)

func TestMacsecConformance(t *testing.T) {
	if !guest.Inside() {
		guest.RunTest(t, guest.Test{Files: []string{"macsec_test.go"}, Modules: macsecModules})
		return
	}
	// Only frames of the tests themselves are to be on the cable.
	for _, which := range []string{"all", "default"} {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+which+"/disable_ipv6", []byte("1"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, suite := range []string{"gcm-aes-128", "gcm-aes-xpn-256"} {
		t.Run(suite+" upstream", func(t *testing.T) {
			upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
				b := newMacsecBed(t, suite)
				d := &macsecTroubled{Device: b.device(t), bed: b}
				return upstreamtest.Fixture{
					Device: macsecSender{d, macsec.Upstream{Device: d.Device}}, FailNext: d.failNext, Reboot: b.remake,
					Reused: func() int { return b.pass(t, d.Device) },
				}
			})
		})
		t.Run(suite+" downstream", func(t *testing.T) {
			downstreamtest.Run(t, func(t *testing.T) downstreamtest.Fixture {
				b := newMacsecBed(t, suite)
				d := &macsecTroubled{Device: b.device(t), bed: b}
				return downstreamtest.Fixture{
					Device: macsecReceiver{d, d.Device.Downstream()}, FailNext: d.failNext, Reboot: b.remake,
					Send: d.Device.Upstream().Switch,
					Sends: func(ctx context.Context, link keychain.LinkID) (keychain.Ref, error) {
						o, err := d.Device.Upstream().Observe(ctx, link)
						return o.Sends, err
					},
				}
			})
		})
	}
	for _, suite := range []string{"gcm-aes-128", "gcm-aes-256", "gcm-aes-xpn-128", "gcm-aes-xpn-256"} {
		t.Run(suite+" frames", func(t *testing.T) { macsecFrames(t, suite) })
	}
	t.Run("what an operator reads", macsecWords)
}

// macsecBed is an interface for each link of the suites, all on one port whose
// cable ends in "far".
type macsecBed struct {
	t     *testing.T
	suite string
	far   int             // a socket that hears the frames of interface "conformance"
	seen  map[string]bool // by epoch and packet number
	twice int
}

func macsecLinks() []string {
	links := []string{"conformance"}
	for i := range 8 {
		links = append(links, fmt.Sprintf("link-%d", i))
	}
	return links
}

func newMacsecBed(t *testing.T, suite string) *macsecBed {
	b := &macsecBed{t: t, suite: suite, seen: map[string]bool{}}
	b.ip("link add port address " + macsecOwn + " type veth peer name far address " + macsecPeer)
	t.Cleanup(func() { b.ip("link del port") }) // and all that is on it
	b.ip("link set port up", "link set far up")
	b.make()
	far, err := net.InterfaceByName("far")
	if err == nil {
		b.far, err = macsecSocket(far.Index, etherMACsec)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(b.far) })
	return b
}

// ip runs several commands of ip(8) at once.
func (b *macsecBed) ip(commands ...string) {
	b.t.Helper()
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n"))
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("ip %q: %v\n%s", commands, err, out)
	}
}

func (b *macsecBed) make() {
	var commands []string
	for i, link := range macsecLinks() {
		commands = append(commands,
			fmt.Sprintf("link add link port %s type macsec port %d cipher %s encrypt on", link, i+1, b.suite), "link set "+link+" up")
	}
	b.ip(commands...)
}

// remake is a restart, as far as MACsec goes.
func (b *macsecBed) remake() {
	var commands []string
	for _, link := range macsecLinks() {
		commands = append(commands, "link del "+link)
	}
	b.ip(commands...)
	b.make()
}

func (b *macsecBed) device(t *testing.T) *macsec.Device {
	t.Helper()
	links := map[string]any{}
	for i, link := range macsecLinks() {
		// A kernel does not receive from one peer with two interfaces of a port.
		links[link] = map[string]any{"interface": link, "peer": macsecPeer, "peerPort": i + 1}
	}
	d, err := macsec.New("n1", map[string]any{"links": links})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func macsecSocket(index int, proto uint16) (int, error) {
	wire := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, proto))
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, int(wire))
	if err != nil {
		return 0, err
	}
	wait := syscall.NsecToTimeval(int64(50 * time.Millisecond))
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &wait); err != nil {
		return 0, err
	}
	return fd, syscall.Bind(fd, &syscall.SockaddrLinklayer{Protocol: wire, Ifindex: index})
}

// pass sends a few frames, hears them at the far end of the cable, and counts those
// whose key and packet number were heard before. The key is the one that the
// kernel names meanwhile.
func (b *macsecBed) pass(t *testing.T, d *macsec.Device) int {
	t.Helper()
	o, err := d.Upstream().Observe(t.Context(), "conformance")
	if err != nil || o.Sends.IsZero() {
		t.Fatalf("it sends with %v (%v)", o.Sends, err)
	}
	conformance, err := net.InterfaceByName("conformance")
	if err != nil {
		t.Fatal(err)
	}
	near, err := macsecSocket(conformance.Index, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(near) }()
	const frames = 3
	for range frames {
		frame := append([]byte{2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa, 0x88, 0xb5}, make([]byte, 60)...)
		if err := syscall.Sendto(near, frame, 0, &syscall.SockaddrLinklayer{Ifindex: conformance.Index}); err != nil {
			t.Fatal(err)
		}
	}
	heard := 0
	frame := make([]byte, 2048)
	for deadline := time.Now().Add(5 * time.Second); heard < frames && time.Now().Before(deadline); {
		n, _, err := syscall.Recvfrom(b.far, frame, 0)
		if err != nil || n < 28 || frame[27] != 1 { // the port of its SCI
			continue
		}
		if !strings.Contains(string(frame[28:n]), string(make([]byte, 16))) { // not in the clear
			heard++
		}
		name := fmt.Sprintf("%v %x", o.Sends, frame[16:20]) // the packet number follows TCI, AN and SL
		if b.seen[name] {
			b.twice++
		}
		b.seen[name] = true
	}
	if heard < frames {
		t.Errorf("%d of %d encrypted frames were heard", heard, frames)
	}
	return b.twice
}

// macsecTroubled is a device whose next operation the kernel refuses.
type macsecTroubled struct {
	*macsec.Device
	bed  *macsecBed
	fail atomic.Bool
}

func (d *macsecTroubled) failNext() { d.fail.Store(true) }

// inTheWay runs f while something is in the way of it, if it is to fail.
func (d *macsecTroubled) inTheWay(put, away []string, f func() error) error {
	if !d.fail.Swap(false) {
		return f()
	}
	d.bed.ip(put...)
	defer func() { d.bed.ip(away...) }()
	return f()
}

// stranger is the commands that put a key that is not keyorch's under an AN, and
// take it away.
func (b *macsecBed) stranger(side string, an keychain.AN) (put, away []string) {
	key, salt := "00112233445566778899aabbccddeeff", ""
	if strings.Contains(b.suite, "xpn") {
		key, salt = key+key, " ssci 7 salt 00112233445566778899aabb"
	}
	number := "pn"
	if salt != "" {
		number = "xpn"
	}
	at := fmt.Sprintf("conformance %s sa %d", side, an)
	return []string{fmt.Sprintf("macsec add %s %s 1%s on key ff %s", at, number, salt, key)},
		[]string{"macsec set " + at + " off", "macsec del " + at}
}

type macsecSender struct {
	*macsecTroubled
	macsec.Upstream
}

func (s macsecSender) Capabilities() keychain.Capabilities { return s.Upstream.Capabilities() }

func (s macsecSender) Switch(ctx context.Context, sa keychain.SA, key secret.Key) error {
	put, away := s.bed.stranger("tx", sa.Serial.AN())
	return s.inTheWay(put, away, func() error { return s.Upstream.Switch(ctx, sa, key) })
}

type macsecReceiver struct {
	*macsecTroubled
	downstream.Device
}

func (r macsecReceiver) Capabilities() keychain.Capabilities { return r.Device.Capabilities() }

func (r macsecReceiver) Install(ctx context.Context, sa keychain.SA, key secret.Key) error {
	put, away := r.bed.stranger("rx port 1 address "+macsecPeer, sa.Serial.AN())
	return r.inTheWay(put, away, func() error { return r.Device.Install(ctx, sa, key) })
}

func (r macsecReceiver) Remove(ctx context.Context, sa keychain.SA) error {
	put := []string{"link set conformance down", "link set conformance name elsewhere"}
	away := []string{"link set elsewhere name conformance", "link set conformance up"}
	return r.inTheWay(put, away, func() error { return r.Device.Remove(ctx, sa) })
}

// macsecFrames sends frames with one key after the other, past the end of the ANs,
// and wants each to be taken under its epoch at the far end, and nothing else to be
// taken.
func macsecFrames(t *testing.T, suite string) {
	b := newMacsecBed(t, suite)
	b.ip("link add link far taker type macsec cipher "+suite+" encrypt on", "link set taker up")
	taker, err := macsec.New("n2", map[string]any{"links": map[string]any{
		"conformance": map[string]any{"interface": "taker", "peer": macsecOwn},
	}})
	if err != nil {
		t.Fatal(err)
	}
	sender := b.device(t)
	for e := keychain.Epoch(1); e <= 6; e++ {
		c := secrettest.New(t)
		sa := keychain.SA{Link: "conformance", Ref: keychain.Ref{Epoch: e}, Serial: keychain.Serial(e)}
		if err := taker.Downstream().Install(t.Context(), sa, c.Key); err != nil {
			t.Fatal(err)
		}
		if err := sender.Upstream().Switch(t.Context(), sa, c.Key); err != nil {
			t.Fatal(err)
		}
		if n := b.pass(t, sender); n != 0 {
			t.Errorf("epoch %d: %d packet numbers were used twice", e, n)
		}
		sent, err := sender.Upstream().Observe(t.Context(), sa.Link)
		if err != nil {
			t.Fatal(err)
		}
		taken, err := taker.Downstream().Observe(t.Context(), sa.Link)
		if err != nil || taken.Packets[e] == 0 || taken.Packets[e] != sent.Packets[e] {
			t.Errorf("epoch %d: %d frames taken, %d sent (%v)", e, taken.Packets[e], sent.Packets[e], err)
		}
		if old := (keychain.SA{Link: sa.Link, Ref: keychain.Ref{Epoch: e - 1}}); e > 1 {
			if err := taker.Downstream().Remove(t.Context(), old); err != nil {
				t.Error(err)
			}
		}
	}
}

// macsecWords are the messages of a real kernel, each of which says what to do.
func macsecWords(t *testing.T) {
	b := newMacsecBed(t, "gcm-aes-128")
	c := secrettest.New(t)
	sa := keychain.SA{Link: "l1", Ref: keychain.Ref{Epoch: 1}, Serial: 1}
	for iface, want := range map[string]string{
		"nowhere": "no interface nowhere: create it with ip link add link PORT nowhere type macsec",
		"port":    "port is not a MACsec interface: ip -d link show port says what it is",
	} {
		err := macsecOn(t, iface).Install(t.Context(), sa, c.Key)
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v (%v), want %q", err, fault.Of(err), want)
		}
	}
	// Who has no rights may look, but not change.
	put, away := b.stranger("rx port 1 address "+macsecPeer, 1)
	b.ip(append([]string{"macsec add conformance rx port 1 address " + macsecPeer}, put...)...)
	err := macsecOn(t, "conformance").Install(t.Context(), sa, c.Key)
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(fmt.Sprint(err), "AN 1 is taken by a receive key that is not keyorch's (key id ff") {
		t.Errorf("%v (%v)", err, fault.Of(err))
	}
	b.ip(away...)
	if err := unprivileged(func() error { return macsecOn(t, "conformance").Install(t.Context(), sa, c.Key) }); !fault.Is(err, fault.Unavailable) ||
		!strings.Contains(fmt.Sprint(err), "operation not permitted: the agent needs CAP_NET_ADMIN") {
		t.Errorf("%v (%v)", err, fault.Of(err))
	}
	if err := macsecOn(t, "conformance").Install(t.Context(), sa, c.Key); err != nil {
		t.Error(err)
	}
	c.Absent(t, "what ip shows", b.show())
}

func macsecOn(t *testing.T, iface string) downstream.Device {
	t.Helper()
	d, err := macsec.New("n1", map[string]any{"links": map[string]any{"l1": map[string]any{"interface": iface, "peer": macsecPeer}}})
	if err != nil {
		t.Fatal(err)
	}
	return d.Downstream()
}

func (b *macsecBed) show() string {
	out, err := exec.Command("ip", "-s", "macsec", "show", "conformance").CombinedOutput()
	if err != nil {
		b.t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// unprivileged runs f as a user without rights.
func unprivileged(f func() error) error {
	if err := syscall.Seteuid(65534); err != nil {
		return err
	}
	defer func() {
		if err := syscall.Seteuid(0); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}()
	return f()
}

var _ upstream.Resumer = macsecSender{}
