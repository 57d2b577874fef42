package topology

import (
	"encoding/json"
	"strconv"

	"github.com/keyorch/keyorch/approval"
)

// ApprovalRule is who has to approve what.
type ApprovalRule struct {
	Labels Labels
	approval.Rule
}

// approvalRuleSpec is the spec of a rule on its way out.
type approvalRuleSpec struct {
	Verbs         []approval.Verb     `json:"verbs"`
	Approvals     int                 `json:"approvals"`
	Approvers     []approval.Approver `json:"approvers"`
	Touch         bool                `json:"touch,omitempty"`
	PIN           bool                `json:"pin,omitempty"`
	Deadline      string              `json:"deadline"`
	RemindAfter   string              `json:"remindAfter"`
	EscalateAfter string              `json:"escalateAfter"`
}

func (r ApprovalRule) envelope() envelope {
	return envelop(KindApprovalRule, r.Name, r.Labels, approvalRuleSpec{
		Verbs: r.Verbs, Approvals: r.Approvals, Approvers: r.Approvers, Touch: r.Touch, PIN: r.PIN,
		Deadline: writeTime(r.Deadline), RemindAfter: writeTime(r.RemindAfter), EscalateAfter: writeTime(r.EscalateAfter),
	})
}

// MarshalJSON writes the rule as a document in the Kubernetes shape.
func (r ApprovalRule) MarshalJSON() ([]byte, error) { return json.Marshal(r.envelope()) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *ApprovalRule) UnmarshalJSON(b []byte) error { return unmarshal(b, KindApprovalRule, r) }

func buildApprovalRule(name string, labels Labels, spec map[string]any) (ApprovalRule, []finding) {
	rule := ApprovalRule{Labels: labels, Rule: approval.Rule{
		Name: name, Approvals: 1,
		Deadline: approval.DefaultDeadline, RemindAfter: approval.DefaultRemindAfter, EscalateAfter: approval.DefaultEscalateAfter,
	}}
	for _, v := range texts(spec, "verbs") {
		rule.Verbs = append(rule.Verbs, approval.Verb(v))
	}
	if n, ok := spec["approvals"].(int64); ok {
		rule.Approvals = int(n)
	}
	for _, m := range mappings(spec, "approvers") {
		rule.Approvers = append(rule.Approvers, approval.Approver{Name: text(m, "name"), Keys: texts(m, "keys")})
	}
	rule.Touch, _ = spec["touch"].(bool)
	rule.PIN, _ = spec["pin"].(bool)
	var r policyReader
	at := path{"spec"}
	r.time(spec, at, "deadline", &rule.Deadline)
	r.time(spec, at, "remindAfter", &rule.RemindAfter)
	r.time(spec, at, "escalateAfter", &rule.EscalateAfter)
	if len(r.found) > 0 {
		return rule, r.found
	}
	for _, p := range rule.Problems() {
		r.say(at.below(p.Field), p.Message, p.Hint)
	}
	return rule, r.found
}

// below is at and the steps of a field such as approvers[0].keys[1].
func (p path) below(field string) path {
	for _, step := range parameterStep.FindAllStringSubmatch(field, -1) {
		if i, err := strconv.Atoi(step[1]); err == nil {
			p = p.with(i)
		} else {
			p = p.with(step[0])
		}
	}
	return p
}

// texts is a list of texts.
func texts(m map[string]any, key string) []string {
	list, _ := m[key].([]any)
	out := make([]string, len(list))
	for i, v := range list {
		out[i], _ = v.(string)
	}
	return out
}

// approvers refuses what would let one person be two: two names for one key.
func (c *checker) approvers() {
	type place struct{ rule, name string }
	of := map[string]place{}
	note := func(r ApprovalRule, say func(at path, message string)) {
		for i, a := range r.Approvers {
			for k, line := range a.Keys {
				key, err := approval.ParseKey(line)
				if err != nil {
					continue
				}
				first, known := of[key.Fingerprint()]
				if known && first.name != a.Name && say != nil {
					say(path{"spec", "approvers", i, "keys", k}, "the key is "+first.name+"'s in rule "+strconv.Quote(first.rule))
				}
				if !known {
					of[key.Fingerprint()] = place{r.Name, a.Name}
				}
			}
		}
	}
	for _, r := range c.declared.ApprovalRules {
		if !c.inSource[KindApprovalRule+" "+r.Name] {
			note(r, nil)
		}
	}
	for _, d := range c.documents {
		if r, ok := d.object.(ApprovalRule); ok {
			note(r, func(at path, message string) { c.say(d, at, message, "a key belongs to one person, under one name") })
		}
	}
}
