package custody

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/keychain"
)

// Paths is where keyorch's engines and auth methods are mounted in Vault. An empty
// field is the default: transit, keyorch-pki, approle, cert and kubernetes.
type Paths struct{ Transit, PKI, AppRole, Cert, Kubernetes string }

// Whole is p with the defaults, and without slashes at the ends.
func (p Paths) Whole() Paths {
	one := func(path, normally string) string { return cmp.Or(strings.Trim(path, "/"), normally) }
	return Paths{
		Transit: mounted(p.Transit), PKI: one(p.PKI, "keyorch-pki"), AppRole: one(p.AppRole, "approle"),
		Cert: one(p.Cert, "cert"), Kubernetes: one(p.Kubernetes, "kubernetes"),
	}
}

const (
	adminPolicy = "keyorch-admin"
	// certificates begins the name of the policy that lets one identity, and no other
	// of its role, have its certificates signed.
	certificates = "keyorch-certificate."
	agentPolicy  = string(identity.Agent)
)

// PolicyName is the policy of what an identity may do in Vault: its own for an
// agent, that of the role for everybody else.
func PolicyName(id identity.Identity) string {
	switch id.Role {
	case identity.Admin:
		return adminPolicy
	case identity.Agent:
		return id.CommonName()
	case identity.Worker, identity.Operator, identity.Auditor:
	}
	return string(id.Role)
}

// CertificatePolicyName is the policy that lets an identity have its own
// certificates signed.
func CertificatePolicyName(id identity.Identity) string { return certificates + id.CommonName() }

// AgentPolicyName is the name of the policy of the agents of a whole site.
func AgentPolicyName(site keychain.SiteID) string { return PolicyName(identity.OfSite(site)) }

// policyName keeps anything but the name of a policy of keyorch out of Vault's
// paths.
func policyName(name string) bool {
	rest, ok := strings.CutPrefix(name, "keyorch-")
	return ok && !slices.ContainsFunc(strings.Split(rest, "."), func(part string) bool { return keychain.ValidName(part) != nil })
}

// ownToken is what everybody may do with the token that they have. Tokens have no
// default policy: its templates cost more than half of a request.
func ownToken() string {
	return rule("auth/token/lookup-self", "read") + rule("auth/token/renew-self", "update") + rule("auth/token/revoke-self", "update")
}

// WorkerPolicy allows minting wrapped keys, and wrapping them anew under a newer
// version of their KEK: it opens none, neither before nor after. It allows signing the ends of
// the audit trail. Here and below an
// empty mount is "transit".
func WorkerPolicy(mount string) string {
	return rule(mounted(mount)+"/datakey/wrapped/keyorch-*", "update") + rule(mounted(mount)+"/rewrap/keyorch-*", "update") +
		rule(mounted(mount)+"/sign/"+AuditKey, "update") + readingAuditKey(mount) + ownToken()
}

// AgentPolicy allows opening what is wrapped under keks and nothing else.
func AgentPolicy(mount string, keks []string) string {
	own := slices.Clone(keks)
	slices.Sort(own)
	var hcl strings.Builder
	for _, kek := range slices.Compact(own) {
		hcl.WriteString(rule(mounted(mount)+"/decrypt/"+kek, "update"))
	}
	return hcl.String() + ownToken()
}

// OperatorPolicy allows setting up and rotating KEKs, which can be neither exported
// nor deleted, and writing the policies of agents. It neither mints nor opens a key.
func OperatorPolicy(mount string) string {
	return keeping(mount) + readingAuditKey(mount) + rule("sys/policies/acl/"+agentPolicy+"*", "create", "read", "update") + ownToken()
}

// keeping is the rule of who keeps the KEKs.
func keeping(mount string) string {
	return limited(mounted(mount)+"/keys/keyorch-*", map[string]string{
		"type": fmt.Sprintf("[%q]", kekType), "derived": "[true]", "exportable": "[false]", "allow_plaintext_backup": "[false]",
		"min_decryption_version": "[]", "min_encryption_version": "[]", "min_available_version": "[]",
	}, "create", "read", "update")
}

// AuditorPolicy allows reading which KEKs there are and what policies say. It
// changes nothing.
func AuditorPolicy(mount string) string {
	return rule(mounted(mount)+"/keys/keyorch-*", "read") +
		rule("sys/policies/acl/keyorch-*", "read") + ownToken()
}

// CertificatePolicy allows one identity to have its certificates signed, which is all
// that a host may do that is joining.
func CertificatePolicy(pki string, id identity.Identity) string {
	return ownToken() + rule(Paths{PKI: pki}.Whole().PKI+"/sign/"+id.CommonName(), "update")
}

// AdminPolicy allows what bootstrap, enroll and revoke do. It opens no key by
// itself, but who has it can give anybody any policy whose name begins with
// keyorch-, and so become anybody: its tokens are for the length of a command.
func AdminPolicy(p Paths) string {
	p = p.Whole()
	all := []string{"create", "read", "update", "delete"}
	var hcl strings.Builder
	add := func(path string, capabilities ...string) { hcl.WriteString(rule(path, capabilities...)) }
	add("sys/mounts", "read")
	add("sys/auth", "read")
	for _, mount := range []string{p.Transit, p.PKI} {
		add("sys/mounts/"+mount, "create", "read", "update")
		add("sys/mounts/"+mount+"/tune", "read", "update")
	}
	for _, mount := range []string{p.AppRole, p.Cert, p.Kubernetes} {
		add("sys/auth/"+mount, "create", "read", "update", "sudo")
	}
	add("sys/policies/acl/keyorch-*", all...)
	add("auth/"+p.AppRole+"/role/keyorch-*", all...)
	for _, roles := range []string{"auth/" + p.Cert + "/certs/", "auth/" + p.Kubernetes + "/role/", p.PKI + "/roles/"} {
		add(roles+"keyorch-*", all...)
		add(roles+string(identity.Admin), all...)
	}
	add("auth/"+p.Kubernetes+"/config", "create", "read", "update")
	add(p.PKI+"/issuers", "list")
	add(p.PKI+"/root/generate/internal", "create", "update")
	add(p.PKI+"/sign/"+string(identity.Admin), "update")
	hcl.WriteString(keeping(p.Transit) + makingAuditKey(p.Transit) + ownToken())
	add("auth/token/accessors", "list", "sudo")
	add("auth/token/lookup-accessor", "update")
	add("auth/token/revoke-accessor", "update")
	return hcl.String()
}

func rule(path string, capabilities ...string) string {
	return fmt.Sprintf("path %q {\n  capabilities = [\"%s\"]\n}\n", path, strings.Join(capabilities, `", "`))
}

// limited is a rule that takes some parameters and no others.
func limited(path string, parameters map[string]string, capabilities ...string) string {
	var allowed []string
	for name, values := range parameters {
		allowed = append(allowed, fmt.Sprintf("    %q = %s\n", name, values))
	}
	slices.Sort(allowed)
	return fmt.Sprintf("path %q {\n  capabilities = [\"%s\"]\n  allowed_parameters = {\n%s  }\n}\n",
		path, strings.Join(capabilities, `", "`), strings.Join(allowed, ""))
}
