package custody_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/identity/identitytest"
)

const kek = "keyorch-sites-dc1.dc2"

var agent = identity.OfSite("dc2")

// actions are what became of everything.
func actions(steps []custody.Step) map[custody.Action]int {
	n := map[custody.Action]int{}
	for _, s := range steps {
		n[s.Action]++
	}
	return n
}

// wantAll wants one action of all steps.
func wantAll(t *testing.T, steps []custody.Step, err error, action custody.Action) {
	t.Helper()
	must(t, err)
	if n := actions(steps); len(steps) == 0 || n[action] != len(steps) {
		t.Errorf("want all %s, got %v", action, steps)
	}
}

func TestBootstrapIsRepeatable(t *testing.T) {
	v := startVault(t)
	a := custody.Administration{Vault: v.root(t), Dry: true}
	cluster := &custody.Kubernetes{Host: "https://127.0.0.1:1", CA: string(identitytest.NewAuthority(t).PEM()), Reviewer: identity.Credential(jwt(t, "reviewer"))}
	for range 2 { // a dry run changes nothing
		steps, err := a.Bootstrap(t.Context(), nil)
		wantAll(t, steps, err, custody.Created)
	}
	a.Dry = false
	steps, err := a.Bootstrap(t.Context(), cluster)
	wantAll(t, steps, err, custody.Created)
	authority, err := a.Vault.Authority(t.Context(), custody.Paths{})
	must(t, err)
	steps, err = a.Bootstrap(t.Context(), cluster)
	wantAll(t, steps, err, custody.Existed)
	if same, err := a.Vault.Authority(t.Context(), custody.Paths{}); err != nil || same != authority {
		t.Errorf("the authority was made anew: %v", err)
	}
	// What somebody has changed is set right, and named before.
	must(t, a.Vault.WritePolicy(t.Context(), "keyorch-worker", custody.AuditorPolicy("")))
	a.Dry = true
	for range 2 {
		steps, err = a.Bootstrap(t.Context(), cluster)
		must(t, err)
		if n := actions(steps); n[custody.SetTo] != 1 || n[custody.Existed] != len(steps)-1 {
			t.Errorf("want one to be set right, got %v", steps)
		}
		a.Dry = false
	}
	steps, err = a.Bootstrap(t.Context(), cluster)
	wantAll(t, steps, err, custody.Existed)
	_, err = a.Bootstrap(t.Context(), &custody.Kubernetes{Host: "https://127.0.0.1:2"}) // this Vault runs in no cluster
	want(t, err, fault.Invalid, "its authorities in PEM")
	// What is another's is left alone.
	_, err = custody.Administration{Vault: a.Vault, Paths: custody.Paths{PKI: "transit"}}.Bootstrap(t.Context(), nil)
	want(t, err, fault.Refused, "there is an engine of type transit")
}

func TestEnrolIsRepeatable(t *testing.T) {
	a := startVault(t).bootstrapped(t)
	e := custody.Enrolment{Identity: agent, KEKs: []string{kek}, ServiceAccounts: []string{"keyorch-agent"}, Namespaces: []string{"net"}, Audience: "vault"}
	for _, e.Auth = range []identity.Auth{identity.ByCertificate, identity.ByAppRole, identity.ByKubernetes} {
		a.Dry = true
		before, err := a.Enrol(t.Context(), e)
		must(t, err)
		a.Dry = false
		steps, err := a.Enrol(t.Context(), e)
		must(t, err)
		if len(before) != len(steps) || actions(before)[custody.Created] != actions(steps)[custody.Created] {
			t.Errorf("%s: the dry run said %v, and then %v", e.Auth, before, steps)
		}
		steps, err = a.Enrol(t.Context(), e)
		wantAll(t, steps, err, custody.Existed)
	}
	steps, err := a.Remove(t.Context(), agent)
	must(t, err)
	if actions(steps)[custody.Removed] == 0 {
		t.Errorf("nothing was removed: %v", steps)
	}
	steps, err = a.Remove(t.Context(), agent)
	wantAll(t, steps, err, custody.Absent)
	for _, wrong := range []custody.Enrolment{
		{Identity: agent, Auth: identity.ByToken}, {Identity: agent, Auth: identity.ByKubernetes}, {Identity: identity.Identity{Role: identity.Agent}},
	} {
		_, err := a.Enrol(t.Context(), wrong)
		want(t, err, fault.Invalid, "")
	}
}

// TestTheAdministratorsPolicyDoes does everything that bootstrap, enroll, revoke and
// the rotation of KEKs do, with nothing but its policy.
func TestTheAdministratorsPolicyDoes(t *testing.T) {
	v := startVault(t)
	root := v.bootstrapped(t)
	admin := v.as(t, root, identity.Identity{Role: identity.Admin})
	a := custody.Administration{Vault: admin}
	steps, err := a.Bootstrap(t.Context(), nil)
	wantAll(t, steps, err, custody.Existed)
	_, err = a.Enrol(t.Context(), custody.Enrolment{Identity: agent, Auth: identity.ByCertificate, KEKs: []string{kek}})
	must(t, err)
	_, err = a.Invite(t.Context(), agent, time.Minute)
	must(t, err)
	must(t, admin.EnsureKEK(t.Context(), kek))
	state, err := admin.RotateKEK(t.Context(), kek)
	must(t, err)
	must(t, admin.RetireKEK(t.Context(), kek, state.Latest))
	_, err = a.Remove(t.Context(), agent)
	must(t, err)
}

func TestJoinWithACertificate(t *testing.T) {
	v := startVault(t)
	a := v.bootstrapped(t)
	_, err := a.Enrol(t.Context(), custody.Enrolment{Identity: agent, Auth: identity.ByCertificate, KEKs: []string{kek}})
	must(t, err)
	in, err := a.Invite(t.Context(), agent, time.Minute)
	must(t, err)
	joining, _, err := custody.Join(t.Context(), v.config(custody.Config{}), agent, in)
	must(t, err)
	dir := v.sign(t, joining, agent)
	as := v.open(t, custody.Config{ClientCert: dir.Cert(), ClientKey: dir.Key(), Login: custody.Login{Method: identity.ByCertificate, Role: agent.CommonName()}})
	must(t, as.Login(t.Context()))
	v.sign(t, as, agent) // and renews itself
}

// TestNothingIsShown looks for what must not be in errors and texts.
func TestNothingIsShown(t *testing.T) {
	v := startVault(t)
	a := v.bootstrapped(t)
	_, err := a.Enrol(t.Context(), custody.Enrolment{Identity: agent, Auth: identity.ByCertificate})
	must(t, err)
	in, err := a.Invite(t.Context(), agent, time.Minute)
	must(t, err)
	_, _, err = custody.Join(t.Context(), v.config(custody.Config{}), identity.OfSite("dc9"), in)
	want(t, err, fault.Refused, "for something else")
	if strings.Contains(err.Error(), string(in.Wrapped)) {
		t.Error("the error shows the invitation")
	}
}
