package testbed

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Flow is traffic in one direction: numbered UDP packets from one namespace to
// another. What arrives is counted by its number where it arrives.
type Flow struct {
	from, to net.PacketConn
	target   net.Addr
	stop     chan struct{}
	wg       sync.WaitGroup

	mu         sync.Mutex
	next       uint64          // the number of the next packet
	arrived    map[uint64]bool // by number
	duplicates int
}

// FlowSpec says where the packets go and how often: one every Every.
type FlowSpec struct {
	From, To               Namespace
	FromAddress, ToAddress netip.Addr
	Every                  time.Duration
}

// Count is what became of a number of packets.
type Count struct {
	Sent       int `json:"sent"`
	Lost       int `json:"lost"`
	Duplicates int `json:"duplicates"`
}

// Plus adds two counts.
func (c Count) Plus(o Count) Count {
	return Count{c.Sent + o.Sent, c.Lost + o.Lost, c.Duplicates + o.Duplicates}
}

// settle is how long a packet may be under way before it counts as lost.
const settle = time.Second

// StartFlow begins to send. A packet that the sender's kernel refuses, for lack of
// a route say, was sent and is lost.
func StartFlow(s FlowSpec) (*Flow, error) {
	f := &Flow{stop: make(chan struct{}), arrived: make(map[uint64]bool)}
	listen := func(at netip.Addr) (conn net.PacketConn, err error) {
		var lc net.ListenConfig
		return lc.ListenPacket(context.Background(), "udp", netip.AddrPortFrom(at, 0).String())
	}
	err := s.To.In(func() (err error) { f.to, err = listen(s.ToAddress); return err })
	if err != nil {
		return nil, fmt.Errorf("receive at %v: %w", s.ToAddress, err)
	}
	if err := s.From.In(func() (err error) { f.from, err = listen(s.FromAddress); return err }); err != nil {
		_ = f.to.Close()
		return nil, fmt.Errorf("send from %v: %w", s.FromAddress, err)
	}
	f.target = f.to.LocalAddr()
	f.wg.Go(f.receive)
	f.wg.Go(func() { f.send(s.Every) })
	return f, nil
}

func (f *Flow) send(every time.Duration) {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	packet := make([]byte, 64)
	for {
		select {
		case <-f.stop:
			return
		case <-ticks.C:
		}
		f.mu.Lock()
		binary.BigEndian.PutUint64(packet, f.next)
		f.next++
		f.mu.Unlock()
		_, _ = f.from.WriteTo(packet, f.target)
	}
}

func (f *Flow) receive() {
	packet := make([]byte, 128)
	for {
		n, _, err := f.to.ReadFrom(packet)
		if err != nil {
			return
		}
		if n < 8 {
			continue
		}
		number := binary.BigEndian.Uint64(packet)
		f.mu.Lock()
		if f.arrived[number] {
			f.duplicates++
		}
		f.arrived[number] = true
		f.mu.Unlock()
	}
}

// Mark is the number of the next packet, to count from.
func (f *Flow) Mark() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.next
}

// Arrived is how many different packets have arrived so far.
func (f *Flow) Arrived() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.arrived)
}

// Since counts the packets sent since mark. It first gives those under way the
// time to arrive; packets sent meanwhile are not counted.
func (f *Flow) Since(mark uint64) Count {
	end := f.Mark()
	time.Sleep(settle)
	f.mu.Lock()
	defer f.mu.Unlock()
	c := Count{Sent: int(end - mark), Duplicates: f.duplicates}
	for n := mark; n < end; n++ {
		if !f.arrived[n] {
			c.Lost++
		}
	}
	return c
}

// Stop ends the traffic and counts all of it.
func (f *Flow) Stop() Count {
	close(f.stop)
	c := f.Since(0)
	_ = f.from.Close()
	_ = f.to.Close()
	f.wg.Wait()
	return c
}
