package identity_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

const planted = "s.planted-credential"

func joinToken() identity.JoinToken {
	t := identity.JoinToken{
		Connection: identity.Connection{
			Identity: identity.OfSite("dc2"),
			Etcd:     identity.Etcd{Endpoints: []string{"https://etcd.example:2379"}},
			Vault: identity.Vault{
				Address: "https://vault.example:8200", Auth: identity.ByCertificate, Mount: "cert",
				Role: "keyorch-agent.dc2", PKI: "keyorch-pki/sign/keyorch-agent.dc2",
			},
		},
		EtcdCA:  "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
		Wrapped: planted, Expires: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC),
	}
	t.AppRole.Mount, t.AppRole.RoleID = "approle", "role"
	return t
}

func TestJoinTokenRoundTrip(t *testing.T) {
	text, err := joinToken().Text()
	if err != nil {
		t.Fatal(err)
	}
	got, err := identity.ParseJoinToken("  " + text + "\n")
	if err != nil || fmt.Sprint(got) != fmt.Sprint(joinToken()) || got.Wrapped != planted {
		t.Errorf("%v, %v", got, err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if said := fmt.Sprintf(verb, got); strings.Contains(said, planted) {
			t.Errorf("%s shows the credential: %s", verb, said)
		}
	}
}

func TestBrokenJoinTokens(t *testing.T) {
	good, err := joinToken().Text()
	if err != nil {
		t.Fatal(err)
	}
	changed := func(f func(*identity.JoinToken)) string {
		j := joinToken()
		f(&j)
		text, err := j.Text()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for text, want := range map[string]string{
		"":                       "it is empty",
		"hvs.CAESIJ":             "it does not begin with keyorch-join-1.",
		"keyorch-join-2.e30":     "another version",
		good[:len(good)/2]:       "copy the whole line",
		good + "x":               "copy the whole line",
		"keyorch-join-1.e30":     "identity",
		strings.Repeat("x", 3e5): "longer than",
		"keyorch-join-1." + base64.RawURLEncoding.EncodeToString([]byte(`{"a":1}`)):                   "copy the whole line",
		changed(func(j *identity.JoinToken) { j.Etcd.Endpoints = nil }):                               "etcd.endpoints: there is none",
		changed(func(j *identity.JoinToken) { j.Etcd.Endpoints[0] = "http://etcd:2379" }):             "https://host:port",
		changed(func(j *identity.JoinToken) { j.Vault.Address = "https://u:p@vault:8200" }):           "vault.address",
		changed(func(j *identity.JoinToken) { j.Vault.Role = "../sys/raw" }):                          "vault.role",
		changed(func(j *identity.JoinToken) { j.Vault.Auth = "ldap" }):                                "vault.auth",
		changed(func(j *identity.JoinToken) { j.Wrapped = "" }):                                       "nothing in it to log in with",
		changed(func(j *identity.JoinToken) { j.Expires = time.Time{} }):                              "until when",
		changed(func(j *identity.JoinToken) { j.Identity = identity.Identity{Role: identity.Admin} }): "nobody joins as root",
	} {
		_, err := identity.ParseJoinToken(text)
		if fault.Of(err) != fault.Invalid || !strings.Contains(fmt.Sprint(err), want) || strings.Contains(fmt.Sprint(err), planted) {
			t.Errorf("%.40s: %v, want %q", text, err, want)
		}
	}
}

func FuzzParseJoinToken(f *testing.F) {
	good, err := joinToken().Text()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{good, good[:40], "keyorch-join-1.e30", "keyorch-join-2.", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		token, err := identity.ParseJoinToken(text)
		if err != nil {
			if fault.Of(err) != fault.Invalid {
				t.Errorf("%v is not Invalid", err)
			}
			return
		}
		again, err := token.Text()
		if err != nil {
			t.Fatal(err)
		}
		if same, err := identity.ParseJoinToken(again); err != nil || fmt.Sprintf("%+v", same) != fmt.Sprintf("%+v", token) {
			t.Errorf("%+v became %+v, %v", token, same, err)
		}
	})
}
