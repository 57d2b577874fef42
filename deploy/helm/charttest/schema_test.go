package charttest

import (
	"os"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/strvals"
	"sigs.k8s.io/yaml"
)

func TestSchemaRefuses(t *testing.T) {
	for _, c := range []struct {
		name, set, change string // change is as after helm --set-json
		says              string // what the refusal speaks of
	}{
		{"no image", "full", `image.repository=""`, "/image/repository"},
		{"a tag within the repository's name and an odd sign", "full", `image.repository="a@b"`, "/image/repository"},
		{"a number for a tag", "full", `image.tag=1.2`, "/image/tag"},
		{"no etcd", "full", `etcd.endpoints=[]`, "/etcd/endpoints"},
		{"two endpoints in one", "full", `etcd.endpoints=["https://a:1,https://b:1"]`, "/etcd/endpoints/0"},
		{"an endpoint without a port", "full", `etcd.endpoints=["https://a"]`, "/etcd/endpoints/0"},
		{"an endpoint with a password", "full", `etcd.endpoints=["https://u:p@a:2379"]`, "/etcd/endpoints/0"},
		{"no Vault", "full", `vault.address=""`, "/vault/address"},
		{"a Vault address with a password", "full", `vault.address="https://u:p@vault:8200"`, "/vault/address"},
		{"a token for Vault", "full", `vault.token="x"`, "'token'"},
		{"a token for the worker", "full", `worker.vaultToken="x"`, "'vaultToken'"},
		{"a token in the place of its Secret's name", "full", `worker.vaultTokenSecret="x"`, "/worker/vaultTokenSecret"},
		{"a token beside its Secret's name", "full", `agent.vaultTokenSecret.value="x"`, "'value'"},
		{"a token as the Secret's name", "full", `agent.vaultTokenSecret.name="hvs.CAESIJ"`, "/agent/vaultTokenSecret/name"},
		{"environment variables", "full", `agent.env={"VAULT_TOKEN":"x"}`, "'env'"},
		{"a key that nobody knows", "full", `wroker.enabled=true`, "'wroker'"},
		{"a worker without Temporal", "worker", `temporal.address=""`, "/temporal/address"},
		{"a worker without a token", "worker", `worker.vaultTokenSecret.name=""`, "/worker/vaultTokenSecret/name"},
		{"a worker that is root", "worker", `worker.runAsUser=0`, "/worker/runAsUser"},
		{"half a worker", "worker", `worker.replicas=0.5`, "/worker/replicas"},
		{"a level of logging that is none", "worker", `worker.logLevel="loud"`, "/worker/logLevel"},
		{"agents without a site", "agents", `agent.site=""`, "/agent/site"},
		{"agents with null for a site", "agents", `agent.site=null`, "/agent"},
		{"a number for a site", "agents", `agent.site=7`, "/agent/site"},
		{"agents without a token", "agents", `agent.vaultTokenSecret.name=""`, "/agent/vaultTokenSecret/name"},
		{"a node twice", "agents", `agent.nodes=["a","a"]`, "/agent/nodes"},
		{"a flag for a node", "agents", `agent.nodes=["--site"]`, "/agent/nodes/0"},
		{"a state directory that is relative", "agents", `agent.stateDir="keyorch"`, "/agent/stateDir"},
		{"a state directory that climbs", "agents", `agent.stateDir="/var/../etc"`, "/agent/stateDir"},
		{"the root as a state directory", "agents", `agent.stateDir="/"`, "/agent/stateDir"},
		{"every capability", "agents", `agent.capabilities=["ALL"]`, "/agent/capabilities/0"},
		{"a capability with CAP_", "agents", `agent.capabilities=["CAP_NET_ADMIN"]`, "/agent/capabilities/0"},
		{"capabilities for another user than root", "full", `agent.runAsUser=1000`, "/agent/runAsUser"},
		{"a port that needs a privilege", "full", `metrics.port=80`, "/metrics/port"},
		{"a port that there is not", "full", `metrics.port=70000`, "/metrics/port"},
		{"nothing to install", "worker", `worker.enabled=false`, "/worker/enabled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			vals := values(t, c.set)
			if _, err := render(vals, false); err != nil {
				t.Fatal("the set itself is refused:", err)
			}
			if err := strvals.ParseJSON(c.change, vals); err != nil {
				t.Fatal(err)
			}
			_, err := render(vals, false)
			if err == nil {
				t.Fatalf("%s is accepted", c.change)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("the refusal does not speak of %s: %v", c.says, err)
			}
		})
	}
}

func TestSchemaNeedsTemporalForTheWorkerOnly(t *testing.T) {
	vals := values(t, "agents")
	if vals["temporal"] != nil {
		t.Fatal("the set of the agents speaks of Temporal")
	}
	texts, err := render(vals, false)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(manifest(texts), "TEMPORAL") {
		t.Error("agents are told where Temporal is")
	}
}

// TestDefaultsAloneAreRefused: whoever says nothing is told all that is needed.
func TestDefaultsAloneAreRefused(t *testing.T) {
	_, err := render(nil, false)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, needed := range []string{
		"/image/repository", "/etcd/endpoints", "/vault/address", "/temporal/address",
		"/worker/vaultTokenSecret/name", "/agent/vaultTokenSecret/name", "/agent/site",
	} {
		if !strings.Contains(err.Error(), needed) {
			t.Errorf("%s is not named: %v", needed, err)
		}
	}
}

func TestReadmesExampleIsAccepted(t *testing.T) {
	readme, err := os.ReadFile(chartDir + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```yaml\n")
	example, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("there is no example")
	}
	var vals map[string]any
	if err := yaml.UnmarshalStrict([]byte(example), &vals); err != nil {
		t.Fatal(err)
	}
	if _, err := render(vals, false); err != nil {
		t.Error(err)
	}
}
