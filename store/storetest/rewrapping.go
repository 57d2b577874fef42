package storetest

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
)

// anew is what Vault would give for a key after its KEK was rotated.
func anew(_ context.Context, _ string, keys []store.Key) ([]keychain.Wrapped, error) {
	out := make([]keychain.Wrapped, len(keys))
	for i, k := range keys {
		out[i] = k.Wrapped
		out[i].Ciphertext += "+"
	}
	return out, nil
}

// testRewrap wraps the keys of a link in flight anew: they change in the record and
// in every order, and whoever drives the link goes on from what it had read.
func testRewrap(t *testing.T, e *env) {
	s := e.open()
	d := e.drive(s, "ab", ids("a"), ids("b1", "b2"))
	d.rotate()
	d.rec.State = step(t, d.rec.State, link.Rotate{Epoch: 2, At: epochZero})
	d.commit(wrapped("ab", 2))
	before := d.rec
	n, err := s.Rewrap(e.ctx, []string{"kek-other", "kek-ab"}, anew)
	must(t, err)
	if n[0] != 0 || n[1] != 2 {
		t.Fatalf("%v keys changed, want the two of kek-ab", n)
	}
	for _, epoch := range []keychain.Epoch{1, 2} {
		old := wrapped("ab", epoch)
		next := old
		next.Ciphertext += "+"
		// The new text holds the old: whoever has the one and not the other was left out.
		if is, was := e.holders(next), e.holders(old); len(is) < 3 || len(is) != len(was) {
			t.Errorf("epoch %d: anew in %v, as before in %v", epoch, is, was)
		}
	}
	records, err := s.Records(e.ctx, []keychain.LinkID{"ab"})
	must(t, err)
	if records[0].Revision != before.Revision {
		t.Errorf("the record's revision was %d and is %d: whoever drives it would lose it", before.Revision, records[0].Revision)
	}
	d.next() // from what was read before
	keys, err := s.Keys(e.ctx)
	must(t, err)
	for _, k := range keys {
		if !strings.HasSuffix(k.Wrapped.Ciphertext, "+") {
			t.Errorf("after the next change epoch %d is wrapped as before", k.Epoch)
		}
	}
	// Teeth: a change from a revision before the last one is lost as ever.
	late := d.change(keychain.Wrapped{})
	late.Record.Revision, late.Record.Owner = before.Revision, "somebody else"
	out, err := s.Commit(e.ctx, []store.Change{late})
	must(t, err)
	wantKind(t, out[0].Err, fault.Stale)
}

// testMinting has a key that was minted before a rotation of KEKs come late.
func testMinting(t *testing.T, e *env) {
	s := e.open()
	d := e.drive(s, "ab", ids("a"), ids("b"))
	d.rotate()
	d.rec.State = step(t, d.rec.State, link.Rotate{Epoch: 2, At: epochZero})
	late := d.change(wrapped("ab", 2)) // minted at 0: before any rotation
	_, err := s.Rewrap(e.ctx, []string{"kek-ab"}, anew)
	must(t, err)
	out, err := s.Commit(e.ctx, []store.Change{late})
	must(t, err)
	wantKind(t, out[0].Err, fault.Stale)
	if holders := e.holders(wrapped("ab", 2)); len(holders) > 0 {
		t.Fatalf("the late key stands in %v", holders)
	}
	// Teeth: minted after, it is committed.
	late.MintedAt, err = s.Minting(e.ctx)
	must(t, err)
	out, err = s.Commit(e.ctx, []store.Change{late})
	must(t, err)
	must(t, out[0].Err)
}

// testRewrapRace drives links while their keys are wrapped anew all the time: no
// change is lost, and at the end every key is of the last wrapping.
func testRewrapRace(t *testing.T, e *env) {
	s := e.open()
	ctx, cancel := context.WithCancel(e.ctx)
	var rewrapping sync.WaitGroup
	rewraps := 0
	rewrapping.Go(func() {
		for ctx.Err() == nil {
			if _, err := s.Rewrap(e.ctx, []string{"kek-l1", "kek-l2", "kek-l3"}, anew); err != nil {
				t.Error(err)
				return
			}
			rewraps++
		}
	})
	var driving sync.WaitGroup
	for _, id := range []keychain.LinkID{"l1", "l2", "l3"} {
		d := e.drive(s, id, ids("a"), ids("b"))
		driving.Go(func() {
			for epoch := keychain.Epoch(1); epoch <= 20; epoch++ {
				d.rec.State = step(t, d.rec.State, link.Rotate{Epoch: epoch, At: epochZero})
				for { // as Begin does: mint again after a rotation of KEKs
					c := d.change(wrapped(id, epoch))
					var err error
					if c.MintedAt, err = s.Minting(e.ctx); err != nil {
						t.Error(err)
						return
					}
					out, err := s.Commit(e.ctx, []store.Change{c})
					if err != nil || out[0].Err != nil && !fault.Is(out[0].Err, fault.Stale) {
						t.Errorf("begin epoch %d of %s: %v, %v", epoch, id, err, out)
						return
					}
					if out[0].Err == nil {
						d.rec.Revision = out[0].Revision
						break
					}
				}
				for d.rec.State.Phase != link.Steady {
					d.rec.State = advance(t, d.rec.State)
					out, err := s.Commit(e.ctx, []store.Change{d.change(keychain.Wrapped{})})
					if err != nil || out[0].Err != nil {
						t.Errorf("%s lost its link in %v: %v, %v", id, d.rec.State.Phase, err, out)
						return
					}
					d.rec.Revision = out[0].Revision
				}
			}
		})
	}
	driving.Wait()
	cancel()
	rewrapping.Wait()
	if rewraps < 3 {
		t.Errorf("keys were wrapped anew %d times: too few to race", rewraps)
	}
	_, err := s.Rewrap(e.ctx, []string{"kek-l1", "kek-l2", "kek-l3"}, anew)
	must(t, err)
	keys, err := s.Keys(e.ctx)
	must(t, err)
	for _, k := range keys {
		if !strings.HasSuffix(k.Wrapped.Ciphertext, "+") {
			t.Errorf("epoch %d of %s is wrapped as it was minted", k.Epoch, k.Link)
		}
	}
}
