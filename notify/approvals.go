package notify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/topology"
)

// ApprovalConditions is what there is to tell of one request for approvals: its notices
// that are due, and what is asked for, in words. That one is wanted or expiring is over
// when it was decided; a reminder, an escalation and the end of its time are moments.
func ApprovalConditions(id, words string, notices []approval.Notice) []Condition {
	late := slices.ContainsFunc(notices, func(n approval.Notice) bool { return n.Kind == approval.NoticeExpired })
	var out []Condition
	for _, n := range notices {
		e := Event{Subject: "approval " + id, Severity: topology.Warning, Approval: id, At: n.At, Momentary: true, Command: "keyorch approvals show " + id}
		who := strings.Join(n.To, ", ")
		switch n.Kind {
		case approval.NoticeWanted:
			e.Kind, e.Momentary = ApprovalWanted, false
			e.Words = fmt.Sprintf("an approval is wanted from %s: %s", who, words)
		case approval.NoticeReminder:
			e.Kind, e.Words = ApprovalReminder, fmt.Sprintf("an approval is still wanted from %s: %s", who, words)
		case approval.NoticeEscalated:
			e.Kind, e.Severity = ApprovalEscalated, topology.Error
			e.Words = fmt.Sprintf("an approval is now wanted from %s, too: %s", who, words)
		case approval.NoticeExpiring:
			e.Kind, e.Momentary, e.Severity = ApprovalExpiring, false, topology.Error
			e.Words = fmt.Sprintf("a request for approval expires soon, and %s did not answer: %s", who, words)
		case approval.NoticeExpired:
			e.Kind, e.Words = ApprovalExpired, "a request for approval has expired, and nothing was changed: "+words
		default:
			continue
		}
		if late && !e.Momentary { // it is wanted no more
			continue
		}
		e.Key = e.Kind + "/" + keyPart(n.Key)
		out = append(out, Condition{Event: e, Due: n.At})
	}
	return out
}

// keyPart is text as a part of a key.
func keyPart(s string) string { return strings.ReplaceAll(s, " ", "-") }

// AuditCondition is what there is to tell of a trail that does not hold together: what is
// wrong, and since when that is known. None when words is empty.
func AuditCondition(words string, since time.Time) []Condition {
	if words == "" {
		return nil
	}
	return []Condition{{Event: Event{Kind: AuditBroken, Key: AuditBroken, Subject: "the audit trail", Severity: topology.Critical, At: since,
		Words: "the audit trail is broken: " + words, Command: "keyorch audit verify"}, Due: since}}
}
