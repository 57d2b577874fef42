package topology_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/topology"
)

func policy(name string, drain time.Duration) topology.Policy {
	p := topology.DefaultPolicy()
	p.Name, p.Drain = name, drain
	return p
}

func whats(changes []approval.Change) (out []string) {
	for _, c := range changes {
		out = append(out, c.What)
	}
	return out
}

// What is pinned holds until a change of it is approved, also for what went away and
// came back.
func TestPinnedPoliciesHold(t *testing.T) {
	declared := topology.Topology{
		Policies: []topology.Policy{policy("strict", time.Hour)},
		Links:    []topology.Link{{Name: "a", Policy: "strict"}, {Name: "b"}},
	}
	pinned, more := declared.Pin(topology.Pinned{})
	if _, again := declared.Pin(pinned); !more || again {
		t.Error("pinned not at once")
	}
	b, err := json.Marshal(pinned)
	var read topology.Pinned
	if err == nil {
		err = json.Unmarshal(b, &read)
	}
	if err != nil || !reflect.DeepEqual(read, pinned) {
		t.Errorf("%s is read as %+v, %v", b, read, err)
	}
	lax := declared
	lax.Policies = []topology.Policy{policy("lax", 0), policy("strict", time.Second)}
	lax.Links = []topology.Link{{Name: "a", Policy: "lax"}, {Name: "b"}, {Name: "new", Policy: "lax"}}
	held := lax.Under(pinned)
	if l, _ := held.Link("a"); l.Policy != "strict" || held.PolicyOf(l).Drain != time.Hour {
		t.Errorf("link a is rotated by %+v", held.PolicyOf(l))
	}
	if l, _ := held.Link("new"); l.Policy != "lax" {
		t.Errorf("a new link has policy %q", l.Policy)
	}
	changes := lax.ChangedPolicies(pinned)
	if got := whats(changes); !slices.Equal(got, []string{"Policy strict", "the policy of Link a"}) {
		t.Errorf("the changes are %q", got)
	}
	gone := topology.Topology{Policies: lax.Policies}
	if still, _ := gone.Pin(pinned); !reflect.DeepEqual(still.Links, pinned.Links) {
		t.Error("a link that is gone for a while is forgotten")
	}
	next, ok := lax.Changed(pinned, changes[:1])
	if after := lax.Under(next); !ok || after.Policies[1].Drain != time.Second || after.Links[0].Policy != "strict" {
		t.Errorf("after one change %+v", after)
	}
	next, ok = lax.Changed(pinned, changes)
	if !ok || len(lax.ChangedPolicies(next)) != 0 {
		t.Errorf("after both %+v", next)
	}
	if _, ok := lax.Changed(next, changes); ok {
		t.Error("an approved change counts twice")
	}
	if _, ok := declared.Changed(pinned, changes); ok {
		t.Error("an approved change counts though something else is declared by now")
	}
}

func TestRulesChangeByWhatWasApproved(t *testing.T) {
	rule := func(name string, n int) topology.ApprovalRule {
		return topology.ApprovalRule{Rule: approval.Rule{
			Name: name, Verbs: []approval.Verb{approval.Compromise}, Approvals: n, Deadline: time.Hour,
			Approvers: []approval.Approver{{Name: "anna", Keys: []string{someKey(t, "ed25519")}}, {Name: "ben", Keys: []string{someKey(t, "rsa")}}},
		}}
	}
	inForce := []approval.Rule{rule("changed", 2).Rule, rule("gone", 1).Rule, rule("same", 1).Rule}
	declared := topology.Topology{ApprovalRules: []topology.ApprovalRule{rule("changed", 1), rule("new", 1), rule("same", 1)}}
	changes := declared.ChangedRules(inForce)
	if got := whats(changes); !slices.Equal(got, []string{"ApprovalRule changed", "ApprovalRule gone", "ApprovalRule new"}) {
		t.Errorf("the changes are %q", got)
	}
	after, ok := declared.RulesAfter(inForce, changes)
	if !ok || len(after) != 3 || after[0].Approvals != 1 || after[1].Name != "new" {
		t.Errorf("after all %+v", after)
	}
	after, ok = declared.RulesAfter(inForce, changes[1:2])
	if !ok || len(after) != 2 || after[0].Approvals != 2 {
		t.Errorf("after one %+v", after)
	}
	forged := changes[0]
	forged.After = ""
	if _, ok := declared.RulesAfter(inForce, []approval.Change{forged}); ok {
		t.Error("a change that leads elsewhere counts")
	}
}
