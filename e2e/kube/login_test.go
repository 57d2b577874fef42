//go:build chart

package kube

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/keyorch/keyorch/cmd/keyorch/cli"
	"github.com/keyorch/keyorch/custody"
	cluster "github.com/keyorch/keyorch/deploy/helm/kube"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// The accounts of a release, named as the chart names them.
const (
	namespace     = "keyorch"
	agentAccount  = "keyorch-agent-dc2"
	workerAccount = "keyorch-worker"
	jobAccount    = "keyorch-operator"
	audience      = "vault"
)

// world is a cluster, and a Vault that asks it about ServiceAccounts.
type world struct {
	*testing.T
	cluster *cluster.Cluster
	stack   *devstack.Stack
	agent   identity.Identity
}

func TestLogin(t *testing.T) {
	w := newWorld(t)
	t.Run("the agent's account gets the agent's policy and a certificate", func(t *testing.T) { w.on(t).agentLogsIn() })
	t.Run("the operator's Job declares the topology", func(t *testing.T) { w.on(t).operatorDeclares() })
	t.Run("nobody else does", func(t *testing.T) { w.on(t).othersAreRefused() })
	t.Run("an account that is gone", func(t *testing.T) { w.on(t).goneIsRefused() })
	t.Run("without the API server", func(t *testing.T) { w.on(t).apiServerAway() })
}

func (w world) on(t *testing.T) world { w.T = t; return w }

func (w world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func newWorld(t *testing.T) world {
	w := world{T: t, agent: identity.OfSite("dc2")}
	binary, err := cluster.Binary(t.Context(), "../../deploy/helm/kube/servers")
	w.must(err)
	w.cluster, err = cluster.Start(t.Context(), binary, t.TempDir())
	w.must(err)
	t.Cleanup(func() { _ = w.cluster.Stop() }) // the last test stops it, too
	w.stack, err = devstack.Start(t.Context(), devstack.Options{Data: filepath.Join(t.TempDir(), "stack")})
	w.must(err)
	t.Cleanup(func() {
		if err := w.stack.Stop(context.Background()); err != nil { // the test's has ended
			t.Error(err)
		}
	})
	for _, ns := range []string{namespace, "elsewhere", "vault"} {
		w.must(w.cluster.Namespace(t.Context(), ns, nil))
		w.must(w.cluster.Account(t.Context(), ns, agentAccount))
	}
	w.must(w.cluster.Account(t.Context(), namespace, workerAccount))
	w.must(w.cluster.Account(t.Context(), namespace, jobAccount))
	w.must(w.cluster.Account(t.Context(), namespace, "default"))

	// What an administrator does: Vault may review tokens, and the agent is enrolled.
	w.must(w.cluster.Account(t.Context(), "vault", "reviewer"))
	w.must(w.cluster.Create(t.Context(), "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", map[string]any{
		"metadata": map[string]any{"name": "vault-reviews-tokens"},
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
		"subjects": []any{map[string]any{"kind": "ServiceAccount", "name": "reviewer", "namespace": "vault"}},
	}))
	reviewer, err := w.cluster.Token(t.Context(), "vault", "reviewer", time.Hour)
	w.must(err)
	root, err := custody.Open(custody.Config{Address: w.stack.VaultAddress, CACert: w.ca(), Token: w.stack.RootToken})
	w.must(err)
	admin := custody.Administration{Vault: root}
	_, err = admin.Bootstrap(t.Context(), &custody.Kubernetes{Host: w.cluster.URL, CA: string(w.cluster.CA), Reviewer: identity.Credential(reviewer)})
	w.must(err)
	for id, account := range map[identity.Identity]string{w.agent: agentAccount, {Role: identity.Worker, Person: "helm"}: workerAccount} {
		_, err = admin.Enrol(t.Context(), custody.Enrolment{
			Identity: id, Auth: identity.ByKubernetes, KEKs: []string{"keyorch-site-dc2"},
			Namespaces: []string{namespace}, ServiceAccounts: []string{account}, Audience: audience,
		})
		w.must(err)
	}
	return w
}

// ca is the file with the development stack's authority.
func (w world) ca() string { return filepath.Join(w.stack.Data, "tls", "ca.crt") }

// login is the program's own login with a pod's token, as the role of id.
func (w world) login(token string, id identity.Identity) (*custody.Custody, error) {
	w.Helper()
	file := filepath.Join(w.TempDir(), "token")
	w.must(os.WriteFile(file, []byte(token), 0o600))
	c, err := custody.Open(custody.Config{
		Address: w.stack.VaultAddress, CACert: w.ca(),
		Login: custody.Login{Method: identity.ByKubernetes, Role: id.CommonName(), JWTFile: file},
	})
	w.must(err)
	return c, c.Login(w.Context())
}

func (w world) token(ns, account string, life time.Duration, audiences ...string) string {
	w.Helper()
	token, err := w.cluster.Token(w.Context(), ns, account, life, audiences...)
	w.must(err)
	return token
}

func (w world) agentLogsIn() {
	token := w.token(namespace, agentAccount, time.Hour, audience)
	c, err := w.login(token, w.agent)
	w.must(err)
	request, err := identity.NewRequest(w.agent)
	w.must(err)
	signed, err := c.SignCSR(w.Context(), "keyorch-pki/sign/"+w.agent.CommonName(), request.CSR())
	w.must(err)
	if len(signed.Chain) == 0 {
		w.Error("no certificate was signed")
	}
	other, err := identity.NewRequest(identity.OfSite("dc1"))
	w.must(err)
	if _, err := c.SignCSR(w.Context(), "keyorch-pki/sign/keyorch-agent.dc1", other.CSR()); !fault.Is(err, fault.Refused) {
		w.Errorf("the agent of dc2 gets a certificate of dc1: %v", err)
	}
	if got, want := w.policies(token), []string{w.agent.CommonName()}; !slices.Equal(got[:1], want) || slices.Contains(got, "default") || slices.Contains(got, "root") {
		w.Errorf("the token's policies are %v, want %v", got, want)
	}
}

// policies are those of a login, as Vault says with no code of keyorch's between.
func (w world) policies(token string) []string {
	w.Helper()
	config := api.DefaultConfig()
	config.Address = w.stack.VaultAddress
	w.must(config.ConfigureTLS(&api.TLSConfig{CACert: w.ca()}))
	client, err := api.NewClient(config)
	w.must(err)
	client.ClearToken()
	said, err := client.Logical().WriteWithContext(w.Context(), "auth/kubernetes/login", map[string]any{"role": w.agent.CommonName(), "jwt": token})
	w.must(err)
	return said.Auth.Policies
}

// operatorDeclares runs what the chart's Job runs, in the environment that the chart
// gives it, after the enrolment that the chart's notes name.
func (w world) operatorDeclares() {
	administrator, err := w.stack.Env(w.Context(), devstack.Root)
	w.must(err)
	env := map[string]string{}
	for _, kv := range administrator {
		name, value, _ := strings.Cut(kv, "=")
		env[name] = value
	}
	w.keyorch(env, 0, "enroll", "--operator", "helm", "--auth", "kubernetes", "--service-account", namespace+"/"+jobAccount, "--audience", audience)
	dir := w.TempDir()
	jwt := filepath.Join(dir, "vault")
	w.must(os.WriteFile(jwt, []byte(w.token(namespace, jobAccount, time.Hour, audience)), 0o600))
	pod := map[string]string{
		"ETCDCTL_ENDPOINTS": w.stack.EtcdEndpoint, "ETCDCTL_CACERT": w.ca(), "VAULT_ADDR": w.stack.VaultAddress, "VAULT_CACERT": w.ca(),
		"KEYORCH_VAULT_AUTH": "kubernetes", "KEYORCH_VAULT_ROLE": "keyorch-operator.helm", "KEYORCH_VAULT_JWT_FILE": jwt,
		"KEYORCH_IDENTITY": filepath.Join(dir, "identity"), "KEYORCH_PKI": "keyorch-pki/sign/keyorch-operator.helm",
	}
	w.must(os.Mkdir(pod["KEYORCH_IDENTITY"], 0o777)) // as an emptyDir is
	topology := filepath.Join(dir, "network.yaml")
	w.must(os.WriteFile(topology, []byte("apiVersion: keyorch/v1\nkind: Site\nmetadata: {name: dc2}\n"), 0o600))
	for range 2 { // every upgrade declares it again
		w.keyorch(pod, 0, "apply", "-f", topology)
	}
	if said := w.keyorch(pod, 0, "get", "sites"); !strings.Contains(said, "dc2") {
		w.Errorf("the sites are %s", said)
	}
	pod["KEYORCH_VAULT_ROLE"], pod["KEYORCH_PKI"] = "keyorch-worker.helm", "keyorch-pki/sign/keyorch-worker.helm"
	pod["KEYORCH_IDENTITY"] = w.TempDir()
	w.keyorch(pod, 3, "get", "sites") // the operator's account is not the worker's
}

// keyorch runs a verb in an environment and wants its exit code.
func (w world) keyorch(env map[string]string, code int, args ...string) string {
	w.Helper()
	var out, errs bytes.Buffer
	got := cli.Run(w.Context(), cli.Process{Args: args, In: strings.NewReader(""), Out: &out, Err: &errs, Getenv: func(n string) string { return env[n] }})
	if got != code {
		w.Fatalf("keyorch %v: exit %d, want %d\n%s%s", args, got, code, &out, &errs)
	}
	return out.String()
}

func (w world) othersAreRefused() {
	worker := identity.Identity{Role: identity.Worker, Person: "helm"}
	right := w.token(namespace, agentAccount, time.Hour, audience)
	payload := strings.Split(right, ".")
	for name, c := range map[string]struct {
		token string
		as    identity.Identity
	}{
		"another account of the namespace":             {w.token(namespace, workerAccount, time.Hour, audience), w.agent},
		"the account default":                          {w.token(namespace, "default", time.Hour, audience), w.agent},
		"an account of that name in another namespace": {w.token("elsewhere", agentAccount, time.Hour, audience), w.agent},
		"a token for another audience":                 {w.token(namespace, agentAccount, time.Hour, "somebody"), w.agent},
		"a token for the API server":                   {w.token(namespace, agentAccount, time.Hour), w.agent},
		"the agent as the worker":                      {right, worker},
		"the agent as one who is not enrolled":         {right, identity.OfSite("dc9")},
		"a token that nobody signed":                   {payload[0] + "." + payload[1] + "." + strings.Repeat("A", len(payload[2])), w.agent},
		"no token":                                     {"nothing", w.agent},
	} {
		_, err := w.login(c.token, c.as)
		if k := fault.Of(err); err == nil || k != fault.Refused && k != fault.Invalid {
			w.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), c.token) {
			w.Errorf("%s: the refusal shows the token", name)
		}
	}
}

// goneIsRefused deletes the account while its token has not run out, and lets
// another run out.
func (w world) goneIsRefused() {
	now := time.Now()
	for until, in := range map[time.Time]bool{now.Add(-time.Hour): false, now.Add(time.Hour): true} {
		dated, err := w.cluster.Dated(w.token(namespace, agentAccount, time.Hour, audience), now.Add(-2*time.Hour), until)
		w.must(err)
		if _, err := w.login(dated, w.agent); (err == nil) != in || err != nil && !fault.Is(err, fault.Refused) {
			w.Errorf("a token until %v: %v", until.Sub(now), err)
		}
	}
	token := w.token(namespace, agentAccount, time.Hour, audience)
	if _, err := w.login(token, w.agent); err != nil {
		w.Fatal("before:", err)
	}
	path := "/api/v1/namespaces/" + namespace + "/serviceaccounts/" + agentAccount
	w.must(w.cluster.Do(w.Context(), w.cluster.Admin, http.MethodDelete, path, nil, nil))
	// The API server remembers for 10 s that it has found a token good.
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		_, err := w.login(token, w.agent)
		if fault.Is(err, fault.Refused) {
			break
		}
		if time.Now().After(end) {
			w.Fatalf("a token of an account that is deleted: %v", err)
		}
	}
	w.must(w.cluster.Account(w.Context(), namespace, agentAccount))
	if _, err := w.login(token, w.agent); fault.Of(err) != fault.Refused {
		w.Errorf("a token of the account before the one of this name: %v", err)
	}
	if _, err := w.login(w.token(namespace, agentAccount, time.Hour, audience), w.agent); err != nil {
		w.Errorf("the new account of that name: %v", err)
	}
}

func (w world) apiServerAway() {
	token := w.token(namespace, agentAccount, time.Hour, audience)
	w.must(w.cluster.Stop())
	if _, err := w.login(token, w.agent); err == nil {
		w.Error("logged in though nobody could review the token")
	}
}
