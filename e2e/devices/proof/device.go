package proof

import (
	"testing"

	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/keychain"
)

// Device is one kind of device on its bed, with two ends, and the ways to trouble
// it.
type Device struct {
	// Kind is how the table calls it.
	Kind string
	// Topology is the documents of its sites, nodes and links. Every link has
	// policy "proof", which the script declares.
	Topology string
	// Sites are those whose agents serve it, Links those that are rotated, all at
	// once.
	Sites []keychain.SiteID
	Links []keychain.LinkID
	// Agents starts the agents of Sites, and stop kills them. Nil: they run on this
	// machine.
	Agents func(t *testing.T) (stop func())
	// Traffic begins to send in both directions, over links that have a key. It is
	// stopped by the test's end.
	Traffic func(t *testing.T) []Direction

	// BreakInstall makes every install at a downstream node fail, whatever the
	// traffic; mend takes that back, as the operator would mend it. Says is a part
	// of the device's own words that the operator must then read.
	BreakInstall func(t *testing.T) (mend func())
	Says         string
	// Restart restarts the daemon or the machine of one end, with the keys that it
	// holds gone if they live in memory.
	Restart func(t *testing.T)
	// NewEpoch says that a restart loses sending counters, so that a link must get a
	// new epoch by itself.
	NewEpoch bool
	// Reused counts packets that went out with a key and a counter that had been
	// used before; nil where nothing is counted.
	Reused func(t *testing.T) int
	// WrongOrder makes a sender use a key that its receiver does not have. The
	// agents are stopped meanwhile, and repair it when they are back.
	WrongOrder func(t *testing.T)
	// Dropped reports whether the peers have lost each other, where that shows
	// sooner than packets are lost; nil where only packets tell.
	Dropped func(t *testing.T) bool
}

// Direction is the traffic in one direction.
type Direction struct {
	Name string
	Meter
	// Tolerated is how many packets a single change of key may cost in this
	// direction, by the nature of the protocol. It is nought but for what
	// docs/devices explains.
	Tolerated int
}

// Meter counts numbered packets, as testbed.Flow does.
type Meter interface {
	// Mark is the number of the next packet.
	Mark() uint64
	// Since counts the packets sent since mark.
	Since(mark uint64) testbed.Count
}
