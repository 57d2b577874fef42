package custody

import (
	"cmp"
	"context"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// How long things live unless an Enrolment says otherwise.
const (
	tokenLife   = time.Hour
	loginLife   = 24 * time.Hour // then a new login, whatever is renewed
	certLife    = 7 * 24 * time.Hour
	joinLife    = time.Hour
	joiningLife = 10 * time.Minute // of the token that a joining host gets
)

// Enrolment is somebody who is to be known to Vault.
type Enrolment struct {
	Identity identity.Identity
	// Auth is how the process logs in, once it has joined.
	Auth identity.Auth
	// KEKs are what an agent may open.
	KEKs []string
	// ServiceAccounts of Namespaces may log in by kubernetes, with tokens for
	// Audience; empty for any.
	ServiceAccounts, Namespaces []string
	Audience                    string
	// CertLife, TokenLife, LoginLife and JoinLife are how long a certificate, a token
	// that is not renewed, a login however often renewed, and an invitation last; zero
	// for a week, an hour, a day and an hour.
	CertLife, TokenLife, LoginLife, JoinLife time.Duration
}

// check refuses what cannot be enrolled.
func (e Enrolment) check() error {
	if err := e.Identity.Valid(); err != nil {
		return err
	}
	switch e.Auth {
	case identity.ByCertificate, identity.ByAppRole:
		return nil
	case identity.ByKubernetes:
		if len(e.ServiceAccounts) == 0 || len(e.Namespaces) == 0 {
			return fault.New(fault.Invalid, "enroll %s: kubernetes needs the service account and its namespace", e.Identity)
		}
		return nil
	case identity.ByToken:
	}
	return fault.New(fault.Invalid, "enroll %s: the way to log in is cert, approle or kubernetes", e.Identity)
}

// Enrol makes what lets an identity in and says what it may do: its policies, its
// role of the auth method, and its role of the PKI. Those of other methods that an
// earlier enrolment left are removed. Errors as of Bootstrap, and Invalid.
func (a Administration) Enrol(ctx context.Context, e Enrolment) ([]Step, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	p, id := a.Paths.Whole(), e.Identity
	var things []thing
	if id.Role == identity.Agent {
		things = append(things, policyThing(PolicyName(id), AgentPolicy(p.Transit, e.KEKs)))
	}
	things = append(things, policyThing(CertificatePolicyName(id), CertificatePolicy(p.PKI, id)), a.pkiRole(e))
	var stale []thing
	switch e.Auth {
	case identity.ByKubernetes:
		things = append(things, a.kubernetesRole(e))
		stale = []thing{a.appRole(e), a.certRole(e, "")}
	case identity.ByAppRole:
		things = append(things, a.appRole(e))
		stale = []thing{a.kubernetesRole(e), a.certRole(e, "")}
	case identity.ByCertificate:
		authority, err := a.Vault.Authority(ctx, p)
		if err != nil {
			if !a.Dry || !fault.Is(err, fault.Refused) {
				return nil, err
			}
			authority = "" // the dry run of a bootstrap has made none
		}
		things = append(things, a.certRole(e, authority), a.appRole(e))
		stale = []thing{a.kubernetesRole(e)}
	case identity.ByToken:
	}
	steps, err := a.seeAll(ctx, things...)
	for i := 0; err == nil && i < len(stale); i++ {
		var step Step
		if step, err = a.remove(ctx, stale[i].what, stale[i].path); err == nil && step.Action != Absent {
			steps = append(steps, step)
		}
	}
	return steps, err
}

// token is what every auth role says of the tokens that it gives out.
func (e Enrolment) token(policies ...string) map[string]any {
	return map[string]any{
		"token_policies": policies, "token_no_default_policy": true, "token_type": "service",
		"token_ttl": seconds(e.TokenLife, tokenLife), "token_max_ttl": seconds(e.LoginLife, loginLife),
	}
}

func seconds(d, normally time.Duration) int64 { return int64(cmp.Or(d, normally) / time.Second) }

// policies are those of who has joined.
func (e Enrolment) policies() []string {
	return []string{PolicyName(e.Identity), CertificatePolicyName(e.Identity)}
}

func (a Administration) certRole(e Enrolment, authority string) thing {
	cn := e.Identity.CommonName()
	want := e.token(e.policies()...)
	want["certificate"], want["allowed_common_names"], want["display_name"] = authority, []string{cn}, cn
	mount := "auth/" + a.Paths.Whole().Cert
	return thing{what: mount + " role " + cn, path: mount + "/certs/" + cn, want: want}
}

// appRole lets a process in that logs in by AppRole; and, once, one that has yet to
// get its certificate, which is all that it may get.
func (a Administration) appRole(e Enrolment) thing {
	cn := e.Identity.CommonName()
	want := e.token(e.policies()...)
	want["bind_secret_id"], want["secret_id_num_uses"], want["secret_id_ttl"] = true, 0, 0
	if e.Auth != identity.ByAppRole {
		want["token_policies"] = []string{CertificatePolicyName(e.Identity)}
		want["token_ttl"], want["token_max_ttl"] = seconds(0, joiningLife), seconds(0, joiningLife)
		want["secret_id_num_uses"], want["secret_id_ttl"] = 1, seconds(e.JoinLife, joinLife)
	}
	mount := "auth/" + a.Paths.Whole().AppRole
	return thing{what: mount + " role " + cn, path: mount + "/role/" + cn, want: want}
}

func (a Administration) kubernetesRole(e Enrolment) thing {
	cn := e.Identity.CommonName()
	want := e.token(e.policies()...)
	want["bound_service_account_names"], want["bound_service_account_namespaces"] = e.ServiceAccounts, e.Namespaces
	want["audience"], want["alias_name_source"] = e.Audience, "serviceaccount_uid"
	mount := "auth/" + a.Paths.Whole().Kubernetes
	return thing{what: mount + " role " + cn, path: mount + "/role/" + cn, want: want}
}

// pkiRole signs for one common name, for clients alone. Certificates are not stored:
// who is revoked loses the name, and so every certificate with it.
func (a Administration) pkiRole(e Enrolment) thing {
	cn, pki := e.Identity.CommonName(), a.Paths.Whole().PKI
	return thing{what: pki + " role " + cn, path: pki + "/roles/" + cn, want: map[string]any{
		"allowed_domains": []string{cn}, "allow_bare_domains": true, "allow_subdomains": false, "allow_glob_domains": false,
		"allow_any_name": false, "allow_localhost": false, "allow_ip_sans": false, "use_csr_sans": false, "require_cn": true,
		"server_flag": false, "client_flag": true, "code_signing_flag": false, "email_protection_flag": false,
		"key_type": "ec", "key_bits": 256, "key_usage": []string{"DigitalSignature"},
		"no_store": true, "generate_lease": false,
		"ttl": seconds(e.CertLife, certLife), "max_ttl": seconds(e.CertLife, certLife),
	}}
}
