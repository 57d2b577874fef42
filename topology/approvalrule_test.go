package topology_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/topology"
)

// someKey is a public key of package approval's.
func someKey(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../approval/testdata/" + name + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func TestApprovalRules(t *testing.T) {
	text := `apiVersion: keyorch/v1
kind: ApprovalRule
metadata: {name: two-people, labels: {team: core}}
spec:
  verbs: [compromise, rules]
  approvals: 2
  approvers:
    - {name: anna, keys: ["` + someKey(t, "ed25519") + `"]}
    - {name: ben, keys: ["` + someKey(t, "rsa") + `", "` + someKey(t, "ecdsa") + `"]}
  deadline: 2h
  remindAfter: 0s
---
apiVersion: keyorch/v1
kind: ApprovalRule
metadata: {name: plain}
spec: {verbs: [revoke], approvers: [{name: anna, keys: ["` + someKey(t, "ed25519") + `"]}]}
`
	got := parse(t, text, topology.Topology{})
	if len(got.ApprovalRules) != 2 {
		t.Fatalf("%+v", got)
	}
	plain, two := got.ApprovalRules[0], got.ApprovalRules[1]
	if plain.Approvals != 1 || plain.Deadline != 24*time.Hour || plain.RemindAfter != time.Hour || plain.EscalateAfter != 4*time.Hour {
		t.Errorf("the defaults are %+v", plain)
	}
	if two.Approvals != 2 || two.Deadline != 2*time.Hour || two.RemindAfter != 0 || len(two.Approvers) != 2 || len(two.Approvers[1].Keys) != 2 ||
		two.Verbs[1] != approval.Rules || two.Labels["team"] != "core" {
		t.Errorf("read as %+v", two)
	}
	sameAfterWriting(t, got)
	var again topology.ApprovalRule
	b, err := json.Marshal(two)
	if err == nil {
		err = json.Unmarshal(b, &again)
	}
	if err != nil || again.What() != two.What() || again.Approvals != 2 {
		t.Errorf("%v: %s is read as %+v", err, b, again)
	}
	if merged := got.Merge(got); len(merged.ApprovalRules) != 2 {
		t.Errorf("merged %+v", merged)
	}
	// A key that one rule knows as anna's cannot be another person's in one declared later.
	_, err = topology.Parse([]topology.Source{{Name: "f", Data: []byte(`apiVersion: keyorch/v1
kind: ApprovalRule
metadata: {name: later}
spec: {verbs: [revoke], approvers: [{name: mallory, keys: ["` + someKey(t, "ed25519") + `"]}]}
`)}}, nil, got)
	if err == nil || !strings.Contains(err.Error(), `f:4: ApprovalRule later: spec.approvers[0].keys[0]: the key is anna's in rule`) {
		t.Errorf("says %v", err)
	}
}

// The schema and the package have one list of verbs.
func TestTheSchemaKnowsTheVerbs(t *testing.T) {
	var schema struct {
		Defs struct {
			Verb struct{ Enum []approval.Verb } `json:"approvalVerb"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(topology.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	if a, b := len(schema.Defs.Verb.Enum), len(approval.Verbs()); a != b {
		t.Fatalf("%d and %d verbs", a, b)
	}
	for i, v := range approval.Verbs() {
		if schema.Defs.Verb.Enum[i] != v {
			t.Errorf("%s is %s in the schema", v, schema.Defs.Verb.Enum[i])
		}
	}
}
