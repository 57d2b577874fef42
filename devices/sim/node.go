package sim

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// DefaultAcceptMany is how many keys a node accepts at once unless NodeOptions
// says otherwise.
const DefaultAcceptMany = 4

// NodeOptions is what kind of device a node is.
type NodeOptions struct {
	// AcceptMany is how many keys of one link it accepts at once; zero is
	// DefaultAcceptMany.
	AcceptMany int `json:"acceptMany,omitempty"`
	// CounterBound counts its packets, so that a key that is put back for sending
	// shows as reused.
	CounterBound bool `json:"counterBound,omitempty"`
	// Survives keeps keys and counters over Reboot, though not over
	// RebootLosingKeys.
	Survives bool `json:"survives,omitempty"`
	// Takes is how long each operation takes.
	Takes time.Duration `json:"takes,omitempty"`
}

func (o NodeOptions) capabilities() keychain.Capabilities {
	if o.AcceptMany == 0 {
		o.AcceptMany = DefaultAcceptMany
	}
	return keychain.Capabilities{
		AcceptMany: o.AcceptMany, SwitchSeparate: true, Survives: o.Survives, CounterBound: o.CounterBound,
	}
}

// Op names an operation of a device, for the faults that hit the next one.
type Op string

// The operations. Any change is the next one that is not Observe.
const (
	OpObserve   Op = "observe"
	OpInstall   Op = "install"
	OpRemove    Op = "remove"
	OpSwitch    Op = "switch"
	OpResume    Op = "resume"
	OpAnyChange Op = "any change"
)

func (o Op) hits(name Op) bool { return o == name || o == OpAnyChange && name != OpObserve }

// Node is one simulated device, with the faults that it can be given. Faults are
// the node's own, and last over the restarts of those who operate it. It is safe
// for concurrent use.
type Node struct {
	Device
	n *node
}

// Network is the network that the node stands in.
func (n *Node) Network() *Network { return n.n.net }

// Slow makes every operation take d from now on.
func (n *Node) Slow(d time.Duration) { n.n.set(func(n *node) { n.options.Takes = d }) }

// Dead makes every operation hang until its context ends, with nothing changed.
// The node goes on sending and accepting with the keys that it has: it is its
// management that does not answer. Operations that hang when the node comes back
// fail with Unavailable.
func (n *Node) Dead(on bool) {
	n.n.set(func(n *node) {
		if n.dead && !on {
			close(n.revived)
			n.revived = make(chan struct{})
		}
		n.dead = on
	})
}

// Refuse makes every operation but Observe fail with Refused.
func (n *Node) Refuse(on bool) { n.n.set(func(n *node) { n.refuse = on }) }

// CounterBound makes the node count its packets, or not.
func (n *Node) CounterBound(on bool) { n.n.set(func(n *node) { n.options.CounterBound = on }) }

// LieKCV makes Observe report wrong KCVs, while the keys are right.
func (n *Node) LieKCV(on bool) { n.n.set(func(n *node) { n.lie = on }) }

// CorruptKey makes Install and Switch put in other bytes than those given, and
// Observe report the KCV of these.
func (n *Node) CorruptKey(on bool) { n.n.set(func(n *node) { n.corrupt = on }) }

// FailNext makes the next such operation fail with Unavailable and change
// nothing.
func (n *Node) FailNext(o Op) (clear func()) { return n.n.next(o, shotFail) }

// HangNext makes the next such operation hang until its context ends and change
// nothing.
func (n *Node) HangNext(o Op) (clear func()) { return n.n.next(o, shotHang) }

// LoseNext makes the next such operation be carried out and its answer be lost:
// Unknown.
func (n *Node) LoseNext(o Op) (clear func()) { return n.n.next(o, shotLose) }

// Reboot restarts the node. While it is down it neither sends nor accepts, and
// its operations fail with Unavailable. Its keys are lost unless they survive.
func (n *Node) Reboot(down time.Duration) { n.n.reboot(down, !n.Capabilities().Survives) }

// RebootLosingKeys restarts the node in no time, with all its keys and counters
// lost.
func (n *Node) RebootLosingKeys() { n.n.reboot(0, true) }

// node is the state behind every Node of one name.
type node struct {
	id  keychain.NodeID
	net *Network

	mu                    sync.Mutex
	options, declared     NodeOptions
	dead, refuse          bool
	lie, corrupt          bool
	shots                 []*shot
	revived               chan struct{} // closed when a dead node comes back
	downSince, downBefore time.Time
}

// shot is a fault that hits one operation.
type shot struct {
	op   Op
	kind shotKind
}

type shotKind uint8

const (
	shotNone shotKind = iota
	shotFail
	shotHang
	shotLose
)

func newNode(id keychain.NodeID, w *Network) *node {
	return &node{id: id, net: w, revived: make(chan struct{})}
}

// declare takes over options, unless they were declared before: a fault that was
// set since then stays.
func (n *node) declare(o NodeOptions) {
	n.set(func(n *node) {
		if n.declared != o {
			n.declared, n.options = o, o
		}
	})
}

func (n *node) set(f func(*node)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(n)
}

func (n *node) capabilities() keychain.Capabilities {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.options.capabilities()
}

func (n *node) isCounterBound() bool { return n.capabilities().CounterBound }

func (n *node) down(at time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !at.Before(n.downSince) && at.Before(n.downBefore)
}

func (n *node) next(o Op, kind shotKind) (clear func()) {
	s := &shot{op: o, kind: kind}
	n.set(func(n *node) { n.shots = append(n.shots, s) })
	return func() {
		n.set(func(n *node) { n.shots = slices.DeleteFunc(n.shots, func(o *shot) bool { return o == s }) })
	}
}

func (n *node) reboot(down time.Duration, losing bool) {
	now := time.Now()
	for _, link := range n.net.Links() {
		c := n.net.cable(link)
		c.mu.Lock()
		c.advance(now)
		if p := c.ports[n.id]; p != nil && losing {
			p.forgetAll()
		}
		c.mu.Unlock()
	}
	n.set(func(n *node) { n.downSince, n.downBefore = now, now.Add(down) })
}

// pass takes an operation through the node's faults, up to the point where it is
// carried out. It says whether the answer is to be lost afterwards.
func (n *node) pass(ctx context.Context, op Op) (loses bool, err error) {
	n.mu.Lock()
	takes, dead, refuse, revived := n.options.Takes, n.dead, n.refuse, n.revived
	hit := shotNone
	if i := slices.IndexFunc(n.shots, func(s *shot) bool { return s.op.hits(op) }); i >= 0 && !dead {
		hit = n.shots[i].kind
		n.shots = slices.Delete(n.shots, i, i+1)
	}
	n.mu.Unlock()
	if hit == shotHang {
		revived = nil
	}
	switch {
	case ctx.Err() != nil:
		return false, ended(ctx, op, n.id)
	case dead || hit == shotHang:
		select {
		case <-ctx.Done():
			return false, ended(ctx, op, n.id)
		case <-revived:
			return false, fault.New(fault.Unavailable, "%s on %s: it came back just now", op, n.id)
		}
	case takes > 0:
		wait := time.NewTimer(takes)
		defer wait.Stop()
		select {
		case <-ctx.Done():
			return false, ended(ctx, op, n.id)
		case <-wait.C:
		}
	}
	switch {
	case n.down(time.Now()):
		return false, fault.New(fault.Unavailable, "%s on %s: it is restarting", op, n.id)
	case refuse && op != OpObserve:
		return false, fault.New(fault.Refused, "%s on %s: it refuses", op, n.id)
	case hit == shotFail:
		return false, fault.New(fault.Unavailable, "%s on %s: it failed", op, n.id)
	}
	return hit == shotLose, nil
}

// ended is about an operation whose context ended while the node was silent.
func ended(ctx context.Context, op Op, id keychain.NodeID) error {
	kind := fault.Unknown
	if op == OpObserve {
		kind = fault.Unavailable
	}
	return fault.Wrap(kind, ctx.Err(), "%s on %s: it does not answer", op, id)
}
