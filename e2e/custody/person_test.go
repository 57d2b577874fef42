package custody_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// config fills in where s is.
func (s *server) config(cfg custody.Config) custody.Config {
	cfg.Address, cfg.CACert = s.listener.URL, s.ca
	return cfg
}

// as enrols somebody by AppRole, and is logged in as them.
func (s *server) as(t *testing.T, a custody.Administration, id identity.Identity, keks ...string) *custody.Custody {
	t.Helper()
	c, _, err := custody.Join(t.Context(), s.config(custody.Config{}), id, s.invite(t, a, id, keks...))
	must(t, err)
	return c
}

func (s *server) invite(t *testing.T, a custody.Administration, id identity.Identity, keks ...string) custody.Invitation {
	t.Helper()
	_, err := a.Enrol(t.Context(), custody.Enrolment{Identity: id, Auth: identity.ByAppRole, KEKs: keks})
	must(t, err)
	in, err := a.Invite(t.Context(), id, time.Minute)
	must(t, err)
	return in
}

// sign has a certificate of id signed by c, into a new directory.
func (s *server) sign(t *testing.T, c *custody.Custody, id identity.Identity) identity.Directory {
	t.Helper()
	dir := identity.Directory(t.TempDir())
	request, err := identity.NewRequest(id)
	must(t, err)
	signed, err := c.SignCSR(t.Context(), "keyorch-pki/sign/"+id.CommonName(), request.CSR())
	must(t, err)
	must(t, request.Write(dir.Files(), id, []byte(signed.Chain), []byte(signed.Authority), time.Now()))
	return dir
}

func want(t *testing.T, err error, kind fault.Kind, text string) {
	t.Helper()
	if !fault.Is(err, kind) || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v (%v), want %v with %q", err, fault.Of(err), kind, text)
	}
}

// tokenOf enrols somebody by AppRole and gives the token of a login, for requests that
// custody does not make.
func (s *server) tokenOf(t *testing.T, a custody.Administration, id identity.Identity) string {
	t.Helper()
	in := s.invite(t, a, id)
	_, secretID, err := custody.Join(t.Context(), s.config(custody.Config{}), id, in)
	must(t, err)
	var got struct {
		Auth struct {
			Token string `json:"client_token"`
		} `json:"auth"`
	}
	s.ask(t, "", "POST", "auth/approle/login", map[string]any{"role_id": in.RoleID, "secret_id": string(secretID)}, &got)
	return got.Auth.Token
}

// raw makes a request and gives its status.
func (s *server) raw(t *testing.T, token, method, path string, in any) int {
	t.Helper()
	return s.ask(t, token, method, path, in, nil)
}

func (s *server) ask(t *testing.T, token, method, path string, in, out any) int {
	t.Helper()
	body, err := json.Marshal(in)
	must(t, err)
	request, err := http.NewRequestWithContext(t.Context(), method, s.listener.URL+"/v1/"+path, bytes.NewReader(body))
	must(t, err)
	if token != "" {
		request.Header.Set("X-Vault-Token", token)
	}
	pem, err := os.ReadFile(s.ca)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}, DisableKeepAlives: true}}
	resp, err := client.Do(request)
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	if out != nil {
		must(t, json.NewDecoder(resp.Body).Decode(out))
	}
	return resp.StatusCode
}
