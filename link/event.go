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
	keychain.Report
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

// Members declares the link's nodes. Leaving out nodes is possible at any time,
// and those that Quorum names go the same way; a node is added from Steady only,
// or while the key is being staged again, and stages the current key again.
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
