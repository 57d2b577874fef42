//go:build devices

package devices_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/netconf/client"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
)

// netconfd configures nothing but itself. So the forwarding plane of its router is
// in this test: it does with the running configuration what RFC 8177 says that a
// router does, and knows nothing of keyorch. It asks the server anew for every
// packet that it signs or judges, so that no packet is helped by what was read
// before.

// planeKey is a key of a key chain, as the plane needs it.
type planeKey struct {
	ID        uint64    `xml:"key-id"`
	Send      planeSpan `xml:"lifetime>send-lifetime"`
	Accept    planeSpan `xml:"lifetime>accept-lifetime"`
	Algorithm string    `xml:"crypto-algorithm"`
	Text      string    `xml:"key-string>keystring"`
}

type planeSpan struct {
	Always *struct{}  `xml:"always"`
	Start  *time.Time `xml:"start-date-time"`
	End    *time.Time `xml:"end-date-time"`
	NoEnd  *struct{}  `xml:"no-end-time"`
}

// valid takes nothing for granted: without a lifetime a key is of no use here.
func (s planeSpan) valid() bool {
	now := time.Now()
	return s.Always != nil || s.Start != nil && !now.Before(*s.Start) && (s.NoEnd != nil || s.End != nil && now.Before(*s.End))
}

// plane is the forwarding plane of one server: what it last read is what it goes on
// with while the server restarts, as a router's does.
type plane struct {
	*netconfServer
	chain   string
	session *client.Session
	keys    []planeKey
}

// current is the key chain as it is running now.
func (p *plane) current(ctx context.Context, t testing.TB) []planeKey {
	var data struct {
		Keys []planeKey `xml:"key-chains>key-chain>key"`
	}
	filter := keyChains("<key-chain><name>" + p.chain + "</name></key-chain>")
	if p.session == nil || p.session.Dead() {
		soon, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		session, err := client.Dial(soon, p.target(t))
		if err != nil {
			return p.keys
		}
		p.session = session
	}
	if err := p.session.Get(ctx, client.Running, filter, &data); err == nil {
		p.keys = data.Keys
	}
	return p.keys
}

// stream is signed traffic in one direction. It is a proof.Meter.
type stream struct {
	to      *net.UDPConn
	mu      sync.Mutex
	next    uint64
	arrived map[uint64]bool
}

// underWay is how long a packet may take before it counts as lost.
const underWay = time.Second

// newStream sends numbered packets from the plane of one server to that of another
// until the test ends. Each needs a key that may be sent with now, and one with the
// same key-id and text that is accepted now.
func newStream(t *testing.T, from, to *netconfServer, chain string, every time.Duration) *stream {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	out, err := net.DialUDP("udp", nil, conn.LocalAddr().(*net.UDPAddr))
	must(t, err)
	s := &stream{to: conn, arrived: map[uint64]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	sender, receiver := &plane{netconfServer: from, chain: chain}, &plane{netconfServer: to, chain: chain}
	var both sync.WaitGroup
	both.Go(func() { s.send(ctx, t, out, sender, every) })
	both.Go(func() { s.receive(ctx, t, receiver) })
	t.Cleanup(func() {
		cancel()
		_ = conn.Close()
		both.Wait()
		_ = out.Close()
		for _, p := range []*plane{sender, receiver} {
			if p.session != nil {
				p.session.Close()
			}
		}
	})
	return s
}

func (s *stream) send(ctx context.Context, t testing.TB, out *net.UDPConn, p *plane, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		number := s.next
		s.next++
		s.mu.Unlock()
		var use *planeKey
		for _, k := range p.current(ctx, t) {
			if k.Send.valid() {
				if use != nil {
					use = nil // RFC 8177 does not say which: no packet
					break
				}
				use = &k
			}
		}
		if use == nil {
			continue // it was due, so it is lost
		}
		packet := binary.BigEndian.AppendUint64(nil, number)
		packet = binary.BigEndian.AppendUint64(packet, use.ID)
		_, _ = out.Write(append(packet, use.sum(packet)...))
	}
}

func (k planeKey) sum(packet []byte) []byte {
	h := hmac.New(sha256.New, []byte(k.Text))
	h.Write(packet)
	return h.Sum(nil)
}

func (s *stream) receive(ctx context.Context, t testing.TB, p *plane) {
	packet := make([]byte, 256)
	for {
		n, err := s.to.Read(packet)
		if err != nil {
			return
		}
		if n != 16+sha256.Size {
			continue
		}
		for _, k := range p.current(ctx, t) {
			if k.ID == binary.BigEndian.Uint64(packet[8:]) && k.Accept.valid() && hmac.Equal(k.sum(packet[:16]), packet[16:n]) {
				s.mu.Lock()
				s.arrived[binary.BigEndian.Uint64(packet)] = true
				s.mu.Unlock()
			}
		}
	}
}

// Mark implements proof.Meter.
func (s *stream) Mark() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next
}

// Since implements proof.Meter.
func (s *stream) Since(mark uint64) testbed.Count {
	end := s.Mark()
	time.Sleep(underWay)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := testbed.Count{Sent: int(end - mark)}
	for n := mark; n < end; n++ {
		if !s.arrived[n] {
			c.Lost++
		}
	}
	return c
}

// TestNetconfPlane is about the plane itself: it loses what RFC 8177 does not let
// through, and only that.
func TestNetconfPlane(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	a, b := newNetconfServer(t), newNetconfServer(t)
	chain := func(keys string) string { return "<key-chain><name>c</name>" + keys + "</key-chain>" }
	a.edit(t, chain(netconfKey(1, true, true)+netconfKey(2, false, true)))
	b.edit(t, chain(netconfKey(1, false, true)))
	s := newStream(t, a, b, "c", 20*time.Millisecond)
	share := func() string {
		c := s.Since(func() uint64 { m := s.Mark(); time.Sleep(time.Second); return m }())
		switch {
		case c.Sent > 0 && c.Lost == 0:
			return "none lost"
		case c.Sent > 0 && c.Lost == c.Sent:
			return "all lost"
		}
		return fmt.Sprintf("%d of %d lost", c.Lost, c.Sent)
	}
	wants := func(what, want string) {
		t.Helper()
		if got := share(); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	testbed.Until(t, 20*time.Second, "both ends have their sessions", func() bool { return share() == "none lost" })
	b.edit(t, chain(netconfKey(1, false, false)))
	wants("it is not accepted", "all lost")
	b.edit(t, chain(netconfKey(1, false, true)))
	a.edit(t, chain(netconfKey(2, true, true)))
	wants("two keys may be sent with", "all lost")
	a.edit(t, chain(netconfKey(1, false, true)))
	wants("the receiver does not have the key", "all lost")
	b.edit(t, chain(netconfKey(2, false, true)))
	wants("it has it", "none lost")
}
