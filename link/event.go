package link

import (
	"time"

	"github.com/keyorch/keyorch/keychain"
)

// Event is something that happened to a link. Step is the only one to look into
// it. At is when it happened; it ends up in State.Since.
type Event interface{ event() }

// Rotate starts a rotation to a new key. Epoch must be above State.Highest.
type Rotate struct {
	Epoch keychain.Epoch
	At    time.Time
}

// Reported is what a node says of itself, as read back from its device.
type Reported struct {
	Report
	At time.Time
}

// Cleared says that the gates let upstream switch in this Turn.
type Cleared struct {
	Turn keychain.Turn
	At   time.Time
}

// Drained says that there is evidence, gathered in this Turn, that nothing keyed
// with From is in flight any more.
type Drained struct {
	Turn keychain.Turn
	At   time.Time
}

// Abort asks to go back to the key that the rotation came from.
type Abort struct {
	Reason string
	At     time.Time
}

// Members declares the link's nodes. Leaving out nodes is possible at any time;
// a node is added from Steady only, or while the key is being staged again, and
// stages the current key again.
type Members struct {
	Upstream, Downstream []keychain.NodeID
	At                   time.Time
}

func (Rotate) event()   {}
func (Reported) event() {}
func (Cleared) event()  {}
func (Drained) event()  {}
func (Abort) event()    {}
func (Members) event()  {}

// Report is the last word of one node about one link: the Turn it obeyed, and
// what its device then said. An upstream node has no Accepts, a downstream node
// no Sends; a node on both sides has both.
type Report struct {
	Node    keychain.NodeID  `json:"node"`
	Turn    keychain.Turn    `json:"turn"`
	Accepts []keychain.Ref   `json:"accepts,omitempty"`
	Sends   keychain.Ref     `json:"sends,omitzero"`
	Lost    []keychain.Epoch `json:"lost,omitempty"`
	// Fault is the kind of what went wrong (package fault) and Message the
	// device's own words; both are empty when the order was obeyed in full.
	Fault   string    `json:"fault,omitempty"`
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since,omitzero"` // when this fault began
	At      time.Time `json:"at,omitzero"`
	// Counters counts packets by epoch, where the device can.
	Counters []Counter `json:"counters,omitempty"`
}

// Counter is how many packets a device has seen under one epoch: sent by an
// upstream device, accepted by a downstream one.
type Counter struct {
	Epoch   keychain.Epoch `json:"epoch"`
	Packets uint64         `json:"packets"`
}

// accepted is what the node says it accepts under epoch e, or zero.
func (r Report) accepted(e keychain.Epoch) keychain.Ref {
	for _, a := range r.Accepts {
		if a.Epoch == e && e != 0 {
			return a
		}
	}
	return keychain.Ref{}
}
