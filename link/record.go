package link

import (
	"time"

	"github.com/keyorch/keyorch/keychain"
)

// Record is what is kept about one link: its State, who drives it, and how the
// last rotation ended. The wrapped keys are kept beside it by the store and are
// not part of it, so that a Record may travel through a workflow.
type Record struct {
	Link  keychain.LinkID `json:"link"`
	State State           `json:"state"`
	// Owner is the workflow that drives the link; empty when nobody does.
	Owner string `json:"owner,omitempty"`
	// Last is how the last rotation ended; zero before the first.
	Last Attempt `json:"last,omitzero"`
	// Revision guards the record: a change is written only over the revision it
	// was made from. Zero means that the record does not exist yet.
	Revision int64 `json:"revision,omitempty"`
}

// Attempt is how one rotation of one link ended, or stands.
type Attempt struct {
	Campaign string         `json:"campaign"`
	Outcome  Outcome        `json:"outcome"`
	Epoch    keychain.Epoch `json:"epoch"` // the epoch that the link is on
	Reason   string         `json:"reason,omitempty"`
	Begun    time.Time      `json:"begun"`
	Ended    time.Time      `json:"ended,omitzero"`
}

// Outcome is how a rotation ended for one link.
type Outcome string

// The outcomes. Held is not an end: the rotation stays in place and goes on by
// itself when what holds it is gone.
const (
	Rotated Outcome = "rotated"
	Held    Outcome = "held"
	Aborted Outcome = "aborted"
	Denied  Outcome = "refused"
)
