package custody_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/identity/identitytest"
	"github.com/keyorch/keyorch/keychain"
)

// apiServer answers TokenReviews: it knows one token, of one service account.
func apiServer(t *testing.T, token string) *httptest.Server {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Spec       struct {
				Token     string   `json:"token"`
				Audiences []string `json:"audiences"`
			} `json:"spec"`
			Status map[string]any `json:"status"`
		}
		_ = json.NewDecoder(r.Body).Decode(&review)
		review.Status = map[string]any{"authenticated": review.Spec.Token == token, "audiences": review.Spec.Audiences,
			"user": map[string]any{"username": "system:serviceaccount:net:keyorch-agent", "uid": "0001", "groups": []string{"system:serviceaccounts"}}}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(review)
	}))
	t.Cleanup(s.Close)
	return s
}

func pemOf(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// jwt looks like the token of a service account. Vault reads its claims and leaves
// the signature to the API server.
func jwt(t *testing.T, account string) string {
	t.Helper()
	claims := map[string]any{
		"iss": "kubernetes", "sub": "system:serviceaccount:net:" + account, "aud": []string{"vault"}, "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
		"kubernetes.io": map[string]any{"namespace": "net", "serviceaccount": map[string]any{"name": account, "uid": "0001"}},
	}
	part := func(v any) string {
		doc, err := json.Marshal(v)
		must(t, err)
		return base64.RawURLEncoding.EncodeToString(doc)
	}
	return part(map[string]string{"alg": "RS256", "typ": "JWT"}) + "." + part(claims) + "." + base64.RawURLEncoding.EncodeToString([]byte("signed"))
}

// enrolled is a Vault where dc2's agent is enrolled in one way.
func enrolled(t *testing.T, way identity.Auth, change func(*custody.Enrolment)) (*server, custody.Administration) {
	t.Helper()
	v := startVault(t)
	a := v.bootstrapped(t)
	e := custody.Enrolment{Identity: agent, Auth: way, KEKs: []string{kek}, ServiceAccounts: []string{"keyorch-agent"}, Namespaces: []string{"net"}, Audience: "vault"}
	if change != nil {
		change(&e)
	}
	_, err := a.Enrol(t.Context(), e)
	must(t, err)
	must(t, a.Vault.EnsureKEK(t.Context(), kek))
	return v, a
}

// byAppRole is dc2's agent with its role ID and secret ID in files.
func (s *server) byAppRole(t *testing.T, a custody.Administration, observe func(string, time.Duration, error)) custody.Config {
	t.Helper()
	in, err := a.Invite(t.Context(), agent, time.Minute)
	must(t, err)
	_, secretID, err := custody.Join(t.Context(), s.config(custody.Config{}), agent, in)
	must(t, err)
	dir := t.TempDir()
	login := custody.Login{Method: identity.ByAppRole, RoleIDFile: filepath.Join(dir, "role-id"), SecretIDFile: filepath.Join(dir, "secret-id")}
	must(t, os.WriteFile(login.RoleIDFile, []byte(in.RoleID+"\n"), 0o600))
	must(t, os.WriteFile(login.SecretIDFile, []byte(secretID), 0o600))
	return s.config(custody.Config{Login: login, Observe: observe})
}

func TestLoginByAppRole(t *testing.T) {
	v, a := enrolled(t, identity.ByAppRole, nil)
	cfg := v.byAppRole(t, a, nil)
	for range 2 {
		must(t, login(t, cfg))
	}
	must(t, os.Chmod(cfg.Login.SecretIDFile, 0o604))
	want(t, login(t, cfg), fault.Refused, "run chmod 600")
	must(t, os.Chmod(cfg.Login.SecretIDFile, 0o600))
	must(t, os.WriteFile(cfg.Login.SecretIDFile, []byte("00000000-0000-0000-0000-000000000000"), 0o600))
	want(t, login(t, cfg), fault.Refused, "the role ID or the secret ID is wrong")
	must(t, os.WriteFile(cfg.Login.RoleIDFile, []byte("nobody"), 0o600))
	want(t, login(t, cfg), fault.Refused, "the role ID or the secret ID is wrong")
	cfg.Login.Mount = "nowhere"
	want(t, login(t, cfg), fault.Refused, "nowhere")
}

func login(t *testing.T, cfg custody.Config) error {
	t.Helper()
	c, err := custody.Open(cfg)
	if err != nil {
		return err
	}
	return c.Login(t.Context())
}

func TestLoginByKubernetes(t *testing.T) {
	v, a := enrolled(t, identity.ByKubernetes, nil)
	good := jwt(t, "keyorch-agent")
	api := apiServer(t, good)
	_, err := a.Bootstrap(t.Context(), &custody.Kubernetes{Host: api.URL, CA: pemOf(api.Certificate()), Reviewer: identity.Credential(jwt(t, "reviewer"))})
	must(t, err)
	file := filepath.Join(t.TempDir(), "token")
	cfg := v.config(custody.Config{Login: custody.Login{Method: identity.ByKubernetes, Role: agent.CommonName(), JWTFile: file}})
	want(t, login(t, cfg), fault.Invalid, "KEYORCH_VAULT_JWT_FILE")
	must(t, os.WriteFile(file, []byte(good), 0o600))
	must(t, login(t, cfg))
	must(t, os.WriteFile(file, []byte(jwt(t, "another")), 0o600))
	want(t, login(t, cfg), fault.Refused, "the token of the service account is refused")
	must(t, os.WriteFile(file, []byte(jwt(t, "keyorch-agent")+"x"), 0o600)) // the API server does not know it
	want(t, login(t, cfg), fault.Refused, "service account")
	cfg.Login.Role = "keyorch-agent.dc9"
	want(t, login(t, cfg), fault.Refused, "there is no such role")
}

func TestLoginByCertificate(t *testing.T) {
	v, a := enrolled(t, identity.ByCertificate, nil)
	in, err := a.Invite(t.Context(), agent, time.Minute)
	must(t, err)
	joining, _, err := custody.Join(t.Context(), v.config(custody.Config{}), agent, in)
	must(t, err)
	dir := v.sign(t, joining, agent)
	cfg := v.config(custody.Config{ClientCert: dir.Cert(), ClientKey: dir.Key(), Login: custody.Login{Method: identity.ByCertificate, Role: agent.CommonName()}})
	must(t, login(t, cfg))
	foreign := identitytest.NewAuthority(t).Issue(t, agent.CommonName())
	cfg.ClientCert, cfg.ClientKey = foreign.Cert, foreign.Key
	want(t, login(t, cfg), fault.Refused, "the certificate is not known to the role")
	ended := identitytest.NewAuthority(t).Issue(t, agent.CommonName(), identitytest.Life(time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)))
	cfg.ClientCert, cfg.ClientKey = ended.Cert, ended.Key
	want(t, login(t, cfg), fault.Refused, "expired at")
	cfg.ClientCert = filepath.Join(t.TempDir(), "none")
	want(t, login(t, cfg), fault.Invalid, "there is no file")
}

// counted counts requests by their kind.
type counted struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counted) told(op string, _ time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	if c.n[op]++; err != nil {
		c.n[op+" failed"]++
	}
}

func (c *counted) of(op string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[op]
}

// TestATokenThatHasEndedIsReplacedOnce has many calls meet a token that has ended.
func TestATokenThatHasEndedIsReplacedOnce(t *testing.T) {
	v, a := enrolled(t, identity.ByAppRole, func(e *custody.Enrolment) { e.TokenLife = time.Second })
	key, err := a.Vault.Mint(t.Context(), theLink, 4, []keychain.SiteID{"dc1", "dc2"})
	must(t, err)
	var c counted
	as := v.open(t, v.byAppRole(t, a, c.told))
	must(t, as.Login(t.Context()))
	before := c.of("login")
	time.Sleep(1500 * time.Millisecond) // it ends by Vault's own clock
	var calls sync.WaitGroup
	for range 40 {
		calls.Go(func() {
			if _, err := as.Unwrap(t.Context(), theLink, 4, key); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if n := c.of("login") - before; n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
	// A call that the policy does not allow costs no login.
	before = c.of("login")
	for range 5 {
		want(t, as.EnsureKEK(t.Context(), "keyorch-site-x"), fault.Refused, "policies keyorch-agent.dc2")
	}
	if n := c.of("login") - before; n > 1 { // one, should the token have ended meanwhile
		t.Errorf("%d logins for what the policy does not allow", n)
	}
}

// TestKeepOutlivesEverything keeps a login for longer than a token, and than a login,
// and through a Vault that is sealed for a while.
func TestKeepOutlivesEverything(t *testing.T) {
	v, a := enrolled(t, identity.ByAppRole, func(e *custody.Enrolment) { e.TokenLife, e.LoginLife = 2*time.Second, 5*time.Second })
	key, err := a.Vault.Mint(t.Context(), theLink, 4, []keychain.SiteID{"dc1", "dc2"})
	must(t, err)
	var c counted
	as := v.open(t, v.byAppRole(t, a, c.told))
	must(t, as.Login(t.Context()))
	ctx, stop := context.WithCancel(t.Context())
	var keeping sync.WaitGroup
	keeping.Go(func() { as.Keep(ctx) })
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for c.of("renew") < 4 || c.of("login") < 3 {
		select {
		case <-tick.C:
			if _, err := as.Unwrap(t.Context(), theLink, 4, key); err != nil {
				t.Fatalf("after %d renewals and %d logins: %v", c.of("renew"), c.of("login"), err)
			}
		case <-deadline:
			t.Fatalf("in vain: %v", c.n)
		}
	}
	must(t, v.core.Seal(v.rootToken))
	_, err = as.Unwrap(t.Context(), theLink, 4, key)
	want(t, err, fault.Unavailable, "sealed")
	want(t, as.Ping(t.Context()), fault.Unavailable, "it is sealed")
	v.unseal(t)
	for {
		if _, err = as.Unwrap(t.Context(), theLink, 4, key); err == nil {
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("after unsealing: ", err)
		}
	}
	stop()
	keeping.Wait()
}

func TestTroubleInWords(t *testing.T) {
	v := startVault(t)
	root := v.root(t)
	// Before bootstrap nothing is mounted.
	want(t, root.EnsureKEK(t.Context(), kek), fault.Refused, "run keyorch bootstrap")
	_, err := root.Authority(t.Context(), custody.Paths{})
	want(t, err, fault.Refused, "run keyorch bootstrap")
	for _, way := range []custody.Login{
		{Method: identity.ByAppRole, RoleID: "a", SecretID: "b"}, {Method: identity.ByKubernetes, Role: "x", JWTFile: v.ca},
	} {
		err := v.open(t, custody.Config{Login: way}).Login(t.Context())
		want(t, err, fault.Refused, "log in to vault by "+string(way.Method)+" at auth/"+string(way.Method))
		t.Log(err)
	}
	want(t, v.open(t, custody.Config{Token: "hvs.nothing"}).Login(t.Context()), fault.Refused, "the token of VAULT_TOKEN has ended")
	t.Setenv("VAULT_TOKEN", "")
	want(t, v.open(t, custody.Config{}).Login(t.Context()), fault.Invalid, "set VAULT_TOKEN")
	if err := root.Login(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAThousandLogins is what an hour after a mass start costs at once.
func TestAThousandLogins(t *testing.T) {
	v, a := enrolled(t, identity.ByAppRole, nil)
	cfg := v.byAppRole(t, a, nil)
	began := time.Now()
	slots := make(chan struct{}, 32)
	var all sync.WaitGroup
	for range 1000 {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if err := login(t, cfg); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	t.Logf("1000 logins in %v", time.Since(began).Round(time.Millisecond))
	began = time.Now()
	steps, err := a.Remove(t.Context(), agent)
	must(t, err)
	t.Logf("revoked with 1000 live tokens in %v: %v", time.Since(began).Round(time.Millisecond), steps[len(steps)-1])
	if strings.Contains(steps[len(steps)-1].String(), "absent") {
		t.Error("no live token was found")
	}
}
