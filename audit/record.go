package audit

import (
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// Kind is what a record is about.
type Kind string

// The kinds. Those marked with * the store writes by itself, with the change.
const (
	Operator    Kind = "operator"    // a person used a verb
	Phase       Kind = "phase"       // * a link entered a Turn, or its nodes changed
	Campaign    Kind = "campaign"    // * a campaign came into another state
	Denial      Kind = "denial"      // * a campaign did not begin a link
	Declaration Kind = "declaration" // * something was declared, or declared otherwise
	Standing    Kind = "standing"    // * a node or a site was excluded or readmitted, a maintenance began or ended
	Enrolment   Kind = "enrolment"   // * an identity was enrolled or revoked
	Refusal     Kind = "refusal"     // something was asked for and refused
	Receipt     Kind = "receipt"     // an agent destroyed a key
	Repair      Kind = "repair"      // an agent or a worker put something right
	Approval    Kind = "approval"    // somebody approved or rejected, or a request began or expired
	Recovery    Kind = "recovery"    // records were rebuilt or restored
	Trail       Kind = "trail"       // about the chain itself: a break, an entry that cannot be read
)

// Kinds lists them all.
func Kinds() []Kind {
	return []Kind{Operator, Phase, Campaign, Denial, Declaration, Standing, Enrolment, Refusal, Receipt, Repair, Approval, Recovery, Trail}
}

// Record is one thing that happened. Only Kind is always there.
type Record struct {
	Kind Kind `json:"kind"`
	// At is when it happened, by the clock of who wrote it; the time of writing when it
	// is left out.
	At time.Time `json:"at,omitzero"`
	// By is who wrote it: the common name of the certificate that etcd saw. It is put
	// in when the record enters the chain, and what a writer puts here is overwritten.
	By string `json:"by,omitempty"`
	// Revision is etcd's revision at which it was written, put in like By. Records of one
	// transaction have one.
	Revision int64 `json:"revision,omitempty"`

	// Verb is what was done, in one word or a few: "rotate", "exclude", "Staging".
	Verb     string          `json:"verb,omitempty"`
	Link     keychain.LinkID `json:"link,omitempty"`
	Node     keychain.NodeID `json:"node,omitempty"`
	Site     keychain.SiteID `json:"site,omitempty"`
	Campaign string          `json:"campaign,omitempty"`
	Turn     keychain.Turn   `json:"turn,omitempty"`
	Epoch    keychain.Epoch  `json:"epoch,omitempty"`
	KCV      keychain.KCV    `json:"kcv,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Outcome  string          `json:"outcome,omitempty"`
	// Approval is the ID of the request for approvals that stands behind it.
	Approval string `json:"approval,omitempty"`
	// Entered is what a Phase record says beside Link, Turn, Epoch and KCV.
	Entered *Entered `json:"entered,omitempty"`
	// Details are what else there is to say, each in a line. Never a key.
	Details map[string]string `json:"details,omitempty"`
}

// Entered is a link's entry into a phase.
type Entered struct {
	From keychain.Ref `json:"from,omitzero"`
	To   keychain.Ref `json:"to,omitzero"`
	// Confirmed is who confirmed the phase before this one.
	Confirmed []link.Confirmation `json:"confirmed,omitempty"`
	// Holders are all nodes of the link that have or get its keys from now on. They are
	// said on entering Staging, and when they change.
	Holders []Holder `json:"holders,omitempty"`
}

// Holder is a node that has or gets a link's keys.
type Holder struct {
	Node keychain.NodeID `json:"node"`
	Site keychain.SiteID `json:"site"`
}

// NodesChanged is the Verb of a Phase record of a link whose nodes changed within a Turn.
const NodesChanged = "nodes changed"

// The Verbs of Standing and Enrolment records.
const (
	Excluded         = "excluded"
	ReadmittedAgain  = "readmitted"
	MaintenanceBegan = "maintenance began"
	MaintenanceEnded = "maintenance ended"
	Enrolled         = "enrolled"
	Revoked          = "revoked"
)

// The Verbs of Trail records.
const (
	BreakFound      = "break found"      // the first of a new segment
	UnreadableEntry = "unreadable entry" // of an inbox
	Archived        = "archived"         // records were taken out into an archive
)

// OfEntry is the Phase record of an entry of a link's history. Holders are left out
// where they have not changed.
func OfEntry(e link.Entry, holders []Holder) Record {
	return Record{
		Kind: Phase, At: e.At, Verb: e.Phase.String(), Link: e.Link, Campaign: e.Campaign, Turn: e.Turn,
		Epoch: e.To.Epoch, KCV: e.To.KCV, Reason: e.Reason, Outcome: string(e.Outcome),
		Entered: &Entered{From: e.From, To: e.To, Confirmed: e.Confirmed, Holders: holders},
	}
}

// MaxRecord is the longest record, in bytes of JSON: that of a segment of thousands of
// nodes fits.
const MaxRecord = 1 << 20

// MaxTogether is how many records one entry of an inbox may hold.
const MaxTogether = 4096

// Complete gives r as it is written: with a time. Faults: Invalid for a kind that
// there is not.
func (r Record) Complete(now time.Time) (Record, error) {
	if !known(r.Kind) {
		return Record{}, fault.New(fault.Invalid, "audit: %q is no kind of record", string(r.Kind))
	}
	if r.At.IsZero() {
		r.At = now
	}
	r.At, r.By, r.Revision = r.At.UTC(), "", 0
	return r, nil
}

func known(k Kind) bool {
	for _, one := range Kinds() {
		if one == k {
			return true
		}
	}
	return false
}
