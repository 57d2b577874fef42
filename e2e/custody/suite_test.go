package custody_test

import (
	"testing"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/custody/custodytest"
)

// named is a real Vault where everybody has a token of one policy.
type named struct {
	*server
	root   *custody.Custody
	tokens map[string]string
}

// As is a token with a policy.
func (n named) As(t *testing.T, name, policy string) *custody.Custody {
	t.Helper()
	must(t, n.root.WritePolicy(t.Context(), name, policy))
	var made struct {
		Auth struct {
			Token string `json:"client_token"`
		} `json:"auth"`
	}
	n.ask(t, n.rootToken, "POST", "auth/token/create", map[string]any{"policies": []string{name}, "no_default_policy": true, "no_parent": true}, &made)
	n.tokens[name] = made.Auth.Token
	return n.open(t, custody.Config{Token: made.Auth.Token})
}

// End revokes it.
func (n named) End(t *testing.T, name string) {
	t.Helper()
	if code := n.raw(t, n.rootToken, "POST", "auth/token/revoke", map[string]any{"token": n.tokens[name]}); code != 204 {
		t.Fatalf("revoke a token: status %d", code)
	}
}

// TestVault runs the suite on a real Vault.
func TestVault(t *testing.T) {
	custodytest.Run(t, func(t *testing.T) custodytest.Vault {
		s := startVault(t)
		s.bootstrapped(t)
		return named{s, s.root(t), map[string]string{}}
	})
}
