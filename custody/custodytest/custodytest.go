// Package custodytest is the suite that shows what package custody promises of keys
// and KEKs. It runs on a real Vault, and on the one that the unit tests of custody
// pretend: so what those show is true of Vault too.
package custodytest

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// Vault is one that Transit is mounted in.
type Vault interface {
	// As is somebody with a token of one policy, which is written for it.
	As(t *testing.T, name, policy string) *custody.Custody
	// End ends the token of name.
	End(t *testing.T, name string)
}

const (
	theLink = keychain.LinkID("dc1-dc2")
	kek     = "keyorch-sites-dc1.dc2"
)

func bothSites() []keychain.SiteID { return []keychain.SiteID{"dc2", "dc1"} }

// env is a Vault with everybody on it, and one key.
type env struct {
	Vault
	worker, operator, agent *custody.Custody
	key                     keychain.Wrapped
}

// Run runs the suite; each test has a Vault of its own.
func Run(t *testing.T, start func(t *testing.T) Vault) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *env)
	}{
		{"a key opens for its link and epoch alone", testContext},
		{"keys are opened together", testTogether},
		{"everybody may what their policy says", testPolicies},
		{"a KEK is created once, and checked", testKEK},
		{"a rotated KEK opens old keys until it is retired", testRotation},
		{"a key is wrapped anew as what it is", testRewrap},
		{"a token that has ended is told from one that may not", testEnded},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &env{Vault: start(t)}
			e.operator = e.As(t, "keyorch-operator", custody.OperatorPolicy(""))
			e.worker = e.As(t, "keyorch-worker", custody.WorkerPolicy(""))
			e.agent = e.As(t, "keyorch-agent.dc2", custody.AgentPolicy("", []string{kek}))
			must(t, e.operator.EnsureKEK(t.Context(), kek))
			var err error
			e.key, err = e.worker.Mint(t.Context(), theLink, 4, bothSites())
			must(t, err)
			c.test(t, e)
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, err error, kind fault.Kind, text string) {
	t.Helper()
	if !fault.Is(err, kind) || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v (%v), want %v with %q", err, fault.Of(err), kind, text)
	}
}

func testContext(t *testing.T, e *env) {
	key, err := e.agent.Unwrap(t.Context(), theLink, 4, e.key)
	must(t, err)
	for _, c := range []struct {
		link  keychain.LinkID
		epoch keychain.Epoch
	}{{theLink, 5}, {"dc2-dc1", 4}} {
		_, err := e.agent.Unwrap(t.Context(), c.link, c.epoch, e.key)
		want(t, err, fault.Mismatch, "not of this link and epoch")
	}
	again, err := e.worker.Mint(t.Context(), theLink, 4, bothSites())
	must(t, err)
	other, err := e.agent.Unwrap(t.Context(), theLink, 4, again)
	must(t, err)
	if key.Equal(other) {
		t.Error("minting again gave the same key")
	}
}

func testTogether(t *testing.T, e *env) {
	wrapped := make([]keychain.Wrapped, 30)
	for i := range wrapped {
		var err error
		wrapped[i], err = e.worker.Mint(t.Context(), theLink, keychain.Epoch(i+1), bothSites())
		must(t, err)
	}
	wrapped[7], wrapped[8] = wrapped[8], wrapped[7] // each of another epoch
	var opening sync.WaitGroup
	for i, w := range wrapped {
		opening.Go(func() {
			_, err := e.agent.Unwrap(t.Context(), theLink, keychain.Epoch(i+1), w)
			switch {
			case i == 7 || i == 8:
				want(t, err, fault.Mismatch, "not of this link and epoch")
			case err != nil:
				t.Errorf("key %d: %v", i, err)
			}
		})
	}
	opening.Wait()
}

func testPolicies(t *testing.T, e *env) {
	const no = "the token's policy does not allow it"
	_, err := e.worker.Unwrap(t.Context(), theLink, 4, e.key)
	want(t, err, fault.Refused, no)
	_, err = e.operator.Unwrap(t.Context(), theLink, 4, e.key)
	want(t, err, fault.Refused, no)
	_, err = e.agent.Mint(t.Context(), theLink, 5, bothSites())
	want(t, err, fault.Refused, no)
	_, err = e.operator.Mint(t.Context(), theLink, 5, bothSites())
	want(t, err, fault.Refused, no)
	_, err = e.worker.RotateKEK(t.Context(), kek)
	want(t, err, fault.Refused, no)
	other := e.As(t, "keyorch-agent.dc3", custody.AgentPolicy("", []string{"keyorch-sites-dc2.dc3"}))
	_, err = other.Unwrap(t.Context(), theLink, 4, e.key)
	want(t, err, fault.Refused, no)
	// Teeth: with the KEK in the policy it does open.
	must(t, e.operator.WritePolicy(t.Context(), "keyorch-agent.dc3", custody.AgentPolicy("", []string{kek})))
	_, err = other.Unwrap(t.Context(), theLink, 4, e.key)
	must(t, err)
}

func testKEK(t *testing.T, e *env) {
	for range 2 {
		must(t, e.operator.EnsureKEK(t.Context(), kek))
	}
	state, err := e.operator.KEKState(t.Context(), kek)
	must(t, err)
	if (state != custody.KEKState{Name: kek, Latest: 1, Opens: 1, Kept: 1}) {
		t.Errorf("a new KEK is %+v", state)
	}
	_, err = e.operator.KEKState(t.Context(), "keyorch-site-none")
	want(t, err, fault.Refused, "there is none")
	_, err = e.worker.Mint(t.Context(), theLink, 5, []keychain.SiteID{"none"})
	want(t, err, fault.Refused, "no key of that name")
}

func testRotation(t *testing.T, e *env) {
	state, err := e.operator.RotateKEK(t.Context(), kek)
	must(t, err)
	if state.Latest != 2 || state.Opens != 1 {
		t.Fatalf("after a rotation it is %+v", state)
	}
	next, err := e.worker.Mint(t.Context(), theLink, 5, bothSites())
	must(t, err)
	if custody.Version(e.key) != 1 || custody.Version(next) != 2 {
		t.Errorf("versions %d and %d, want 1 and 2", custody.Version(e.key), custody.Version(next))
	}
	_, err = e.agent.Unwrap(t.Context(), theLink, 4, e.key)
	must(t, err)
	must(t, e.operator.RetireKEK(t.Context(), kek, 2))
	_, err = e.agent.Unwrap(t.Context(), theLink, 4, e.key)
	want(t, err, fault.Refused, "under version 1 of "+kek+", which is retired")
	_, err = e.agent.Unwrap(t.Context(), theLink, 5, next)
	must(t, err)
	// It can be taken back until the next rotation, which destroys it.
	must(t, e.operator.RetireKEK(t.Context(), kek, 1))
	_, err = e.agent.Unwrap(t.Context(), theLink, 4, e.key)
	must(t, err)
	must(t, e.operator.RetireKEK(t.Context(), kek, 2))
	state, err = e.operator.RotateKEK(t.Context(), kek)
	must(t, err)
	if state.Latest != 3 || state.Opens != 2 || state.Kept != 2 {
		t.Errorf("after the next rotation it is %+v", state)
	}
	if err := e.operator.RetireKEK(t.Context(), kek, 1); err == nil {
		t.Error("a version that was destroyed is back")
	}
}

func testRewrap(t *testing.T, e *env) {
	_, err := e.operator.RotateKEK(t.Context(), kek)
	must(t, err)
	sealed := custody.Sealed{Link: theLink, Epoch: 4, Wrapped: e.key}
	anew, err := e.worker.Rewrap(t.Context(), kek, []custody.Sealed{sealed, sealed})
	must(t, err)
	before, err := e.agent.Unwrap(t.Context(), theLink, 4, e.key)
	must(t, err)
	for _, w := range anew {
		after, err := e.agent.Unwrap(t.Context(), theLink, 4, w)
		must(t, err)
		if custody.Version(w) != 2 || !before.Equal(after) {
			t.Errorf("wrapped anew under version %d, another key: %v", custody.Version(w), !before.Equal(after))
		}
	}
	_, err = e.agent.Unwrap(t.Context(), theLink, 5, anew[0]) // the context is kept
	want(t, err, fault.Mismatch, "not of this link and epoch")
	sealed.Epoch = 5
	_, err = e.worker.Rewrap(t.Context(), kek, []custody.Sealed{sealed})
	want(t, err, fault.Mismatch, "rewrap epoch 5 of dc1-dc2")
	opens := func(keys ...custody.Sealed) []bool {
		opens, err := e.worker.Opens(t.Context(), kek, keys)
		must(t, err)
		return opens
	}
	old := custody.Sealed{Link: theLink, Epoch: 4, Wrapped: e.key}
	if got := opens(old, sealed, old); !slices.Equal(got, []bool{true, false, true}) {
		t.Errorf("of a key, one that is of another epoch, and the key: %v can be opened", got)
	}
	must(t, e.operator.RetireKEK(t.Context(), kek, 2))
	if got := opens(old, custody.Sealed{Link: theLink, Epoch: 4, Wrapped: anew[0]}); !slices.Equal(got, []bool{false, true}) {
		t.Errorf("of one under a retired version, and one under the latest: %v can be opened", got)
	}
	_, err = e.worker.Opens(t.Context(), "keyorch-site-nowhere", []custody.Sealed{{Link: theLink, Epoch: 4, Wrapped: keychain.Wrapped{KEK: "keyorch-site-nowhere", Ciphertext: e.key.Ciphertext}}})
	want(t, err, fault.Refused, "no key of that name")
	_, err = e.worker.Rewrap(t.Context(), kek, []custody.Sealed{{Link: theLink, Epoch: 4, Wrapped: e.key}})
	want(t, err, fault.Refused, "which is retired")
	_, err = e.agent.Rewrap(t.Context(), kek, []custody.Sealed{{Link: theLink, Epoch: 4, Wrapped: e.key}})
	want(t, err, fault.Refused, "does not allow it")
}

func testEnded(t *testing.T, e *env) {
	must(t, e.agent.Login(t.Context()))
	e.End(t, "keyorch-agent.dc2")
	_, err := e.agent.Unwrap(t.Context(), theLink, 4, e.key)
	want(t, err, fault.Refused, "the token has ended")
	want(t, e.agent.Login(t.Context()), fault.Refused, "VAULT_TOKEN has ended")
	_, err = e.worker.Unwrap(t.Context(), theLink, 4, e.key)
	want(t, err, fault.Refused, "the token's policy does not allow it")
}
