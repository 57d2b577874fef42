package custody_test

import (
	"testing"
	"time"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/identity"
)

func TestBootstrapIsRepeatable(t *testing.T) {
	v := startVault(t)
	a := custody.Administration{Vault: v.root(t), Dry: true}
	steps, err := a.Bootstrap(t.Context(), nil)
	must(t, err)
	for _, s := range steps {
		t.Log(s)
	}
	a.Dry = false
	for range 2 {
		steps, err := a.Bootstrap(t.Context(), nil)
		must(t, err)
		for _, s := range steps {
			t.Log(s)
		}
	}
	agent := identity.OfSite("dc2")
	for _, way := range []identity.Auth{identity.ByCertificate, identity.ByAppRole, identity.ByKubernetes} {
		for range 2 {
			steps, err := a.Enrol(t.Context(), custody.Enrolment{Identity: agent, Auth: way, KEKs: []string{"keyorch-site-dc2"}, ServiceAccounts: []string{"a"}, Namespaces: []string{"b"}})
			for _, s := range steps {
				t.Log(s)
			}
			must(t, err)
		}
	}
	_, err = a.Enrol(t.Context(), custody.Enrolment{Identity: agent, Auth: identity.ByCertificate, KEKs: []string{"keyorch-site-dc2"}})
	must(t, err)
	in, err := a.Invite(t.Context(), agent, time.Minute)
	must(t, err)
	c, _, err := custody.Join(t.Context(), custody.Config{Address: v.listener.URL, CACert: v.ca}, agent, in)
	must(t, err)
	_, _, err = custody.Join(t.Context(), custody.Config{Address: v.listener.URL, CACert: v.ca}, agent, in)
	t.Log(err)
	req, err := identity.NewRequest(agent)
	must(t, err)
	signed, err := c.SignCSR(t.Context(), "keyorch-pki/sign/"+agent.CommonName(), req.CSR())
	must(t, err)
	dir := identity.Directory(t.TempDir())
	must(t, req.Write(dir.Files(), agent, []byte(signed.Chain), []byte(signed.Authority), time.Now()))
	as := v.open(t, custody.Config{ClientCert: dir.Cert(), ClientKey: dir.Key(), Login: custody.Login{Method: identity.ByCertificate, Role: agent.CommonName()}})
	must(t, as.Login(t.Context()))
	steps, err = a.Remove(t.Context(), agent)
	for _, s := range steps {
		t.Log(s)
	}
	must(t, err)
	t.Log(as.Login(t.Context()))
}
