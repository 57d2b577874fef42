package agents

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// forgets is an etcd that was emptied: its orders and reports are gone, and the right to
// serve is too.
func (w *world) forgets(node keychain.NodeID) {
	w.change(func() { delete(w.orders, node); delete(w.obs, node) })
	w.expire(node)
}

// TestWhatEtcdHasForgottenIsToldAgain empties etcd: the agent tells what it holds by
// itself, touches nothing, and answers a recovery with its last order.
func TestWhatEtcdHasForgottenIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		a := w.start(t.TempDir(), d.node())
		defer a.stop()
		order := store.Order{Node: "n1", Link: theLink, Turn: 7, Accept: w.wants(theLink, 3, 4), Send: w.want(theLink, 3)}
		w.order(order)
		w.reported("n1", theLink, atTurn(7))
		did := len(d.ops)
		w.forgets("n1")
		if o := w.reported("n1", theLink, atTurn(7)); !slices.Equal(epochs(o.Accepts), []keychain.Epoch{3, 4}) || o.Sends.Epoch != 3 {
			t.Errorf("told %+v", o)
		}
		w.change(func() {
			w.inquiries["n1"] = []store.Inquiry{{ID: "q", Links: []store.Asked{{Link: theLink, Accepts: true, Sends: true}, {Link: "another", Accepts: true}}}}
		})
		w.until(t.Context(), func() bool { return len(w.said) == 2 })
		got, other := w.said[0], w.said[1]
		if got.Inquiry != "q" || got.Turn != 7 || !got.Noted || got.Send != order.Send || !slices.Equal(got.Accept, order.Accept) ||
			!slices.Equal(epochs(got.Accepts), []keychain.Epoch{3, 4}) || got.Sends.Epoch != 3 {
			t.Errorf("testified %+v", got)
		}
		if other.Link != "another" || other.Turn != 0 || other.Noted || other.Blind != "" {
			t.Errorf("of a link that it never had: %+v", other)
		}
		if len(d.ops) != did {
			t.Errorf("did %q", d.ops[did:])
		}
	})
}

// TestAnotherOrderOfTheSameTurnIsRefused has an etcd that was put back hand out a Turn
// for the second time, with other keys.
func TestAnotherOrderOfTheSameTurnIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		a := w.start(t.TempDir(), d.node())
		defer a.stop()
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 7, Accept: w.wants(theLink, 3, 4), Send: w.want(theLink, 4)})
		w.reported("n1", theLink, atTurn(7))
		did := len(d.ops)
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 7, Accept: w.wants(theLink, 3), Send: w.want(theLink, 3)})
		w.reported("n1", theLink, withFault(fault.Stale))
		if len(d.ops) != did {
			t.Errorf("did %q", d.ops[did:])
		}
	})
}

// TestAKeyThatNobodyCanSupply is kept where it is, and not waited for where it is not.
func TestAKeyThatNobodyCanSupply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		a := w.start(t.TempDir(), d.node())
		defer a.stop()
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3)})
		w.reported("n1", theLink, atTurn(1))
		bare := w.want(theLink, 3)
		bare.Wrapped, bare.KCV = keychain.Wrapped{}, w.report("n1", theLink).Accepts[0].KCV
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 2, Accept: append([]store.Wanted{bare}, w.wants(theLink, 4)...)})
		if o := w.reported("n1", theLink, atTurn(2)); !slices.Equal(epochs(o.Accepts), []keychain.Epoch{3, 4}) {
			t.Errorf("reported %+v", o)
		}
		d.reboot()
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 3, Accept: append([]store.Wanted{bare}, w.wants(theLink, 4)...)})
		if o := w.reported("n1", theLink, atTurn(3)); !slices.Equal(epochs(o.Accepts), []keychain.Epoch{4}) {
			t.Errorf("after it has lost the key: reported %+v", o)
		}
	})
}
