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
	// Last is how the last rotation stands or ended; zero before the first.
	Last Attempt `json:"last,omitzero"`
	// Completed is the last rotation that ended with a new key in use: its Minted
	// is what the age of the key is counted from.
	Completed Attempt `json:"completed,omitzero"`
	// Quarantined are downstream nodes that a rotation went on without. They are no
	// part of State until the key has been staged for them again.
	Quarantined []Quarantine `json:"quarantined,omitempty"`
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
	// Minted is when the key that it leads to was made: before Begun, when it went
	// on with a rotation that somebody else had left.
	Minted time.Time `json:"minted,omitzero"`
	// Urgent says that windows and freezes do not count for it.
	Urgent bool `json:"urgent,omitempty"`
	// Brief says that it drains no longer than it must, and asks no counters, and
	// that its key does not grow old before it is used: an emergency, not merely a
	// rotation for which windows do not count.
	Brief bool `json:"brief,omitempty"`
}

// Quarantine is a downstream node that was left behind because the others were
// enough (a quorum).
type Quarantine struct {
	Node   keychain.NodeID `json:"node"`
	Epoch  keychain.Epoch  `json:"epoch"` // the one that it did not confirm
	Reason string          `json:"reason"`
	Since  time.Time       `json:"since"`
}

// Entry is one phase entry of a link's history.
type Entry struct {
	Link     keychain.LinkID `json:"link"`
	Turn     keychain.Turn   `json:"turn"`
	Phase    Phase           `json:"phase"`
	From     keychain.Ref    `json:"from,omitzero"`
	To       keychain.Ref    `json:"to,omitzero"`
	At       time.Time       `json:"at"`
	Campaign string          `json:"campaign,omitempty"`
	Reason   string          `json:"reason,omitempty"`  // why it is going back, or how the attempt ended
	Outcome  Outcome         `json:"outcome,omitempty"` // of the attempt, when this entry ends it
	// Confirmed is who confirmed the phase before this one.
	Confirmed []Confirmation `json:"confirmed,omitempty"`
}

// Confirmation is one node's word in the phase that it ended.
type Confirmation struct {
	Node  keychain.NodeID `json:"node"`
	Turn  keychain.Turn   `json:"turn"`
	Key   keychain.Ref    `json:"key"`   // what it accepts or sends with
	Sends bool            `json:"sends"` // it is an upstream node's
	At    time.Time       `json:"at"`
	// Counters are those of its report: packets by epoch, where the device counts.
	Counters []keychain.Counter `json:"counters,omitempty"`
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
	// Skipped is a link that was not begun for now: its window is closed, or a site
	// of it is in maintenance.
	Skipped Outcome = "skipped"
	// Recovered is a record that was rebuilt from what its nodes hold.
	Recovered Outcome = "recovered"
)
