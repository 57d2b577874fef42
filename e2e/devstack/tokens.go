package devstack

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net/http"
	"path/filepath"
	"sync"

	"github.com/hashicorp/vault/api"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// tokenPeriod is how long a token lives when nobody renews it. Each start of the
// stack looks whether the tokens still live.
const tokenPeriod = "8760h"

// tokens hands out Vault tokens, one for each identity that needs one, and keeps them
// in the data directory so that they are the same after a restart.
type tokens struct {
	root *api.Client
	path string

	mu   sync.Mutex
	kept map[string]string
}

// prepareVault sets Vault up as "keyorch bootstrap" does.
func (s *Stack) prepareVault(ctx context.Context) error {
	s.RootToken = s.vault.keys.RootToken
	if s.empty {
		return nil
	}
	root, err := s.rootClient()
	if err != nil {
		return err
	}
	s.tokens = &tokens{root: root, path: filepath.Join(s.Data, "vault", "dev-tokens.json"), kept: map[string]string{}}
	if err := readJSON(s.tokens.path, &s.tokens.kept); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(fault.Invalid, err, "read vault tokens")
	}
	if err := s.bringAuthority(ctx, root); err != nil {
		return err
	}
	if s.admin, err = custody.Open(custody.Config{Address: s.VaultAddress, CACert: s.caFile(), Token: s.RootToken}); err != nil {
		return err
	}
	_, err = custody.Administration{Vault: s.admin}.Bootstrap(ctx, nil)
	return err
}

// rootClient talks to this stack's Vault, whatever VAULT_* the environment has.
func (s *Stack) rootClient() (*api.Client, error) {
	direct := &http.Transport{}
	if !s.plain {
		direct.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: s.authority.pool()}
	}
	client, err := api.NewClient(&api.Config{Address: s.VaultAddress, HttpClient: &http.Client{Transport: direct}})
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "open vault client for %s", s.VaultAddress)
	}
	client.ClearNamespace()
	client.SetToken(s.RootToken)
	return client, nil
}

// bringAuthority mounts PKI with the stack's own authority in it, so that what Vault
// signs opens etcd.
func (s *Stack) bringAuthority(ctx context.Context, root *api.Client) error {
	mounts, err := root.Sys().ListMountsWithContext(ctx)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "list mounts of vault")
	}
	mount := custody.Paths{}.Whole().PKI
	if mounts[mount+"/"] == nil {
		if err := root.Sys().MountWithContext(ctx, mount, &api.MountInput{Type: "pki", Config: api.MountConfigInput{MaxLeaseTTL: tokenPeriod}}); err != nil {
			return fault.Wrap(fault.Unavailable, err, "mount pki in vault")
		}
	}
	issuers, err := root.Logical().ListWithContext(ctx, mount+"/issuers")
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "list who signs in vault")
	}
	if s.plain || issuers != nil {
		return nil
	}
	bundle, err := s.authority.bundle()
	if err != nil {
		return err
	}
	_, err = root.Logical().WriteWithContext(ctx, mount+"/config/ca", map[string]any{"pem_bundle": bundle})
	return fault.Wrap(fault.Unavailable, err, "give vault the certificate authority")
}

// of gives the token of an identity: the kept one while it lives, else a new one,
// periodic and without a parent that could take it along.
func (t *tokens) of(ctx context.Context, who identity.Identity) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	name := who.CommonName()
	if token := t.kept[name]; token != "" {
		alive, err := t.alive(ctx, token)
		if err != nil {
			return "", err
		}
		if alive {
			return token, nil
		}
	}
	made, err := t.root.Auth().Token().CreateOrphanWithContext(ctx, &api.TokenCreateRequest{
		Policies: []string{custody.PolicyName(who)},
		Period:   tokenPeriod,
		// The default policy has templates, which Vault fills in anew for every
		// request: that was more than half of what a request cost.
		NoDefaultPolicy: true,
		DisplayName:     name,
	})
	if err != nil {
		return "", fault.Wrap(fault.Unavailable, err, "create vault token for %s", name)
	}
	t.kept[name] = made.Auth.ClientToken
	return made.Auth.ClientToken, writeJSON(t.path, t.kept)
}

func (t *tokens) alive(ctx context.Context, token string) (bool, error) {
	_, err := t.root.Auth().Token().LookupWithContext(ctx, token)
	if answer := (*api.ResponseError)(nil); errors.As(err, &answer) &&
		(answer.StatusCode == http.StatusForbidden || answer.StatusCode == http.StatusNotFound) {
		return false, nil
	}
	return err == nil, fault.Wrap(fault.Unavailable, err, "look up a vault token")
}
