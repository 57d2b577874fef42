//go:build devices

package devices_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/macsec"
	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/upstream"
)

// macsecModules are what a guest loads for MACsec.
var macsecModules = []string{"veth", "macsec", "aes_generic", "ghash_generic", "gcm", "ctr"}

const (
	macsecOwn  = "02:00:00:00:00:0a"
	macsecPeer = "02:00:00:00:00:0b"
	// etherAll is every EtherType: a socket of it hears frames before MACsec takes
	// them, where a port has an interface.
	etherAll = 3
)

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
		b.far, err = macsecSocket(far.Index, etherAll)
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
		if err != nil || n < 28 || string(frame[12:14]) != "\x88\xe5" || frame[27] != 1 { // MACsec, and the port of its SCI
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

// macsecSender and macsecReceiver are both roles of it.
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

func (b *macsecBed) show() string {
	out, err := exec.Command("ip", "-s", "macsec", "show", "conformance").CombinedOutput()
	if err != nil {
		b.t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

var _ upstream.Resumer = macsecSender{} // as the suite looks for it
