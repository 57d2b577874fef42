package topology_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/topology"
)

// TestTheReference reads the page that operators read: its documents are good,
// and it names every field of a policy that the schema knows.
func TestTheReference(t *testing.T) {
	data, err := os.ReadFile("../docs/topology.md")
	if err != nil {
		t.Fatal(err)
	}
	policies := 0
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(data), -1) {
		if strings.Contains(block[1], "apiVersion:") {
			got := parse(t, block[1], topology.Topology{})
			sameAfterWriting(t, got)
			policies += len(got.Policies)
		}
	}
	if policies < 3 {
		t.Errorf("the page has %d policies, want 3", policies)
	}
	var schema struct {
		Defs map[string]struct {
			Properties map[string]any `json:"properties"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(topology.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	said := regexp.MustCompile("`[^`\n]*`").FindAllString(string(data), -1)
	for _, def := range []string{"policySpec", "wave", "budget", "keyAge", "window", "freeze", "schedule", "webhookSpec", "approvalruleSpec", "approver"} {
		if len(schema.Defs[def].Properties) == 0 {
			t.Errorf("the schema has no fields of %s", def)
		}
		for field := range schema.Defs[def].Properties {
			if !slices.ContainsFunc(said, regexp.MustCompile(`^`+"`"+`(\w+\.)?`+field+`(\.\w+)?`+"`$").MatchString) {
				t.Errorf("the page does not say what %s of %s is", field, def)
			}
		}
	}
}
