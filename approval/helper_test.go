package approval_test

import (
	"time"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/approval/approvaltest"
)

const requester = "keyorch-operator.otto"

// asked is when requests of these tests were made.
func asked() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func someRequest() approval.Request {
	return approval.NewRequest(approval.Plan{
		Verb: approval.RotateForced, IgnoreWindows: true, Requester: requester, Reason: "the key leaked",
		Links: []approval.Link{{Name: "dc1-dc2", Upstream: []keychainNode{"b", "a"}, Downstream: []keychainNode{"c"}}},
	}, asked(), time.Hour)
}

// someRule is one that anna and ben may satisfy.
func someRule(needed int, anna, ben approvaltest.Pen) approval.Rule {
	return approval.Rule{
		Name: "two", Verbs: []approval.Verb{approval.RotateForced}, Approvals: needed, Deadline: time.Hour,
		RemindAfter: 10 * time.Minute, EscalateAfter: 20 * time.Minute,
		Approvers: []approval.Approver{{Name: "anna", Keys: []string{anna.Line()}}, {Name: "ben", Keys: []string{ben.Line()}}},
	}
}
