package custody_test

import (
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/physical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/identity/identitytest"
	"github.com/keyorch/keyorch/keychain"
)

// TestFailover has an agent talk to a standby, which sends it to the active node, and
// goes on when that one is gone and the standby takes over.
func TestFailover(t *testing.T) {
	log := hclog.NewNullLogger()
	storage, err := inmem.NewInmem(nil, log)
	must(t, err)
	lock, err := inmem.NewInmemHA(nil, log)
	must(t, err)
	ha, ok := lock.(physical.HABackend)
	if !ok {
		t.Fatal("no lock for high availability")
	}
	ca := identitytest.NewAuthority(t)
	first := newServer(t, ca, storage, ha)
	want(t, first.open(t, custody.Config{}).Ping(t.Context()), fault.Unavailable, "it is not initialised")
	made, err := first.core.Initialize(t.Context(), &vault.InitParams{BarrierConfig: &vault.SealConfig{SecretShares: 1, SecretThreshold: 1}})
	must(t, err)
	first.rootToken, first.unsealKey = made.RootToken, made.SecretShares[0]
	second := newServer(t, ca, storage, ha)
	second.rootToken, second.unsealKey = first.rootToken, first.unsealKey
	want(t, second.open(t, custody.Config{}).Ping(t.Context()), fault.Unavailable, "sealed")
	first.unseal(t)
	first.untilActive(t)
	second.unseal(t)

	a := first.bootstrapped(t)
	must(t, a.Vault.EnsureKEK(t.Context(), kek))
	agent := second.as(t, a, identity.OfSite("dc2"), kek) // all of it through the standby
	must(t, agent.Ping(t.Context()))
	key, err := a.Vault.Mint(t.Context(), theLink, 4, []keychain.SiteID{"dc1", "dc2"})
	must(t, err)
	before, err := agent.Unwrap(t.Context(), theLink, 4, key)
	must(t, err)

	first.stop()
	_, err = agent.Unwrap(t.Context(), theLink, 4, key)
	if err != nil && !fault.Is(err, fault.Unavailable) {
		t.Errorf("while nobody is active: %v (%v), want Unavailable, which is tried again", err, fault.Of(err))
	}
	t.Log("while nobody is active:", err)
	second.untilActive(t)
	after, err := agent.Unwrap(t.Context(), theLink, 4, key) // with the same token
	must(t, err)
	if !before.Equal(after) {
		t.Error("another key")
	}
}

func (s *server) untilActive(t *testing.T) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if standby, err := s.core.Standby(); err == nil && !standby && !s.core.Sealed() {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it does not become active")
		}
	}
}
