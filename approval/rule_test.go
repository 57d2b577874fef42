package approval_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/approval/approvaltest"
)

func TestWhatIsWrongWithARule(t *testing.T) {
	one, two := approvaltest.Ed25519(t), approvaltest.SK(t, approvaltest.Touched)
	for name, c := range map[string]struct {
		change func(*approval.Rule)
		field  string
		says   string
	}{
		"nothing":           {func(*approval.Rule) {}, "", ""},
		"no verb":           {func(r *approval.Rule) { r.Verbs = nil }, "verbs", "for no verb"},
		"an unknown verb":   {func(r *approval.Rule) { r.Verbs = []approval.Verb{"rotate"} }, "verbs[0]", "no verb"},
		"a verb twice":      {func(r *approval.Rule) { r.Verbs = []approval.Verb{"rules", "rules"} }, "verbs[1]", "already"},
		"no approval":       {func(r *approval.Rule) { r.Approvals = 0 }, "approvals", "none"},
		"too many":          {func(r *approval.Rule) { r.Approvals = 3 }, "approvals", "cannot come from 2"},
		"nobody":            {func(r *approval.Rule) { r.Approvers = nil }, "approvers", "0 approvers"},
		"a bad name":        {func(r *approval.Rule) { r.Approvers[1].Name = "Ben" }, "approvers[1].name", "Ben"},
		"a name twice":      {func(r *approval.Rule) { r.Approvers[1].Name = "anna" }, "approvers[1].name", "already"},
		"no key":            {func(r *approval.Rule) { r.Approvers[0].Keys = nil }, "approvers[0].keys", "0 keys"},
		"no key at all":     {func(r *approval.Rule) { r.Approvers[0].Keys = []string{"x"} }, "approvers[0].keys[0]", "no public key"},
		"a key of two":      {func(r *approval.Rule) { r.Approvers[1].Keys = r.Approvers[0].Keys }, "approvers[1].keys[0]", "approvers[0].keys[0]"},
		"touch of a file":   {func(r *approval.Rule) { r.Touch = true }, "approvers[0].keys[0]", "a touch or a PIN"},
		"PIN of a file":     {func(r *approval.Rule) { r.PIN = true }, "approvers[0].keys[0]", "a touch or a PIN"},
		"too long":          {func(r *approval.Rule) { r.Deadline = approval.MaxDeadline + 1 }, "deadline", "not between"},
		"too short":         {func(r *approval.Rule) { r.Deadline = time.Second }, "deadline", "not between"},
		"reminded at once":  {func(r *approval.Rule) { r.RemindAfter = time.Second }, "remindAfter", "shorter"},
		"escalated at once": {func(r *approval.Rule) { r.EscalateAfter = -1 }, "escalateAfter", "shorter"},
	} {
		r := someRule(2, one, two)
		c.change(&r)
		found := r.Problems()
		if c.says == "" {
			if len(found) > 0 {
				t.Errorf("%s: %+v", name, found)
			}
			continue
		}
		if len(found) != 1 || found[0].Field != c.field || !strings.Contains(found[0].Message, c.says) {
			t.Errorf("%s: %+v, want %s: %s", name, found, c.field, c.says)
		}
	}
}

func TestPerson(t *testing.T) {
	for cn, want := range map[string]string{anna: "anna", "keyorch-operator-3.anna": "anna", "keyorch-operator": "", "keyorch-auditor.anna": "", "root": "", "": "", "anna": ""} {
		if got := approval.Person(cn); got != want {
			t.Errorf("%q: %q, want %q", cn, got, want)
		}
	}
}
