package devstack

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/credential/cert"
	"github.com/hashicorp/vault/builtin/logical/pki"
	"github.com/hashicorp/vault/builtin/logical/transit"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/file"
	"github.com/hashicorp/vault/vault"

	"github.com/hashicorp/vault/internalshared/configutil"

	"github.com/keyorch/keyorch/fault"
)

// longLife is how long Vault lets a token live: a data directory that has been
// left alone for a year still opens.
const longLife = 10 * 365 * 24 * time.Hour

// vaultServer is Vault's core behind its own HTTP handler.
type vaultServer struct {
	core *vault.Core
	http *http.Server
	keys devKeys
}

// startVault runs Vault on a directory of files. It initialises it once, with
// the keys kept beside it, and unseals it.
func startVault(ctx context.Context, dir string, ports Ports, certs serverCerts, log *os.File) (_ *vaultServer, err error) {
	fail := func(err error) (*vaultServer, error) {
		return nil, fault.Wrap(fault.Unavailable, err, "start vault on %s", address(ports.Vault))
	}
	dir = filepath.Join(dir, "vault")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fail(err)
	}
	if err := clearHalfInit(dir); err != nil {
		return fail(err)
	}
	logger := hclog.New(&hclog.LoggerOptions{Name: "vault", Level: hclog.Warn, Output: log})
	core, err := newCore(dir, certs.url(address(ports.Vault)), logger)
	if err != nil {
		return fail(err)
	}
	keys, err := initialise(ctx, core, dir)
	if err == nil {
		_, err = core.Unseal(keys.UnsealKey)
	}
	if err != nil {
		return fail(errors.Join(err, core.Shutdown()))
	}
	listener, err := listenVault(address(ports.Vault), certs)
	if err != nil {
		return fail(errors.Join(err, core.Shutdown()))
	}
	handler := vaulthttp.Handler.Handler(&vault.HandlerProperties{
		Core:           core,
		ListenerConfig: &configutil.Listener{Address: address(ports.Vault)}, // never nil: the handler reads it
	})
	v := &vaultServer{core: core, keys: keys, http: &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: logger.StandardLogger(nil),
	}}
	go func() { _ = v.http.Serve(listener) }() // it returns when shut down
	return v, nil
}

// listenVault listens as Vault's own listener does: it asks clients for a
// certificate, and leaves it to the cert auth method to look at it.
func listenVault(address string, certs serverCerts) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil || certs.plain() {
		return listener, err
	}
	pair, err := tls.LoadX509KeyPair(certs.cert, certs.key)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return tls.NewListener(listener, &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{pair},
		ClientAuth:   tls.RequestClientCert,
		NextProtos:   []string{"h2", "http/1.1"},
	}), nil
}

func newCore(dir, url string, log hclog.Logger) (*vault.Core, error) {
	storage, err := file.NewFileBackend(map[string]string{"path": storeDir(dir)}, log.Named("storage"))
	if err != nil {
		return nil, err
	}
	return vault.NewCore(&vault.CoreConfig{
		Physical:           storage,
		StorageType:        "file",
		DisableMlock:       true,
		BuiltinRegistry:    builtins{},
		LogicalBackends:    secretEngines(),
		CredentialBackends: authMethods(),
		Logger:             log,
		RedirectAddr:       url,
		DefaultLeaseTTL:    longLife,
		MaxLeaseTTL:        longLife,
		ClusterName:        "keyorch-dev",
	})
}

func (v *vaultServer) stop(ctx context.Context) error {
	err := v.http.Shutdown(ctx)
	if err != nil { // somebody holds a request open
		err = v.http.Close()
	}
	return errors.Join(err, v.core.Shutdown())
}

// The engines and methods that this Vault has. Each one more is more to build.
func secretEngines() map[string]logical.Factory {
	return map[string]logical.Factory{"transit": transit.Factory, "pki": pki.Factory}
}

func authMethods() map[string]logical.Factory {
	return map[string]logical.Factory{"approle": approle.Factory, "cert": cert.Factory, "kubernetes": kubernetes.Factory}
}

// builtins is the list of plugins that Vault asks for by name; see
// secretEngines and authMethods.
type builtins struct{}

func (builtins) of(kind consts.PluginType) map[string]logical.Factory {
	switch kind {
	case consts.PluginTypeSecrets:
		return secretEngines()
	case consts.PluginTypeCredential:
		return authMethods()
	}
	return nil
}

// Contains reports whether there is a plugin of that name and kind.
func (b builtins) Contains(name string, kind consts.PluginType) bool {
	return b.of(kind)[name] != nil
}

// Get gives what makes the plugin.
func (b builtins) Get(name string, kind consts.PluginType) (func() (any, error), bool) {
	factory, ok := b.of(kind)[name]
	return func() (any, error) { return factory, nil }, ok
}

// Keys are the names of the plugins of a kind.
func (b builtins) Keys(kind consts.PluginType) []string {
	var names []string
	for name := range b.of(kind) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// DeprecationStatus is Supported for every plugin that there is.
func (b builtins) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	if !b.Contains(name, kind) {
		return consts.Unknown, false
	}
	return consts.Supported, true
}

// IsBuiltinEntPlugin is about the enterprise edition, of which nothing is here.
func (builtins) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }

// devKeys open this Vault. They are kept in clear beside it, which is only ever
// right in development.
type devKeys struct {
	Note      string `json:"note"`
	UnsealKey []byte `json:"unseal_key"` // base64
	RootToken string `json:"root_token"`
}

func storeDir(dir string) string     { return filepath.Join(dir, "store") }
func keysFile(dir string) string     { return filepath.Join(dir, "dev-keys.json") }
func initialising(dir string) string { return filepath.Join(dir, "initialising") }

// clearHalfInit removes a Vault whose process died between making its keys and
// writing them down. Nothing can be in it.
func clearHalfInit(dir string) error {
	if _, err := os.Stat(initialising(dir)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Stat(keysFile(dir)); errors.Is(err, fs.ErrNotExist) {
		if err := os.RemoveAll(storeDir(dir)); err != nil {
			return err
		}
	}
	return os.Remove(initialising(dir))
}

// initialise makes a new Vault's keys, or reads those of an old one.
func initialise(ctx context.Context, core *vault.Core, dir string) (devKeys, error) {
	var keys devKeys
	done, err := core.Initialized(ctx)
	if err != nil {
		return keys, err
	}
	if done {
		if err := readJSON(keysFile(dir), &keys); err != nil {
			return keys, fault.Wrap(fault.Invalid, err, "read the keys of the vault; without them it does not open")
		}
		return keys, nil
	}
	if err := writeFile(initialising(dir), nil); err != nil {
		return keys, err
	}
	made, err := core.Initialize(ctx, &vault.InitParams{
		BarrierConfig: &vault.SealConfig{SecretShares: 1, SecretThreshold: 1},
	})
	if err != nil {
		return keys, err
	}
	keys = devKeys{
		Note:      "development only: these keys open the vault that lies beside them",
		UnsealKey: made.SecretShares[0],
		RootToken: made.RootToken,
	}
	if err := writeJSON(keysFile(dir), keys); err != nil {
		return keys, err
	}
	return keys, os.Remove(initialising(dir))
}
