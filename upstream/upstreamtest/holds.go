package upstreamtest

import (
	"slices"
	"testing"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/upstream"
)

// holds: a receipt says that a former key is gone from the device. So a device that
// tells what it holds names the key in use, and every key that it can go back to. To
// go back to one that it did not name must be refused.
func holds(t *testing.T, x *bench) {
	old, k1 := x.key(1)
	next, k2 := x.key(2)
	x.must(x.Device.Switch(t.Context(), old, k1))
	x.must(x.Device.Switch(t.Context(), next, k2))
	held := x.observe().Holds
	if held == nil {
		if _, can := x.Device.(upstream.Resumer); can {
			t.Error("it can go back to a former key, and does not say which it holds")
		}
		return
	}
	if !slices.Contains(held, next.Ref) {
		t.Errorf("it sends with %v and says that it holds %v", next.Ref, held)
	}
	if !slices.IsSortedFunc(held, func(a, b keychain.Ref) int { return int(int64(a.Epoch) - int64(b.Epoch)) }) {
		t.Errorf("what it holds is not sorted by epoch: %v", held)
	}
	if r, can := x.Device.(upstream.Resumer); can && !slices.Contains(held, old.Ref) {
		if err := x.note(r.Resume(t.Context(), old)); !fault.Is(err, fault.Refused) {
			t.Errorf("it holds %v, and going back to %v says: %v, want refused", held, old.Ref, err)
		}
	}
}
