package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// The kinds of events, which are the types of Standard Webhooks too.
const (
	LinkHeld          = "link.held"
	KeyAging          = "key.aging"
	KeyOverdue        = "key.overdue"
	DriftFound        = "drift.found"
	AgentGone         = "agent.gone"
	CampaignPaused    = "campaign.paused"
	BudgetSpent       = "campaign.budget_spent"
	CampaignFinished  = "campaign.finished"
	AuditBroken       = "audit.broken"
	ApprovalWanted    = "approval.wanted"
	ApprovalReminder  = "approval.reminder"
	ApprovalEscalated = "approval.escalated"
	ApprovalExpiring  = "approval.expiring"
	ApprovalExpired   = "approval.expired"
	// Test is what `keyorch notify test` sends. No webhook selects it.
	Test = "keyorch.test"
)

// Event is something that a receiver is told.
type Event struct {
	// ID is the same for every attempt, and another for the resolution.
	ID   string `json:"id"`
	Kind string `json:"kind"`
	// Key is the same for an event and its resolution, and for as long as the condition
	// holds: receivers know by it what belongs together.
	Key string `json:"key"`
	// Subject is what it is about, for people: "link dc1-dc2".
	Subject  string            `json:"subject"`
	Severity topology.Severity `json:"severity"`
	Link     keychain.LinkID   `json:"link,omitempty"`
	Node     keychain.NodeID   `json:"node,omitempty"`
	Site     keychain.SiteID   `json:"site,omitempty"`
	Campaign string            `json:"campaign,omitempty"`
	Approval string            `json:"approval,omitempty"`
	// Words is what happened, in one sentence, and Command the command that says more.
	Words   string `json:"words"`
	Command string `json:"command,omitempty"`
	// At is when it began, and Ended when it had ended, for a resolution.
	At    time.Time `json:"at"`
	Ended time.Time `json:"ended,omitzero"`
	// Momentary says that it has no end: it is never resolved.
	Momentary bool `json:"momentary,omitempty"`
}

// Resolved reports whether the event says that a condition has ended.
func (e Event) Resolved() bool { return !e.Ended.IsZero() }

// Type is the kind, with an ending for a resolution.
func (e Event) Type() string {
	if e.Resolved() {
		return e.Kind + ".resolved"
	}
	return e.Kind
}

// named is e with the ID that it has when it was first told then.
func (e Event) named(told time.Time) Event {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", e.Key, e.Type(), told.UnixNano()))
	const long = 12 // bytes: an ID is compared, not guarded
	e.ID = "evt_" + hex.EncodeToString(sum[:long])
	return e
}

// Condition is something that holds, and is worth an event when it is due.
type Condition struct {
	Event
	// Due is from when on it is told: what ends before that is nobody's trouble. One that
	// was told is told as resolved when it does not hold at all any more.
	Due time.Time
	// Group is what many of the same kind are told together for, as in "campaign
	// nightly"; empty when each is told.
	Group string
	// Say is asked for Words when they are needed, if there are none.
	Say func() string
}

// kinds is every kind of event that a webhook may select.
func kinds() []string {
	return []string{LinkHeld, KeyAging, KeyOverdue, DriftFound, AgentGone, CampaignPaused, BudgetSpent, CampaignFinished, AuditBroken,
		ApprovalWanted, ApprovalReminder, ApprovalEscalated, ApprovalExpiring, ApprovalExpired}
}
