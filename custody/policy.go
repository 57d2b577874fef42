package custody

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keyorch/keyorch/keychain"
)

const agentPolicy = "keyorch-agent-"

// AgentPolicyName is the name of the policy of the agents of site.
func AgentPolicyName(site keychain.SiteID) string { return agentPolicy + string(site) }

// policyName keeps anything but the name of a policy of keyorch out of Vault's
// paths.
func policyName(name string) bool {
	rest, ok := strings.CutPrefix(name, "keyorch-")
	if site, agent := strings.CutPrefix(name, agentPolicy); agent {
		rest = site
	}
	return ok && keychain.ValidName(rest) == nil
}

// WorkerPolicy allows minting wrapped keys and nothing else: it opens none. Here
// and below an empty mount is "transit".
func WorkerPolicy(mount string) string {
	return rule(mounted(mount)+"/datakey/wrapped/keyorch-*", "update")
}

// AgentPolicy allows opening what is wrapped under keks and nothing else.
func AgentPolicy(mount string, keks []string) string {
	own := slices.Clone(keks)
	slices.Sort(own)
	var hcl strings.Builder
	hcl.WriteString("# opens what is minted for one site\n") // Vault takes no empty policy
	for _, kek := range slices.Compact(own) {
		hcl.WriteString(rule(mounted(mount)+"/decrypt/"+kek, "update"))
	}
	return hcl.String()
}

// OperatorPolicy allows setting up KEKs and the policies of agents. It neither
// mints nor opens a key.
func OperatorPolicy(mount string) string {
	return rule(mounted(mount)+"/keys/keyorch-*", "create", "read", "update") +
		rule("sys/policies/acl/"+agentPolicy+"*", "create", "update")
}

func rule(path string, capabilities ...string) string {
	return fmt.Sprintf("path %q {\n  capabilities = [\"%s\"]\n}\n", path, strings.Join(capabilities, `", "`))
}
