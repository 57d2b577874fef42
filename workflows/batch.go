package workflows

import (
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// MaxBatch is the most links that one Rotate takes: what keeps its payloads far
// below Temporal's limit of 2 MiB.
const MaxBatch = 250

// Intent is what a batch is for.
type Intent string

// The intents. All adopt a rotation that was left in flight.
const (
	// ToRotate gives every link a new epoch, or finishes the rotation in flight.
	ToRotate Intent = "rotate"
	// ToMend is ToRotate for links that need an epoch, and refused for others: it
	// may be asked for twice.
	ToMend Intent = "mend"
	// ToRenew is ToRotate, but a rotation in flight is no way to its end: its key is
	// discarded where nobody sends with it yet, and another one follows.
	ToRenew Intent = "renew"
	// ToRejoin is ToRotate for links with a quarantined node that is back, and
	// refused for others: it may be asked for twice.
	ToRejoin Intent = "rejoin"
	// ToAbort takes back the rotations in flight.
	ToAbort Intent = "abort"
)

// Batch is the input of Rotate: frozen when the run starts.
type Batch struct {
	// Campaign names the operator's request; several batches may share it.
	Campaign string            `json:"campaign"`
	Intent   Intent            `json:"intent"`
	Links    []keychain.LinkID `json:"links"`
	// Reason is the operator's, for an abort, and Approval the request for approvals on
	// whose strength it takes back what has switched.
	Reason   string `json:"reason,omitempty"`
	Approval string `json:"approval,omitempty"`
	// Urgent says that windows, freezes and maintenance do not count, and that links
	// are taken over from whoever rotates them.
	Urgent bool `json:"urgent,omitempty"`
	// IgnoreWindows says that windows and freezes do not count.
	IgnoreWindows bool `json:"ignoreWindows,omitempty"`
	// Results of links that an earlier run of the same workflow has finished.
	Results []Result `json:"results,omitempty"`
	// Aborting is which links an earlier run of the same workflow was told to take
	// back, with the reason.
	Aborting []Denial `json:"aborting,omitempty"`
}

// Result is how one link stands or ended. It is what `keyorch rotate -o json`
// prints. Epoch is the one that upstream sends with.
type Result struct {
	Link    keychain.LinkID `json:"link"`
	Outcome link.Outcome    `json:"outcome"`
	Epoch   keychain.Epoch  `json:"epoch"`
	Phase   link.Phase      `json:"phase"`
	Reason  string          `json:"reason"`
	Seconds float64         `json:"seconds"`
}

// Outcome is the result of Rotate: one Result a link, in the order of the batch.
type Outcome struct {
	Campaign string   `json:"campaign"`
	Links    []Result `json:"links"`
}

// The names under which Rotate is asked.
const (
	// AbortUpdate takes links back: an AbortRequest in, an AbortAnswer out.
	AbortUpdate = "abort"
	// ProgressQuery answers with an Outcome as it stands.
	ProgressQuery = "progress"
)

// AbortRequest asks to take back the rotation of some links of the batch, or of
// all that still can be for none.
type AbortRequest struct {
	Links  []keychain.LinkID `json:"links,omitempty"`
	Reason string            `json:"reason"`
	// Staged leaves alone what has switched, or is about to: it runs to its end.
	Staged bool `json:"staged,omitempty"`
	// Approval is the request for approvals on whose strength what has switched goes
	// back.
	Approval string `json:"approval,omitempty"`
}

// AbortAnswer says which links go back, and which could not.
type AbortAnswer struct {
	Aborting []keychain.LinkID `json:"aborting"`
	Refused  []Denial          `json:"refused,omitempty"`
}

// Denial is a link that something was refused for, with the reason.
type Denial struct {
	Link   keychain.LinkID `json:"link"`
	Reason string          `json:"reason"`
}

// Begun is what became of one link in Begin: taken over (Record), denied for
// good, or to be tried again later.
type Begun struct {
	Record link.Record `json:"record"`
	Denied string      `json:"denied,omitempty"`
	// Site is the one whose maintenance it was denied for, if it was.
	Site keychain.SiteID `json:"site,omitempty"`
	// Closed says that it was denied because its window is closed.
	Closed bool   `json:"closed,omitempty"`
	Later  string `json:"later,omitempty"`
	// Renew says why the rotation in flight is not the one that was asked for.
	Renew string `json:"renew,omitempty"`
	// Upstream and Downstream are all declared nodes, where some have yet to join
	// when the link is Steady again.
	Upstream   []keychain.NodeID `json:"upstream,omitempty"`
	Downstream []keychain.NodeID `json:"downstream,omitempty"`
}

// BeginRequest is the input of Begin. Owner is the workflow.
type BeginRequest struct {
	Owner    string            `json:"owner"`
	Campaign string            `json:"campaign"`
	Intent   Intent            `json:"intent"`
	Links    []keychain.LinkID `json:"links"`
	Urgent   bool              `json:"urgent,omitempty"`

	IgnoreWindows bool   `json:"ignoreWindows,omitempty"`
	Approval      string `json:"approval,omitempty"`
}

// Watch is one link in Await: what the workflow knows of it beyond the record
// that it last wrote.
type Watch struct {
	Link     keychain.LinkID   `json:"link"`
	Revision int64             `json:"revision"`
	FromKCV  keychain.KCV      `json:"fromKCV,omitempty"`
	ToKCV    keychain.KCV      `json:"toKCV,omitempty"`
	Awaiting []keychain.NodeID `json:"awaiting,omitempty"`
	Lost     []link.Loss       `json:"lost,omitempty"`
}

// state is the workflow's state of the link: the record's, and what has been
// learned since.
func (w Watch) state(s link.State) link.State {
	s.From.KCV, s.To.KCV, s.Awaiting, s.Lost = w.FromKCV, w.ToKCV, w.Awaiting, w.Lost
	return s
}

// AwaitRequest is the input of Await. Owner is the workflow.
type AwaitRequest struct {
	Owner string  `json:"owner"`
	Links []Watch `json:"links"`
}

// News is what there is to know about one link.
type News struct {
	Link keychain.LinkID `json:"link"`
	// Gone says that another owner has the link, or a newer state.
	Gone    string            `json:"gone,omitempty"`
	Reports []keychain.Report `json:"reports,omitempty"`
	// Proceed says that the gates let the next step happen.
	Proceed bool `json:"proceed,omitempty"`
	// Upstream and Downstream are the nodes that stay, where some have left.
	Upstream   []keychain.NodeID `json:"upstream,omitempty"`
	Downstream []keychain.NodeID `json:"downstream,omitempty"`
	// Expired is why the staged key is given up.
	Expired string `json:"expired,omitempty"`
	// Missing is whom the others are enough without (a quorum).
	Missing []keychain.NodeID `json:"missing,omitempty"`
	At      time.Time         `json:"at"`
}

// Saved is what became of one record in Save.
type Saved struct {
	Revision int64 `json:"revision"`
	// Gone says why the link is no longer ours; empty when it was saved.
	Gone string `json:"gone,omitempty"`
}
