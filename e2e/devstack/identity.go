package devstack

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"sync"

	"github.com/hashicorp/vault/api"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// The identities that Env and WriteEnv know, beside those of the agents, which
// are AgentIdentity(site).
const (
	Operator = "operator"
	Worker   = "worker"
)

const (
	agentIdentity = "agent."
	transitMount  = "transit"
	// tokenPeriod is how long a token lives when nobody renews it. Each start of
	// the stack looks whether the tokens still live.
	tokenPeriod = "8760h"
)

// AgentIdentity is the identity of the agents of site.
func AgentIdentity(site keychain.SiteID) string { return agentIdentity + string(site) }

// identities hands out Vault tokens, one for each identity, and keeps them in
// the data directory so that they are the same after a restart.
type identities struct {
	root *api.Client
	path string

	mu     sync.Mutex
	tokens map[string]string
}

// openIdentities mounts Transit, writes the policies of worker and operator,
// and sees to it that both have a token that lives.
func openIdentities(ctx context.Context, dir, address string, keys devKeys) (*identities, error) {
	root, err := vaultClient(address, keys.RootToken)
	if err != nil {
		return nil, err
	}
	ids := &identities{root: root, path: filepath.Join(dir, "vault", "dev-tokens.json"), tokens: map[string]string{}}
	if err := readJSON(ids.path, &ids.tokens); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(fault.Invalid, err, "read vault tokens")
	}
	if err := ids.mountTransit(ctx); err != nil {
		return nil, err
	}
	as, err := custody.Open(custody.Config{Address: address, Token: keys.RootToken, Mount: transitMount})
	if err != nil {
		return nil, err
	}
	for identity, hcl := range map[string]string{
		Worker:   custody.WorkerPolicy(transitMount),
		Operator: custody.OperatorPolicy(transitMount),
	} {
		if err := as.WritePolicy(ctx, policyOf(identity), hcl); err != nil {
			return nil, err
		}
		if _, err := ids.token(ctx, identity); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// vaultClient talks to this stack's Vault, whatever VAULT_* the environment has.
func vaultClient(address, token string) (*api.Client, error) {
	client, err := api.NewClient(&api.Config{Address: address, HttpClient: &http.Client{Transport: &http.Transport{}}})
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "open vault client for %s", address)
	}
	client.ClearNamespace()
	client.SetToken(token)
	return client, nil
}

func (ids *identities) mountTransit(ctx context.Context) error {
	mounts, err := ids.root.Sys().ListMountsWithContext(ctx)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "list mounts of vault")
	}
	if mounts[transitMount+"/"] != nil {
		return nil
	}
	err = ids.root.Sys().MountWithContext(ctx, transitMount, &api.MountInput{Type: "transit"})
	return fault.Wrap(fault.Unavailable, err, "mount transit in vault")
}

// policyOf is the name of an identity's policy. An agent's is custody's.
func policyOf(identity string) string {
	if site, ok := strings.CutPrefix(identity, agentIdentity); ok {
		return custody.AgentPolicyName(keychain.SiteID(site))
	}
	return "keyorch-" + identity
}

// token gives the token of an identity: the kept one while it lives, else a new
// one, periodic and without a parent that could take it along.
func (ids *identities) token(ctx context.Context, identity string) (string, error) {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	if token := ids.tokens[identity]; token != "" {
		alive, err := ids.alive(ctx, token)
		if err != nil {
			return "", err
		}
		if alive {
			return token, nil
		}
	}
	made, err := ids.root.Auth().Token().CreateOrphanWithContext(ctx, &api.TokenCreateRequest{
		Policies: []string{policyOf(identity)},
		Period:   tokenPeriod,
		// The default policy has templates, which Vault fills in anew for every
		// request: that was more than half of what a request cost.
		NoDefaultPolicy: true,
		DisplayName:     "keyorch-" + identity,
	})
	if err != nil {
		return "", fault.Wrap(fault.Unavailable, err, "create vault token for %s", identity)
	}
	ids.tokens[identity] = made.Auth.ClientToken
	return made.Auth.ClientToken, writeJSON(ids.path, ids.tokens)
}

func (ids *identities) alive(ctx context.Context, token string) (bool, error) {
	_, err := ids.root.Auth().Token().LookupWithContext(ctx, token)
	if answer := (*api.ResponseError)(nil); errors.As(err, &answer) &&
		(answer.StatusCode == http.StatusForbidden || answer.StatusCode == http.StatusNotFound) {
		return false, nil
	}
	return err == nil, fault.Wrap(fault.Unavailable, err, "look up a vault token")
}
