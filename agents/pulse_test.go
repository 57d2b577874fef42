package agents

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/store"
)

// TestReadyWhenItServesOrWaits: an agent that waits for another is as ready as it
// can be, or a rolling update would never end; one that may get its node the next
// moment is not, or the update would go on too early.
func TestReadyWhenItServesOrWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		other := &tenure{w: w, node: "n2", who: store.Agent{Instance: "another"}, done: make(chan struct{})}
		w.holder["n2"] = other
		if err := (&Pulse{}).Ready(); !fault.Is(err, fault.Unavailable) {
			t.Error("ready before it knows its nodes:", err)
		}
		a := w.start(t.TempDir(), w.device("n1").node(), w.device("n2").node())
		defer a.stop()
		synctest.Wait()
		if w.holder["n1"] == nil || !fault.Is(a.pulse.Ready(), fault.Unavailable) {
			t.Error("ready while the second node may be free:", a.pulse.Ready())
		}
		time.Sleep(soon)
		if err := a.pulse.Ready(); err != nil {
			t.Error("not ready while another has the node:", err)
		}
		w.change(func() { delete(w.holder, "n2") })
		synctest.Wait()
		if err := a.pulse.Ready(); err != nil || w.holder["n2"] == nil || w.holder["n2"] == other {
			t.Error("not ready with both nodes:", err)
		}
	})
}

// TestTroubleOutsideIsNoReasonForARestart, and a loop that stands is.
func TestTroubleOutsideIsNoReasonForARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		d.hang = make(chan struct{})
		a := w.start(t.TempDir(), d.node())
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3)})
		w.until(t.Context(), func() bool { return d.hung == 1 })
		w.change(func() { w.etcdAway, w.vaultAway = true, true })
		time.Sleep(time.Hour)
		if err := a.pulse.Live(); err != nil {
			t.Error("etcd and Vault are away and the device hangs:", err)
		}
		d.set(func() { close(d.hang); d.hang = nil })
		a.stop()
		stuck := &Pulse{}
		stuck.turn(true)
		time.Sleep(stuckTime + time.Second)
		if err := stuck.Live(); !fault.Is(err, fault.Unavailable) {
			t.Error("a loop that stands is alive:", err)
		}
		stuck.turn(false)
		if err := stuck.Live(); err != nil {
			t.Error("an agent that has stopped is stuck:", err)
		}
	})
}
