//go:build devices

package devices_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/xfrm"
	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/upstream"
)

// xfrmModules are what a guest loads for XFRM.
var xfrmModules = []string{"veth", "xfrm_user", "esp4", "esp6", "drbg", "seqiv", "aes_generic", "ghash_generic", "gcm", "ctr"}

// xfrmShape is one way to lay a tunnel between the two ends.
type xfrmShape struct {
	name             string
	localA, localB   string // the ends
	netA, netB       string // what is inside; empty: the ends
	mode             string
	keyBits          string
	destA, destB     string // inner addresses to send between
	protocol         uint16 // EtherType of the ESP packets
	header, nextByte int    // of the outer IP header: its length, and where it names ESP
}

func xfrmShapes() []xfrmShape {
	v4 := func(s xfrmShape) xfrmShape {
		s.localA, s.localB, s.protocol, s.header, s.nextByte = "10.9.0.1", "10.9.0.2", syscall.ETH_P_IP, 20, 9
		return s
	}
	v6 := func(s xfrmShape) xfrmShape {
		s.localA, s.localB, s.protocol, s.header, s.nextByte = "2001:db8:9::1", "2001:db8:9::2", syscall.ETH_P_IPV6, 40, 6
		return s
	}
	return []xfrmShape{
		v4(xfrmShape{name: "IPv4 in IPv4", mode: "tunnel", keyBits: "256", netA: "10.1.0.1/32", netB: "10.1.0.2/32", destA: "10.1.0.1", destB: "10.1.0.2"}),
		v6(xfrmShape{name: "IPv6 transport", mode: "transport", keyBits: "128", destA: "2001:db8:9::1", destB: "2001:db8:9::2"}),
		v6(xfrmShape{name: "IPv4 in IPv6", mode: "tunnel", keyBits: "128", netA: "10.1.0.0/31", netB: "10.1.0.2/32", destA: "10.1.0.1", destB: "10.1.0.2"}),
		v4(xfrmShape{name: "IPv6 in IPv4", mode: "tunnel", keyBits: "256", netA: "2001:db8:1::1/128", netB: "2001:db8:1::2/128", destA: "2001:db8:1::1", destB: "2001:db8:1::2"}),
	}
}

// xfrmBed is two namespaces with a cable between them.
type xfrmBed struct {
	t     *testing.T
	shape xfrmShape
	a, b  testbed.Namespace
	far   int             // a socket that hears what arrives at b
	seen  map[string]bool // by key, and by sequence number or IV
	twice int
	// handle is a name for the namespace of a, which can be taken away.
	handle string
}

func newXfrmBed(t *testing.T, shape xfrmShape) *xfrmBed {
	b := &xfrmBed{t: t, shape: shape, seen: map[string]bool{}, handle: filepath.Join(t.TempDir(), "a")}
	b.a, b.b = testbed.Pair(t, "xfrm-")
	xfrmRoutes(func(n testbed.Namespace, args ...string) { n.IP(t, args...) }, b.a, b.b)
	xfrmMust(t, os.Symlink(b.a.Path(), b.handle))
	xfrmMust(t, b.b.In(func() error {
		vb, err := net.InterfaceByName("vb")
		if err != nil {
			return err
		}
		wire := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, shape.protocol))
		if b.far, err = syscall.Socket(syscall.AF_PACKET, syscall.SOCK_DGRAM, int(wire)); err != nil {
			return err
		}
		wait := syscall.NsecToTimeval(int64(50 * time.Millisecond))
		if err := syscall.SetsockoptTimeval(b.far, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &wait); err != nil {
			return err
		}
		return syscall.Bind(b.far, &syscall.SockaddrLinklayer{Protocol: wire, Ifindex: vb.Index})
	}))
	t.Cleanup(func() { _ = syscall.Close(b.far) })
	return b
}

// xfrmRoutes lets the inner addresses reach each other.
func xfrmRoutes(ip func(n testbed.Namespace, args ...string), a, b testbed.Namespace) {
	ip(a, "route", "add", "10.1.0.2", "via", "10.9.0.2", "src", "10.1.0.1")
	ip(b, "route", "add", "10.1.0.1", "via", "10.9.0.1", "src", "10.1.0.2")
	ip(a, "-6", "route", "add", "2001:db8:1::2", "via", "2001:db8:9::2", "src", "2001:db8:1::1")
	ip(b, "-6", "route", "add", "2001:db8:1::1", "via", "2001:db8:9::1", "src", "2001:db8:1::2")
}

// flush is a restart, as far as XFRM goes.
func (b *xfrmBed) flush() {
	for _, n := range []testbed.Namespace{b.a, b.b} {
		n.IP(b.t, "xfrm", "state", "flush")
		n.IP(b.t, "xfrm", "policy", "flush")
	}
}

// fields is a device at one end, with the link "conformance" to the other end.
func (b *xfrmBed) fields(netns string, near, far, nearNet, farNet string) map[string]any {
	return map[string]any{"netns": netns, "links": map[string]any{"conformance": b.link(near, far, nearNet, farNet)}}
}

func (b *xfrmBed) link(near, far, nearNet, farNet string) map[string]any {
	m := map[string]any{"local": near, "remote": far, "mode": b.shape.mode, "keyBits": b.shape.keyBits}
	if farNet != "" {
		m["localNet"], m["remoteNet"] = nearNet, farNet
	}
	return m
}

// device is a new device at end a.
func (b *xfrmBed) device(t *testing.T) *xfrmTroubled {
	t.Helper()
	b.flush()
	clear(b.seen)
	b.twice = 0
	s := b.shape
	fields := b.fields(b.handle, s.localA, s.localB, s.netA, s.netB)
	for i := range 8 { // to peers that are not there
		peer, inner := s.localB+fmt.Sprint(i), ""
		if s.netB != "" {
			inner = s.destB + fmt.Sprint(i) + s.netB[len(s.destB):]
		}
		fields["links"].(map[string]any)[fmt.Sprintf("link-%d", i)] = b.link(s.localA, peer, s.netA, inner)
	}
	d, err := xfrm.New("n1", fields)
	xfrmMust(t, err)
	return &xfrmTroubled{Device: d, bed: b}
}

// taker is the device at end b.
func (b *xfrmBed) taker(t *testing.T) *xfrm.Device {
	t.Helper()
	d, err := xfrm.New("n2", b.fields(b.b.Name, b.shape.localB, b.shape.localA, b.shape.netB, b.shape.netA))
	xfrmMust(t, err)
	return d
}

const xfrmBurst = 3

// burst sends a few packets from a to b.
func (b *xfrmBed) burst(t *testing.T) {
	t.Helper()
	xfrmMust(t, b.a.In(func() error {
		to := netip.AddrPortFrom(netip.MustParseAddr(b.shape.destB), 9)
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(b.shape.destA), 0)))
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		for range xfrmBurst {
			if _, err := conn.WriteToUDPAddrPort(make([]byte, 64), to); err != nil {
				return err
			}
		}
		return nil
	}))
}

// pass sends a few packets, hears them at the far end, and counts those whose key
// and sequence number, or key and IV, were heard before. The key is the one that
// the kernel names meanwhile.
func (b *xfrmBed) pass(t *testing.T, d *xfrm.Device) int {
	t.Helper()
	o, err := d.Upstream().Observe(t.Context(), "conformance")
	if err != nil || o.Sends.IsZero() {
		t.Fatalf("it sends with %v (%v)", o.Sends, err)
	}
	sent := o.Packets[o.Sends.Epoch]
	b.burst(t)
	heard := 0
	packet := make([]byte, 2048)
	for deadline := time.Now().Add(5 * time.Second); heard < xfrmBurst && time.Now().Before(deadline); {
		n, _, err := syscall.Recvfrom(b.far, packet, 0)
		if err != nil || n < b.shape.header+16 || packet[b.shape.nextByte] != syscall.IPPROTO_ESP {
			continue
		}
		heard++
		esp := packet[b.shape.header:]
		for _, what := range []string{fmt.Sprintf("%v seq %x", o.Sends, esp[4:8]), fmt.Sprintf("%v iv %x", o.Sends, esp[8:16])} {
			if b.seen[what] {
				b.twice++
			}
			b.seen[what] = true
		}
	}
	now, err := d.Upstream().Observe(t.Context(), "conformance")
	if err != nil || heard < xfrmBurst || now.Packets[o.Sends.Epoch] < sent+xfrmBurst {
		t.Errorf("%d of %d ESP packets were heard, %d were counted before and %d are now (%v)", heard, xfrmBurst, sent, now.Packets[o.Sends.Epoch], err)
	}
	return b.twice
}

// xfrmTroubled is a device whose next operation the kernel refuses.
type xfrmTroubled struct {
	*xfrm.Device
	bed  *xfrmBed
	fail atomic.Bool
}

func (d *xfrmTroubled) failNext() { d.fail.Store(true) }

// withStranger runs f while somebody else has the SPI, if it is to fail.
func (d *xfrmTroubled) withStranger(sa keychain.SA, from, to string, f func() error) error {
	if !d.fail.Swap(false) {
		return f()
	}
	n, t := d.bed.a, d.bed.t
	at := []string{"src", from, "dst", to, "proto", "esp", "spi", fmt.Sprintf("0x%x", xfrm.SPI(sa.Link, sa.Serial))}
	n.IP(t, append(append([]string{"xfrm", "state", "add"}, at...), xfrmStranger()...)...)
	defer n.IP(t, append([]string{"xfrm", "state", "delete"}, at...)...)
	return f()
}

// xfrmStranger is the rest of an SA that is not keyorch's, as ip(8) has it.
func xfrmStranger() []string {
	return []string{"reqid", "7", "mode", "tunnel", "aead", "rfc4106(gcm(aes))", "0x00112233445566778899aabbccddeeff00112233", "128"}
}

type xfrmSender struct {
	*xfrmTroubled
	xfrm.Upstream
}

func (s xfrmSender) Capabilities() keychain.Capabilities { return s.Upstream.Capabilities() }

func (s xfrmSender) Switch(ctx context.Context, sa keychain.SA, key secret.Key) error {
	return s.withStranger(sa, s.bed.shape.localA, s.bed.shape.localB, func() error { return s.Upstream.Switch(ctx, sa, key) })
}

type xfrmReceiver struct {
	*xfrmTroubled
	downstream.Device
}

func (r xfrmReceiver) Capabilities() keychain.Capabilities { return r.Device.Capabilities() }

func (r xfrmReceiver) Install(ctx context.Context, sa keychain.SA, key secret.Key) error {
	return r.withStranger(sa, r.bed.shape.localB, r.bed.shape.localA, func() error { return r.Device.Install(ctx, sa, key) })
}

func (r xfrmReceiver) Remove(ctx context.Context, sa keychain.SA) error {
	if r.fail.Swap(false) {
		xfrmMust(r.bed.t, os.Rename(r.bed.handle, r.bed.handle+"-away"))
		defer func() { xfrmMust(r.bed.t, os.Rename(r.bed.handle+"-away", r.bed.handle)) }()
	}
	return r.Device.Remove(ctx, sa)
}

var _ upstream.Resumer = xfrmSender{}

func xfrmMust(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
