package custody

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// mintMany mints keys of epochs 1 to n.
func mintMany(t *testing.T, worker *Custody, n int) []keychain.Wrapped {
	t.Helper()
	var all []keychain.Wrapped
	for e := range n {
		w, err := worker.Mint(t.Context(), link, keychain.Epoch(e+1), sites)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	return all
}

// openAll hands all keys to one request, as callers do that come within
// gatherTime.
func openAll(t *testing.T, c *Custody, all []keychain.Wrapped) []opened {
	t.Helper()
	var batch []*opening
	for i, w := range all {
		e := keychain.Epoch(i + 1)
		d, err := derivation(link, e, w.KEK)
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, &opening{ctx: t.Context(), link: link, epoch: e, wrapped: w, derivation: d, done: make(chan opened, 1)})
	}
	c.open(batch)
	var out []opened
	for _, o := range batch {
		out = append(out, <-o.done)
	}
	return out
}

func wantKeys(t *testing.T, v *fakeVault, out []opened, but ...int) {
	t.Helper()
	for i, r := range out {
		if slices.Contains(but, i) {
			continue
		}
		if r.err != nil || !r.key.Equal(secret.New(bytes.Clone(v.minted[i]))) {
			t.Errorf("key %d: %v, or another key", i, r.err)
		}
	}
}

func TestKeysUnderOneKEKAreOpenedTogether(t *testing.T) {
	v, worker, agent := ready(t)
	all := mintMany(t, worker, 40)
	wantKeys(t, v, openAll(t, agent, all))
	if !slices.Equal(v.batches, []int{40}) || v.singles != 0 {
		t.Errorf("requests of %v keys and %d of one, want one of 40", v.batches, v.singles)
	}
}

func TestCallersShareRequests(t *testing.T) {
	v, worker, agent := ready(t)
	all := mintMany(t, worker, mostTogether+20)
	out := make([]opened, len(all))
	var wg sync.WaitGroup
	for i, w := range all {
		wg.Go(func() { out[i].key, out[i].err = agent.Unwrap(t.Context(), link, keychain.Epoch(i+1), w) })
	}
	wg.Wait()
	wantKeys(t, v, out)
	if n := len(v.batches) + v.singles; n >= len(all) || slices.ContainsFunc(v.batches, func(n int) bool { return n > mostTogether }) {
		t.Errorf("requests of %v keys and %d of one", v.batches, v.singles)
	}
}

func TestOneKeysTroubleIsItsOwn(t *testing.T) {
	for name, old := range map[string]bool{"a vault that tells of each": false, "a vault that refuses them all": true} {
		t.Run(name, func(t *testing.T) {
			v, worker, agent := ready(t)
			v.old = old
			all := mintMany(t, worker, 10)
			all[3].Ciphertext = "vault:v1:AAAA"
			all[5], all[6] = all[6], all[5] // each of another epoch
			out := openAll(t, agent, all)
			wantKeys(t, v, out, 3, 5, 6)
			for _, i := range []int{3, 5, 6} {
				wantKind(t, out[i].err, fault.Mismatch, "the wrapped key is not of this link and epoch")
			}
			if want := map[bool]int{false: 3, true: 10}[old]; v.singles != want {
				t.Errorf("%d requests for one key, want %d", v.singles, want)
			}
		})
	}
}

func TestWhatConcernsAllIsToldAll(t *testing.T) {
	v, worker, agent := ready(t)
	all := mintMany(t, worker, 10)
	asked := 0
	v.setBefore(func(rw http.ResponseWriter, _ *http.Request) bool {
		asked++
		answer(rw, 503, map[string]any{"errors": []string{"sealed: " + string(v.lastMinted())}})
		return true
	})
	for _, r := range openAll(t, agent, all) {
		wantKind(t, r.err, fault.Unavailable, "sealed or not ready")
		checkCanary(t, r.err, v.lastMinted())
	}
	if asked != 1 {
		t.Errorf("asked a sealed vault %d times", asked)
	}
	// A garbled answer may be one key's doing: each is asked for by itself.
	v.setBefore(func(rw http.ResponseWriter, _ *http.Request) bool {
		_, _ = rw.Write([]byte(`{"data":{"batch_results":[{"plaintext":"!"`))
		return true
	})
	for _, r := range openAll(t, agent, all) {
		wantKind(t, r.err, fault.Unavailable, "does not speak like Vault")
	}
}

// Whoever leaves gets no key, and nobody keeps it for him.
func TestTheKeyOfACallerWhoLeftIsWiped(t *testing.T) {
	key := secret.New(bytes.Repeat([]byte{7}, secret.Size))
	o := &opening{done: make(chan opened, 1)}
	o.left.Store(true)
	o.answer(opened{key: key})
	if !wiped(key) {
		t.Error("the key is still there")
	}
	kept := secret.New(bytes.Repeat([]byte{7}, secret.Size)) // the teeth
	(&opening{done: make(chan opened, 1)}).answer(opened{key: kept})
	if wiped(kept) {
		t.Error("the key of a caller who waits was wiped")
	}
}

func wiped(k secret.Key) bool {
	var left bool
	_ = k.Use(func(b []byte) error {
		left = slices.ContainsFunc(b, func(c byte) bool { return c != 0 })
		return nil
	})
	return !left
}

func TestTheRequestEndsWithItsLastCaller(t *testing.T) {
	v, worker, agent := ready(t)
	all := mintMany(t, worker, 3)
	ctx, cancel := context.WithCancel(t.Context())
	v.setBefore(func(_ http.ResponseWriter, r *http.Request) bool {
		cancel()
		hang(r)
		return true
	})
	var wg sync.WaitGroup
	for i, w := range all {
		wg.Go(func() {
			_, err := agent.Unwrap(ctx, link, keychain.Epoch(i+1), w)
			if !fault.Is(err, fault.Unavailable) || !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	v.Server.Close() // it waits for requests: the abandoned one has ended
}

func TestObserveIsToldOfEveryRequest(t *testing.T) {
	v, worker, agent := ready(t)
	var mu sync.Mutex
	told := map[string]int{}
	observe := func(op string, _ time.Duration, err error) {
		mu.Lock()
		defer mu.Unlock()
		if told[op]++; err != nil {
			told["trouble"]++
		}
	}
	worker.observe, agent.observe = observe, observe
	all := mintMany(t, worker, 4)
	openAll(t, agent, all)
	v.Close()
	_, _ = worker.Mint(t.Context(), link, 9, sites)
	if told[OpMint] != 5 || told[OpUnwrap] != 1 || told["trouble"] != 1 {
		t.Errorf("told %v", told)
	}
}
