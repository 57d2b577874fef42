package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/keyorch/keyorch/keychain"
)

// Stats is what happened on one link since it was first used. A packet from one
// upstream node to one downstream node counts as one.
type Stats struct {
	Sent      uint64 `json:"sent"`
	Delivered uint64 `json:"delivered"`
	InFlight  uint64 `json:"inFlight"`
	Lost      Losses `json:"lost"`
	// Reused counts packets of counter-bound nodes that went out with a key and a
	// counter that had been used before. One is one too many.
	Reused uint64 `json:"reused"`
	// Silent counts the packets that were not sent, since the upstream node had no
	// key to send with, or was down. They are not among Sent.
	Silent uint64 `json:"silent"`
}

// Losses counts the packets that were sent and not understood, by reason.
type Losses struct {
	NoKey    uint64 `json:"noKey"`    // the node does not accept that epoch
	WrongKey uint64 `json:"wrongKey"` // it has another key under that epoch
	Down     uint64 `json:"down"`     // it was restarting
}

// Total is all losses together.
func (l Losses) Total() uint64 { return l.NoKey + l.WrongKey + l.Down }

// Add is the sum of s and o, for a table over many links.
func (s Stats) Add(o Stats) Stats {
	s.Sent += o.Sent
	s.Delivered += o.Delivered
	s.InFlight += o.InFlight
	s.Lost.NoKey += o.Lost.NoKey
	s.Lost.WrongKey += o.Lost.WrongKey
	s.Lost.Down += o.Lost.Down
	s.Reused += o.Reused
	s.Silent += o.Silent
	return s
}

// tagKey is what stands for a link key inside the network.
type tagKey [32]byte

// installed is one key as a port holds it.
type installed struct {
	ref keychain.Ref
	key tagKey
}

// sending is a key that a port sends, or has sent, with. counter is the number
// of the next packet.
type sending struct {
	installed
	counter uint64
}

// heldMax is how many sending keys a node keeps installed, the one in use
// included: as many as MACsec has association numbers.
const heldMax = 4

// port is one node's end of one link.
type port struct {
	node     *node
	accepts  []installed // sorted by epoch
	sends    *sending    // nil: nothing
	held     []*sending  // oldest first; what Resume can go back to
	received map[keychain.Epoch]uint64
	sent     map[keychain.Epoch]uint64
	// used is the first counter never sent, by key. It is the memory of somebody
	// who listens, so a restart does not clear it.
	used map[tagKey]uint64
}

// packet is in flight to one port.
type packet struct {
	to      *port
	due     time.Time
	epoch   keychain.Epoch
	counter uint64
	tag     [sha256.Size]byte
}

// cable is one link: its ports, its traffic and its counts.
type cable struct {
	id      keychain.LinkID
	latency time.Duration

	mu       sync.Mutex
	ports    map[keychain.NodeID]*port
	flow     flow
	flows    uint64   // how many there have been
	inFlight []packet // in the order in which they are due
	stats    Stats
}

// flow is the traffic of a link. A zero interval is none.
type flow struct {
	up, down []*port
	interval time.Duration
	next     time.Time
}

// port finds or makes n's end. The caller holds c.mu.
func (c *cable) port(n *node) *port {
	p := c.ports[n.id]
	if p == nil {
		p = &port{
			node: n, received: map[keychain.Epoch]uint64{}, sent: map[keychain.Epoch]uint64{},
			used: map[tagKey]uint64{},
		}
		c.ports[n.id] = p
	}
	return p
}

// advance lets everything happen that is due by now, in the order of time. The
// caller holds c.mu, and calls it before it changes or reads anything.
func (c *cable) advance(now time.Time) {
	for {
		tick := c.flow.interval > 0 && !c.flow.next.After(now)
		if len(c.inFlight) > 0 {
			if first := c.inFlight[0].due; !first.After(now) && (!tick || !first.After(c.flow.next)) {
				c.arrive(c.inFlight[0])
				c.inFlight = c.inFlight[1:]
				continue
			}
		}
		if !tick {
			return
		}
		c.tick(c.flow.next)
		c.flow.next = c.flow.next.Add(c.flow.interval)
	}
}

// tick sends one packet from each upstream port to each downstream port.
func (c *cable) tick(at time.Time) {
	for _, from := range c.flow.up {
		others := len(c.flow.down)
		if slices.Contains(c.flow.down, from) {
			others--
		}
		if from.sends == nil || from.node.down(at) {
			c.stats.Silent += uint64(others)
			continue
		}
		s := from.sends
		counter := s.counter
		s.counter++
		from.sent[s.ref.Epoch]++
		if from.node.isCounterBound() {
			if counter < from.used[s.key] {
				c.stats.Reused++
			}
			from.used[s.key] = max(from.used[s.key], counter+1)
		}
		tag := c.tag(s.key, s.ref.Epoch, counter)
		for _, to := range c.flow.down {
			if to == from {
				continue
			}
			c.stats.Sent++
			c.inFlight = append(c.inFlight, packet{
				to: to, due: at.Add(c.latency), epoch: s.ref.Epoch, counter: counter, tag: tag,
			})
		}
	}
}

// arrive decides whether a packet is understood: by the keys at this moment, and
// by its tag, never by what its sender meant.
func (c *cable) arrive(p packet) {
	if p.to.node.down(p.due) {
		c.stats.Lost.Down++
		return
	}
	i := p.to.index(p.epoch)
	switch {
	case i < 0:
		c.stats.Lost.NoKey++
	case c.tag(p.to.accepts[i].key, p.epoch, p.counter) != p.tag:
		c.stats.Lost.WrongKey++
	default:
		c.stats.Delivered++
		p.to.received[p.epoch]++
	}
}

// tag authenticates a packet. Key and header have a fixed length, so a plain
// hash will do.
func (c *cable) tag(k tagKey, e keychain.Epoch, counter uint64) [sha256.Size]byte {
	var b [len(k) + 16]byte
	copy(b[:], k[:])
	binary.BigEndian.PutUint64(b[len(k):], uint64(e))
	binary.BigEndian.PutUint64(b[len(k)+8:], counter)
	return sha256.Sum256(b[:])
}

func (p *port) index(e keychain.Epoch) int {
	return slices.IndexFunc(p.accepts, func(k installed) bool { return k.ref.Epoch == e })
}

// forgetAll is what a restart does to a port.
func (p *port) forgetAll() { p.accepts, p.sends, p.held = nil, nil, nil }
