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
		{"a digest that is none", "full", `image.digest="sha256:1"`, "/image/digest"},
		{"no etcd", "full", `etcd.endpoints=[]`, "/etcd/endpoints"},
		{"two endpoints in one", "full", `etcd.endpoints=["https://a:1,https://b:1"]`, "/etcd/endpoints/0"},
		{"an endpoint without a port", "full", `etcd.endpoints=["https://a"]`, "/etcd/endpoints/0"},
		{"an endpoint with a password", "full", `etcd.endpoints=["https://u:p@a:2379"]`, "/etcd/endpoints/0"},
		{"an endpoint without TLS", "full", `etcd.endpoints=["http://a:2379"]`, "/etcd/endpoints/0"},
		{"no Vault", "full", `vault.address=""`, "/vault/address"},
		{"a Vault address with a password", "full", `vault.address="https://u:p@vault:8200"`, "/vault/address"},
		{"a Vault without TLS", "full", `vault.address="http://vault:8200"`, "/vault/address"},
		{"a login that there is not", "full", `vault.auth.method="ldap"`, "/vault/auth/method"},
		{"a mount that climbs", "full", `vault.pkiMount="../pki"`, "/vault/pkiMount"},
		{"no PKI", "full", `vault.pkiMount=""`, "/vault/pkiMount"},
		{"a token that lives for a minute", "worker", `vault.auth.expirationSeconds=60`, "/vault/auth/expirationSeconds"},
		{"a token for Vault", "full", `vault.token="x"`, "'token'"},
		{"a token for the worker", "full", `worker.vaultToken="x"`, "'vaultToken'"},
		{"a token as the Secret's name", "gear", `worker.vaultSecret="hvs.CAESIJ"`, "/worker/vaultSecret"},
		{"a signing secret as the Secret's name", "full", `worker.webhookSecret="whsec_MfKQ9r8G"`, "/worker/webhookSecret"},
		{"environment variables", "full", `agents[0].env={"VAULT_TOKEN":"x"}`, "'env'"},
		{"a key that nobody knows", "full", `wroker.enabled=true`, "'wroker'"},
		{"a key of the chart before", "full", `agent.site="dc1"`, "'agent'"},
		{"a worker without Temporal", "worker", `temporal.address=""`, "/temporal/address"},
		{"a worker that is root", "worker", `worker.runAsUser=0`, "/worker/runAsUser"},
		{"a worker without a name", "worker", `worker.identity=""`, "/worker/identity"},
		{"a worker that is an agent", "worker", `worker.identity="keyorch-agent.dc1"`, "/worker/identity"},
		{"half a worker", "worker", `worker.replicas=0.5`, "/worker/replicas"},
		{"a level of logging that is none", "worker", `worker.logLevel="loud"`, "/worker/logLevel"},
		{"agents without a site", "agents", `agents=[{"devices":["exec"]}]`, "/agents/0"},
		{"a number for a site", "agents", `agents[0].site=7`, "/agents/0/site"},
		{"a kind that there is not", "agents", `agents[0].kind="statefulset"`, "/agents/0/kind"},
		{"a device that there is not", "agents", `agents[0].devices=["gnmi"]`, "/agents/0/devices/0"},
		{"an agent that is the worker", "agents", `agents[0].identity="keyorch-worker"`, "/agents/0/identity"},
		{"a node twice", "gear", `agents[1].nodes=["a","a"]`, "/agents/1/nodes"},
		{"a flag for a node", "gear", `agents[1].nodes=["--site"]`, "/agents/1/nodes/0"},
		{"a state directory that is relative", "agents", `agents[0].stateDir="keyorch"`, "/agents/0/stateDir"},
		{"a state directory that climbs", "agents", `agents[0].stateDir="/var/../etc"`, "/agents/0/stateDir"},
		{"the root as a state directory", "agents", `agents[0].stateDir="/"`, "/agents/0/stateDir"},
		{"the root of the host", "full", `agents[1].hostPaths=[{"path":"/"}]`, "/agents/1/hostPaths/0/path"},
		{"every capability", "agents", `agents[0].extraCapabilities=["ALL"]`, "/agents/0/extraCapabilities/0"},
		{"a capability with CAP_", "agents", `agents[0].extraCapabilities=["CAP_NET_ADMIN"]`, "/agents/0/extraCapabilities/0"},
		{"a port that needs a privilege", "full", `metrics.port=80`, "/metrics/port"},
		{"a port that there is not", "full", `metrics.port=70000`, "/metrics/port"},
		{"a file of the topology that is none", "full", `topology.files={"../x.yaml":"a"}`, "invalid propertyName"},
		{"a schedule without a policy", "full", `schedules=[{"name":"n"}]`, "/schedules/0"},
		{"a schedule of four fields", "full", `schedules[0].cron="1 2 3 4"`, "/schedules/0/cron"},

		// Values that contradict each other are refused in words.
		{"nothing to install", "worker", `worker.enabled=false`, "there is nothing to install"},
		{"a budget for no worker", "worker", `worker.replicas=0`, "worker.replicas is 0, and worker.podDisruptionBudget guards pods that there are not"},
		{"webhooks out of reach", "full", `worker.egress=[]`, "worker.webhookSecret is set, and the network policy lets the worker out to its servers alone"},
		{"a monitor without metrics", "worker", `metrics.serviceMonitor.enabled=true`, "metrics.serviceMonitor is on, and metrics.enabled is off"},
		{"rules without metrics", "worker", `metrics.rules.enabled=true`, "metrics.rules is on, and metrics.enabled is off"},
		{"a dashboard without metrics", "worker", `metrics.dashboard.enabled=true`, "metrics.dashboard is on, and metrics.enabled is off"},
		{"two topologies", "full", `topology.configMap="network"`, "topology.files and topology.configMap are both set"},
		{"a schedule without Temporal", "agents", `schedules=[{"name":"n","policy":"p"}]`, "set temporal.address"},
		{"nobody to sign", "full", `certificates.certManager.issuerRef.name=""`, "set certificates.certManager.issuerRef.name"},
		{"a certificate to get a certificate with", "full", `certificates.source="vault"`, "a pod would need its certificate to ask for it"},
		{"nobody who signed etcd's certificate", "worker", `etcd.caSecret.name=""`, "name the Secret with its ca.crt in etcd.caSecret.name"},
		{"an older version of none", "worker", `worker.deployment={"name":"","allowDowngrade":true}`, "worker.deployment.name is empty"},
		{"one port for two", "worker", `health.port=9090`, "metrics.port and health.port are the same"},
		{"one port for two of an agent", "full", `agents[1].healthPort=9465`, "agents[1] (no): metricsPort and healthPort are the same"},
		{"AppRole without credentials", "gear", `worker.vaultSecret=""`, "worker: vault.auth.method is approle: name the Secret"},
		{"a token without a Secret", "worker", `vault.auth.method="token"`, "worker: vault.auth.method is token: name the Secret"},
		{"credentials that nothing uses", "worker", `worker.vaultSecret="x"`, "worker: vaultSecret is set, and vault.auth.method kubernetes uses none"},
		{"Kubernetes login as everybody", "worker", `worker.serviceAccount.create=false`, "every pod of the namespace may be the account"},
		{"no certificate", "gear", `worker.certificateSecret=""`, "worker: certificates.source is secret: name the Secret"},
		{"a certificate that nothing uses", "worker", `worker.certificateSecret="x"`, "worker: certificateSecret is set, and certificates.source is vault"},
		{"one name for two", "gear", `agents[1].name="dc3-routers"`, "agents[1]: dc3-routers is the name of an entry before"},
		{"a kernel that runs anywhere", "agents", `agents[0].kind="deployment"`, "agents[0] (dc2): kind is deployment, and macsec, xfrm are devices of one host"},
		{"hosts that take each other's nodes", "agents", `agents[0].nodeFromHost=false`, "each agent of a daemonset on several hosts would take the others' nodes"},
		{"a daemonset with nodes of several hosts", "full", `agents[0].nodes=["a","b"]`, "agents[0] (1e3): wireguard, bird are devices of one host"},
		{"a node, and no host", "full", `agents[0].nodeSelector={}`, "list one node in nodes and its host in nodeSelector"},
		{"nodes from two places", "agents", `agents[0].nodes=["a"]`, "nodeFromHost is for a daemonset that lists no nodes"},
		{"a daemon without its socket", "full", `agents[1].hostPaths=[]`, "agents[1] (no): haproxy speaks to a daemon of the host through its files"},
		{"a host's directory anywhere", "gear", `agents[1].hostPaths=[{"path":"/run/x"}]`, "hostPaths are of one host"},
		{"NET_ADMIN without a kernel device", "gear", `agents[1].extraCapabilities=["NET_ADMIN"]`, "extraCapabilities NET_ADMIN without a device of the kernel"},
		{"capabilities for another user than root", "agents", `agents[0].runAsUser=1000`, "runAsUser is 1000, and added capabilities (NET_ADMIN) reach root only"},
		{"replicas of a daemonset", "agents", `agents[0].replicas=2`, "replicas are for a deployment"},
		{"a volume for two", "gear", `agents[0].stateSize="64Mi"`, "stateSize keeps the journal of one agent"},
		{"gear out of reach", "gear", `agents[0].egress=[]`, "netconf is gear on the network"},
		{"two on one port of the host", "full", `agents[1]={"site":"1e3","name":"no","nodes":["b"],"devices":["xfrm"],"nodeSelector":{"kubernetes.io/hostname":"007"}}`, "use the network of the same hosts, and port 9464 there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			vals := values(t, c.set) // which is accepted as it is: TestRenderingIsAsRecorded
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
	for _, needed := range []string{"/image/repository", "/etcd/endpoints", "/vault/address", "/temporal/address"} {
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
