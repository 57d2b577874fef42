package custody

import "testing"

// Pretended is the fake Vault as the suite sees it.
type Pretended struct{ *fakeVault }

// NewPretended starts one.
func NewPretended(t *testing.T) Pretended { return Pretended{newVault(t)} }

// As is a token with a policy, which is named like it.
func (p Pretended) As(t *testing.T, name, policy string) *Custody { return p.as(t, name, policy) }

// End ends a token.
func (p Pretended) End(_ *testing.T, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.policies, name)
}
