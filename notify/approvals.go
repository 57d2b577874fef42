package notify

import (
	"fmt"
	"time"

	"github.com/keyorch/keyorch/topology"
)

// ApprovalFact is how one request for approval stands.
type ApprovalFact struct {
	ID       string
	Words    string // what is asked for, in one sentence
	Campaign string // that waits for it; may be empty
	Asked    time.Time
	Deadline time.Time
	// Reminded and Escalated are the reminders and escalations that have come, each with
	// when and to whom.
	Reminded, Escalated []ApprovalCall
	// Open says that approvals are missing still. Expired is when the deadline passed
	// without them.
	Open    bool
	Expired time.Time
}

// ApprovalCall is a call to somebody to approve.
type ApprovalCall struct {
	At time.Time
	To string
}

// expiringBefore is how long before its deadline a request is told as expiring, and
// expiringShare the share of a short one.
const (
	expiringBefore = 30 * time.Minute
	expiringShare  = 4
)

// ApprovalConditions is what there is to tell of requests. That one is wanted or expiring
// is over when it was decided; reminders, escalations and the end of time are moments.
func ApprovalConditions(facts []ApprovalFact) []Condition {
	var out []Condition
	for _, f := range facts {
		about := func(kind string, s topology.Severity, at time.Time, words string) *Condition {
			out = append(out, Condition{Event: Event{Kind: kind, Key: kind + "/" + f.ID, Subject: "approval " + f.ID, Severity: s,
				Approval: f.ID, Campaign: f.Campaign, At: at, Words: words, Command: "keyorch approvals show " + f.ID}, Due: at})
			return &out[len(out)-1]
		}
		if !f.Expired.IsZero() {
			about(ApprovalExpired, topology.Warning, f.Expired, fmt.Sprintf("the request %s has expired, and nothing was changed: %s", f.ID, f.Words)).Momentary = true
		}
		for i, c := range f.Reminded {
			r := about(ApprovalReminder, topology.Warning, c.At, fmt.Sprintf("the request %s still waits for %s, until %s: %s", f.ID, c.To, stamp(f.Deadline), f.Words))
			r.Momentary, r.Key = true, fmt.Sprintf("%s/%d", r.Key, i+1)
		}
		for i, c := range f.Escalated {
			r := about(ApprovalEscalated, topology.Error, c.At, fmt.Sprintf("the request %s now asks %s, until %s: %s", f.ID, c.To, stamp(f.Deadline), f.Words))
			r.Momentary, r.Key = true, fmt.Sprintf("%s/%d", r.Key, i+1)
		}
		if !f.Open {
			continue
		}
		about(ApprovalWanted, topology.Warning, f.Asked, fmt.Sprintf("an approval is wanted until %s: %s", stamp(f.Deadline), f.Words))
		early := min(expiringBefore, f.Deadline.Sub(f.Asked)/expiringShare)
		about(ApprovalExpiring, topology.Error, f.Deadline.Add(-early), fmt.Sprintf("the request %s expires at %s: %s", f.ID, stamp(f.Deadline), f.Words))
	}
	return out
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// AuditCondition is what there is to tell of a trail that does not hold together: what is
// wrong, and since when that is known. None when words is empty.
func AuditCondition(words string, since time.Time) []Condition {
	if words == "" {
		return nil
	}
	return []Condition{{Event: Event{Kind: AuditBroken, Key: AuditBroken, Subject: "the audit trail", Severity: topology.Critical, At: since,
		Words: "the audit trail is broken: " + words, Command: "keyorch audit verify"}, Due: since}}
}
