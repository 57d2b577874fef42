// The tests of custody on real Vaults: logins, renewal, failover, administration,
// rotation of KEKs, and every denial.
package custody_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/credential/cert"
	"github.com/hashicorp/vault/builtin/logical/pki"
	"github.com/hashicorp/vault/builtin/logical/transit"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/identity/identitytest"
)

// server is one Vault behind TLS, which keeps everything in memory.
type server struct {
	core      *vault.Core
	listener  *httptest.Server
	rootToken string
	unsealKey []byte
	ca        string // the file of its authority
}

// startVault runs a Vault, initialised and unsealed.
func startVault(t *testing.T) *server {
	t.Helper()
	storage, err := inmem.NewInmem(nil, hclog.NewNullLogger())
	must(t, err)
	s := newServer(t, identitytest.NewAuthority(t), storage, nil)
	made, err := s.core.Initialize(t.Context(), &vault.InitParams{BarrierConfig: &vault.SealConfig{SecretShares: 1, SecretThreshold: 1}})
	must(t, err)
	s.rootToken, s.unsealKey = made.RootToken, made.SecretShares[0]
	s.unseal(t)
	return s
}

func (s *server) unseal(t *testing.T) {
	t.Helper()
	_, err := s.core.Unseal(s.unsealKey)
	must(t, err)
}

// newServer makes a core on storage and has it answer.
func newServer(t *testing.T, ca *identitytest.Authority, storage physical.Backend, ha physical.HABackend) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	url := "https://" + listener.Addr().String()
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical: storage, HAPhysical: ha, StorageType: "inmem", DisableMlock: true, Logger: hclog.NewNullLogger(),
		BuiltinRegistry: plugins{}, LogicalBackends: plugins{}.of(consts.PluginTypeSecrets), CredentialBackends: plugins{}.of(consts.PluginTypeCredential),
		RedirectAddr: url, ClusterName: "test", DefaultLeaseTTL: time.Hour, MaxLeaseTTL: 20 * 365 * 24 * time.Hour,
	})
	must(t, err)
	dir := t.TempDir()
	s := &server{core: core, ca: filepath.Join(dir, "vault-ca.crt")}
	identitytest.Write(t, s.ca, ca.PEM())
	files := ca.Issue(t, "vault", identitytest.Server("127.0.0.1", "localhost"))
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	must(t, err)
	s.listener = &httptest.Server{
		Listener: listener,
		Config: &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: vaulthttp.Handler.Handler(&vault.HandlerProperties{
			Core: core, ListenerConfig: &configutil.Listener{Address: listener.Addr().String()},
		})},
		TLS: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert},
	}
	s.listener.StartTLS()
	t.Cleanup(s.stop)
	return s
}

// stop ends it as a crash does: nobody is told.
func (s *server) stop() {
	s.listener.CloseClientConnections()
	s.listener.Close()
	_ = s.core.Shutdown() // it may have been stopped before
}

// open is a custody on s with cfg; its address and authority are filled in.
func (s *server) open(t *testing.T, cfg custody.Config) *custody.Custody {
	t.Helper()
	c, err := s.tryOpen(cfg)
	must(t, err)
	return c
}

func (s *server) tryOpen(cfg custody.Config) (*custody.Custody, error) {
	cfg.Address, cfg.CACert = s.listener.URL, s.ca
	return custody.Open(cfg)
}

// root opens everything.
func (s *server) root(t *testing.T) *custody.Custody {
	t.Helper()
	return s.open(t, custody.Config{Token: s.rootToken})
}

// bootstrapped is the administration of a Vault that is ready for keyorch.
func (s *server) bootstrapped(t *testing.T) custody.Administration {
	t.Helper()
	a := custody.Administration{Vault: s.root(t)}
	_, err := a.Bootstrap(t.Context(), nil)
	must(t, err)
	return a
}

// plugins is the list that Vault asks for by name.
type plugins struct{}

func (plugins) of(kind consts.PluginType) map[string]logical.Factory {
	switch kind {
	case consts.PluginTypeSecrets:
		return map[string]logical.Factory{"transit": transit.Factory, "pki": pki.Factory}
	case consts.PluginTypeCredential:
		return map[string]logical.Factory{"approle": approle.Factory, "cert": cert.Factory, "kubernetes": kubernetes.Factory}
	}
	return nil
}

func (p plugins) Contains(name string, kind consts.PluginType) bool { return p.of(kind)[name] != nil }

func (p plugins) Get(name string, kind consts.PluginType) (func() (any, error), bool) {
	factory, ok := p.of(kind)[name]
	return func() (any, error) { return factory, nil }, ok
}

func (p plugins) Keys(kind consts.PluginType) []string {
	var names []string
	for name := range p.of(kind) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (p plugins) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, p.Contains(name, kind)
}

func (plugins) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
