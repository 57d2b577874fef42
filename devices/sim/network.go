package sim

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/keyorch/keyorch/keychain"
)

// DefaultLatency is how long a packet is in flight unless Options says otherwise.
const DefaultLatency = 5 * time.Millisecond

// pace is how often traffic is brought up to now when nobody looks at it. Whoever
// looks at a link, or changes it, brings it up to now first.
const pace = 100 * time.Millisecond

// Options is how a Network behaves.
type Options struct {
	// Latency is how long a packet is in flight; zero is DefaultLatency.
	Latency time.Duration
}

// Network is an in-memory network. It is safe for concurrent use.
type Network struct {
	latency time.Duration

	mu     sync.Mutex
	nodes  map[keychain.NodeID]*node
	cables map[keychain.LinkID]*cable
	all    []*cable      // the same
	stop   chan struct{} // ends the pacemaker; nil while it does not run
	ended  chan struct{}
}

// NewNetwork makes a network without nodes. It runs nothing until it has traffic.
func NewNetwork(o Options) *Network {
	if o.Latency <= 0 {
		o.Latency = DefaultLatency
	}
	return &Network{latency: o.Latency, nodes: map[keychain.NodeID]*node{}, cables: map[keychain.LinkID]*cable{}}
}

// Node finds or makes a node. NodeOptions, if given, replace those that it has.
func (w *Network) Node(id keychain.NodeID, o ...NodeOptions) *Node {
	n := w.node(id, o...)
	return &Node{Device: Device{id: id, net: w, capabilities: n.capabilities}, n: n}
}

// Traffic lets each upstream node send a packet to each downstream node of a
// link once every interval, until stop is called or the network is closed. A
// link has one traffic at a time: another call replaces it.
func (w *Network) Traffic(link keychain.LinkID, upstream, downstream []keychain.NodeID, interval time.Duration) (stop func()) {
	c := w.cable(link)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.advance(now)
	f := flow{interval: interval, next: now.Add(interval)}
	for _, id := range upstream {
		f.up = append(f.up, c.port(w.node(id)))
	}
	for _, id := range downstream {
		f.down = append(f.down, c.port(w.node(id)))
	}
	c.flow = f
	c.flows++
	mine := c.flows
	w.start()
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.flows == mine {
			c.advance(time.Now())
			c.flow = flow{}
		}
	}
}

// Stats is what happened on a link up to now.
func (w *Network) Stats(link keychain.LinkID) Stats {
	c := w.cable(link)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(time.Now())
	s := c.stats
	s.InFlight = uint64(len(c.inFlight))
	return s
}

// Links lists the links that were ever used, sorted.
func (w *Network) Links() []keychain.LinkID {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.cables))
}

// Total is Stats over all links.
func (w *Network) Total() Stats {
	var sum Stats
	for _, link := range w.Links() {
		sum = sum.Add(w.Stats(link))
	}
	return sum
}

// Close stops all traffic. Packets in flight still arrive.
func (w *Network) Close() {
	for _, link := range w.Links() {
		c := w.cable(link)
		c.mu.Lock()
		c.advance(time.Now())
		c.flow = flow{}
		c.mu.Unlock()
	}
	w.mu.Lock()
	stop, ended := w.stop, w.ended
	w.stop, w.ended = nil, nil
	w.mu.Unlock()
	if stop != nil {
		close(stop)
		<-ended
	}
}

// start runs the pacemaker, one for the whole network: without it a link that
// nobody looks at would have to catch up on hours of packets at once.
func (w *Network) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stop != nil {
		return
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	w.stop, w.ended = stop, ended
	go func() {
		defer close(ended)
		beat := time.NewTicker(pace)
		defer beat.Stop()
		for {
			select {
			case <-stop:
				return
			case <-beat.C:
				w.advance()
			}
		}
	}()
}

func (w *Network) advance() {
	w.mu.Lock()
	cables := w.all[:len(w.all):len(w.all)]
	w.mu.Unlock()
	for _, c := range cables {
		c.mu.Lock()
		c.advance(time.Now())
		c.mu.Unlock()
	}
}

func (w *Network) cable(link keychain.LinkID) *cable {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.cables[link]
	if c == nil {
		c = &cable{id: link, latency: w.latency, ports: map[keychain.NodeID]*port{}}
		w.cables[link] = c
		w.all = append(w.all, c)
	}
	return c
}

func (w *Network) node(id keychain.NodeID, o ...NodeOptions) *node {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.nodes[id]
	if n == nil {
		n = newNode(id, w)
		w.nodes[id] = n
	}
	for _, o := range o {
		n.declare(o)
	}
	return n
}
