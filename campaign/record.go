package campaign

import (
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// Kind is what a campaign is for.
type Kind string

// The kinds of campaigns.
const (
	Rotation   Kind = "rotate"     // asked for by an operator or a schedule
	Emergency  Kind = "compromise" // a node or a site is excluded; no waves, no windows
	Readmitted Kind = "readmit"    // a node or a site comes back
	CatchUp    Kind = "catch-up"   // links that were skipped for a maintenance
	Retry      Kind = "retry"      // links that an ended campaign left held, aborted or refused
)

// Urgent reports whether windows, freezes and maintenance do not count.
func (k Kind) Urgent() bool { return k == Emergency }

// UrgentWait is the longest Wait of an urgent campaign.
const UrgentWait = time.Minute

// Policy is p as a campaign of this kind follows it: an urgent one has all links
// in one wave, never stops for its budget, waits no longer than UrgentWait, and
// has no windows or freezes.
func (k Kind) Policy(p topology.Policy) topology.Policy {
	if !k.Urgent() {
		return p
	}
	all := topology.Amount{Percent: 100}
	p.Waves = []topology.Wave{{Name: "all", Size: all}}
	p.Budget = topology.Budget{Campaign: all, Wave: all, OnSpent: topology.PauseWhenSpent}
	p.Wait = min(p.Wait, UrgentWait)
	p.Windows, p.Freezes = nil, nil
	return p
}

// State is where a campaign stands.
type State string

// The states. A campaign that has ended may still have a tail: held links that
// their workflows finish when their nodes answer.
const (
	Running  State = "running"
	Paused   State = "paused"   // nothing more begins; what has begun goes on
	Aborting State = "aborting" // nothing more begins; what has not switched goes back
	Ended    State = "ended"
)

// Record is what is kept about one campaign.
type Record struct {
	Name      string    `json:"name"`
	Kind      Kind      `json:"kind"`
	Policy    string    `json:"policy,omitempty"` // empty: the default policy
	Selection Selection `json:"selection"`
	// By is who or what asked: "keyorch-operator.alice", "schedule nightly".
	By string `json:"by,omitempty"`
	// Asked is why, in the words of whoever asked.
	Asked string `json:"asked,omitempty"`
	// IgnoreWindows says that windows and freezes do not count for it.
	IgnoreWindows bool `json:"ignoreWindows,omitempty"`
	// Approval is the request for approvals on whose strength it runs.
	Approval string `json:"approval,omitempty"`
	// Workflow is the ID of the workflow that runs it.
	Workflow string `json:"workflow,omitempty"`
	State    State  `json:"state"`
	// Reason is why it is in that state: every stop has one.
	Reason string `json:"reason,omitempty"`
	// Since is when it came into that state.
	Since time.Time `json:"since,omitzero"`
	// Aborted says that it is Aborting, or was when it ended.
	Aborted bool `json:"aborted,omitempty"`
	// Budget and Wait are those of the policy when the campaign began.
	Budget topology.Budget `json:"budget,omitzero"`
	Wait   time.Duration   `json:"wait,omitempty"`
	// SideBySide bounds how much is under way at once: as many links as that many
	// batches of the wave have. Less than one is one.
	SideBySide int `json:"sideBySide,omitempty"`
	// Forgiven is how many failures an operator has seen and resumed after. They
	// do not spend the budget again.
	Forgiven int `json:"forgiven,omitempty"`
	// Wave is the index of the wave that runs, or ran last.
	Wave  int          `json:"wave"`
	Waves []WaveStatus `json:"waves,omitempty"`
	Tally Tally        `json:"tally"`
	Begun time.Time    `json:"begun"`
	Ended time.Time    `json:"ended,omitzero"`
	// Expected is when it will have ended, as far as past rotations tell; zero when
	// they do not.
	Expected time.Time `json:"expected,omitzero"`
	// Revision guards the record, as link.Record's does.
	Revision int64 `json:"revision,omitempty"`
}

// WaveStatus is how one wave of a campaign stands.
type WaveStatus struct {
	Name string `json:"name"`
	// Batches are those of the campaign from First on, Count of them.
	First int `json:"first"`
	Count int `json:"count"`
	// Soak is how long the campaign waits after the wave.
	Soak  time.Duration `json:"soak,omitempty"`
	Tally Tally         `json:"tally"`
	Begun time.Time     `json:"begun,omitzero"`
	Ended time.Time     `json:"ended,omitzero"`
	// Launched is how many of its batches have begun, the last one at LaunchedAt,
	// from which the campaign's Wait counts.
	Launched   int       `json:"launched,omitempty"`
	LaunchedAt time.Time `json:"launchedAt,omitzero"`
	// Promoted says that an operator cut its Wait and its Soak short.
	Promoted bool `json:"promoted,omitempty"`
	// Forgiven is as in Record, for the failures of this wave.
	Forgiven int `json:"forgiven,omitempty"`
}

// Tally counts links by how they stand in a campaign. Every link is counted once
// in Links and at most once in the others; those in none have not begun.
type Tally struct {
	Links    int `json:"links"`
	InFlight int `json:"inFlight"` // begun, and within Wait
	// Waiting is how many of those in flight have stood in one phase for so long that
	// they wait for somebody. They keep no other link from its turn.
	Waiting    int `json:"waiting,omitempty"`
	Rotated    int `json:"rotated"`
	Held       int `json:"held"` // begun, and beyond Wait
	Aborted    int `json:"aborted"`
	Refused    int `json:"refused"`    // never begun, for the reason in its Denial
	Skipped    int `json:"skipped"`    // never begun, for a maintenance: caught up later
	Superseded int `json:"superseded"` // a newer campaign has it
}

// Done is how many links of t are settled for the campaign.
func (t Tally) Done() int {
	return t.Rotated + t.Held + t.Aborted + t.Refused + t.Skipped + t.Superseded
}

// NotBegun is how many wait for their turn.
func (t Tally) NotBegun() int { return t.Links - t.Done() - t.InFlight }

// Failed is how many count against the budget.
func (t Tally) Failed() int { return t.Held + t.Aborted + t.Refused }

// Plus adds two tallies.
func (t Tally) Plus(o Tally) Tally {
	return Tally{
		Links: t.Links + o.Links, InFlight: t.InFlight + o.InFlight, Waiting: t.Waiting + o.Waiting, Rotated: t.Rotated + o.Rotated, Held: t.Held + o.Held,
		Aborted: t.Aborted + o.Aborted, Refused: t.Refused + o.Refused, Skipped: t.Skipped + o.Skipped,
		Superseded: t.Superseded + o.Superseded,
	}
}

// Batch is the links of a campaign that one workflow drives. Number counts from
// zero over the whole campaign; Wave is the index of its wave.
type Batch struct {
	Number int               `json:"number"`
	Wave   int               `json:"wave"`
	Links  []keychain.LinkID `json:"links"`
}

// Denial is a link that a campaign did not begin.
type Denial struct {
	Link   keychain.LinkID `json:"link"`
	Reason string          `json:"reason"`
	At     time.Time       `json:"at"`
	// Site is the one whose maintenance it is skipped for; empty: refused.
	Site keychain.SiteID `json:"site,omitempty"`
	// Closed says that it is skipped because its window is closed.
	Closed bool `json:"closed,omitempty"`
}

// Skips reports whether the link is skipped for now rather than refused.
func (d Denial) Skips() bool { return d.Site != "" || d.Closed }

// What a Standing's Outcome may be beside the outcomes of package link.
const (
	InFlight   = "in flight"
	NotBegun   = "not begun"
	Skipped    = "skipped"
	Superseded = "superseded"
)

// Standing is where one link of a campaign stands, for people and programs.
type Standing struct {
	Link    keychain.LinkID `json:"link"`
	Outcome string          `json:"outcome"` // a link.Outcome, or InFlight, NotBegun, Skipped, Superseded
	Phase   link.Phase      `json:"phase"`
	Epoch   keychain.Epoch  `json:"epoch"`
	Reason  string          `json:"reason,omitempty"`
}

// Failed reports whether the link counts against the budget.
func (s Standing) Failed() bool {
	switch link.Outcome(s.Outcome) {
	case link.Held, link.Aborted, link.Denied:
		return true
	}
	return false
}
