package agents

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// truthful looks at every receipt at the moment at which it is written: the device does
// not have the key, and no copy of it is left in the memory of any agent.
func truthful(t *testing.T, w *world, devices ...*device) func(audit.Record) {
	return func(r audit.Record) {
		if r.Kind != audit.Receipt {
			return
		}
		for _, d := range devices {
			if p := d.port(r.Link); d.id == r.Node && (p.accepts[r.Epoch] != "" || p.sends.Epoch == r.Epoch || p.held[r.Epoch] != "") {
				t.Errorf("a receipt for epoch %d of %s, which has %+v", r.Epoch, d.id, *p)
			}
		}
		for i, g := range w.openedAs {
			if g == (generation{r.Link, r.Epoch}) && !wiped(w.opened[i]) {
				t.Errorf("a receipt of %s for epoch %d, which is in memory", r.Node, r.Epoch)
			}
		}
		if o := w.orders[r.Node][r.Link]; o.Turn == r.Turn && names(o, r.Epoch) {
			t.Errorf("a receipt for epoch %d, which is in the order %+v", r.Epoch, o)
		}
		if r.Site != theSite || r.Outcome != "" {
			t.Errorf("the receipt is %+v", r)
		}
	}
}

// receipted sees that there is a receipt of every key that a device ever got and that it
// neither has nor is to have.
func receipted(t *testing.T, w *world, devices ...*device) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range devices {
		p := d.port(theLink)
		for epoch := keychain.Epoch(1); epoch < 20; epoch++ {
			got := slices.ContainsFunc(d.ops, func(op string) bool {
				return op == fmt.Sprintf("install %s %d", theLink, epoch) || op == fmt.Sprintf("switch %s %d", theLink, epoch)
			})
			has := p.held[epoch] != "" || p.accepts[epoch] != "" || names(w.orders[d.id][theLink], epoch)
			if n := len(w.receiptsOf(d.id, epoch)); got && !has && n == 0 {
				t.Errorf("no receipt of %s for epoch %d", d.id, epoch)
			}
		}
	}
}

// receiptsOf are those of one node for one epoch of theLink. The caller holds w.mu.
func (w *world) receiptsOf(node keychain.NodeID, epoch keychain.Epoch) []audit.Record {
	return slices.DeleteFunc(slices.Clone(w.trail), func(r audit.Record) bool {
		return r.Kind != audit.Receipt || r.Node != node || r.Link != theLink || r.Epoch != epoch
	})
}

// told are the records of a kind so far.
func (w *world) told(k audit.Kind) []audit.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.trail), func(r audit.Record) bool { return r.Kind != k })
}

// rotated is a world in which n1 has obeyed orders to accept and send epoch 3, then to
// accept 4 too, then to send with 4, and is told to forget 3.
func rotated(w *world, node keychain.NodeID) {
	for _, o := range []store.Order{
		{Turn: 1, Accept: w.wants(theLink, 3), Send: w.want(theLink, 3)},
		{Turn: 2, Accept: w.wants(theLink, 3, 4), Send: w.want(theLink, 3)},
		{Turn: 3, Accept: w.wants(theLink, 3, 4), Send: w.want(theLink, 4)},
	} {
		o.Node, o.Link = node, theLink
		w.order(o)
		w.reported(node, theLink, atTurn(o.Turn))
	}
}

func forgets(w *world, node keychain.NodeID) store.Order {
	return store.Order{Node: node, Link: theLink, Turn: 4, Accept: w.wants(theLink, 4), Send: w.want(theLink, 4)}
}

func TestAReceiptSaysWhatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		w.onRecord = truthful(t, w, d)
		a := w.start(t.TempDir(), d.node())
		rotated(w, "n1")
		time.Sleep(time.Hour)
		if got := w.told(audit.Receipt); len(got) > 0 {
			t.Fatalf("while epoch 3 is accepted: %+v", got)
		}
		kcv := w.report("n1", theLink).Accepted(3).KCV
		w.order(forgets(w, "n1"))
		w.reported("n1", theLink, atTurn(4))
		time.Sleep(time.Hour)
		a.stop()
		got := w.told(audit.Receipt)
		if len(got) != 1 || got[0].Epoch != 3 || got[0].KCV != kcv || got[0].Turn != 4 || got[0].Node != "n1" || got[0].Link != theLink {
			t.Fatalf("receipts %+v", got)
		}
		for what, says := range map[string]string{
			"device": "read back: it accepts 4 (", "memory": "wiped", "record": "the order of turn 4 names it no more",
		} {
			if !strings.HasPrefix(got[0].Details[what], says) {
				t.Errorf("of the %s it says %q", what, got[0].Details[what])
			}
		}
		if held := w.report("n1", theLink).Held; len(held) != 1 || held[0].Epoch != 4 || !held[0].Accepts || !held[0].Sends {
			t.Errorf("it holds %+v", held)
		}
	})
}

// Whatever of the three is not so keeps the receipt from being written, and it comes when
// it is so.
func TestNoReceiptBeforeItIsTrue(t *testing.T) {
	for _, c := range []struct {
		name   string
		breaks func(w *world, d *device)
		mends  func(w *world, d *device)
	}{
		{"the device keeps the key", func(_ *world, d *device) { d.set(func() { d.clings = true }) },
			func(_ *world, d *device) { d.set(func() { d.clings = false }) }},
		{"the device is away", func(_ *world, d *device) { d.set(func() { d.fail = errAway }) },
			func(_ *world, d *device) { d.set(func() { d.fail = nil }) }},
		{"another node of the site has the key", func(w *world, _ *device) {}, func(w *world, _ *device) { w.order(forgets(w, "n2")) }},
		{"etcd is away", func(w *world, _ *device) {
			w.change(func() {
				w.effect = func(what string, _ bool) error {
					if what == "report" {
						return errAway
					}
					return nil
				}
			})
		}, func(w *world, _ *device) { w.change(func() { w.effect = nil }) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				d, other := w.device("n1"), w.device("n2")
				w.onRecord = truthful(t, w, d, other)
				nodes := []Node{d.node()}
				if strings.HasPrefix(c.name, "another") {
					nodes = append(nodes, other.node())
				}
				a := w.start(t.TempDir(), nodes...)
				for _, n := range nodes {
					rotated(w, n.ID)
				}
				c.breaks(w, d)
				w.order(forgets(w, "n1"))
				time.Sleep(time.Hour)
				if got := w.told(audit.Receipt); len(got) > 0 {
					t.Errorf("written: %+v", got)
				}
				c.mends(w, d)
				time.Sleep(time.Minute)
				a.stop()
				if got := w.told(audit.Receipt); len(got) != len(nodes) {
					t.Errorf("receipts when it is mended: %+v", got)
				}
			})
		})
	}
}

// The teeth: the last thing that is done before a receipt is to read the device. Without
// it, and without a look into the memory, the tests above fail; truthful is what sees it.
func TestTheWitnessOfReceiptsHasTeeth(t *testing.T) {
	for _, lie := range []string{"the device has it", "it is in memory"} {
		t.Run(lie, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				d := w.device("n1")
				a := w.start(t.TempDir(), d.node())
				rotated(w, "n1")
				if lie == "it is in memory" {
					d.set(func() { *d.port(theLink) = port{} })
				}
				w.mu.Lock()
				probe := &testing.T{}
				truthful(probe, w, d)(audit.Record{Kind: audit.Receipt, Node: "n1", Link: theLink, Site: theSite, Epoch: 3, KCV: "a", Turn: 3})
				w.mu.Unlock()
				if !probe.Failed() {
					t.Error("a false receipt was not found out")
				}
				a.stop()
			})
		})
	}
}

// Refusals are told once for an order, not at every try, and trouble that passes is not.
func TestARefusalIsToldOnce(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{fault.New(fault.Refused, "no"), 1}, {fault.New(fault.Mismatch, "another key"), 1}, {fault.New(fault.Invalid, "no such port"), 1},
		{fault.New(fault.Unavailable, "away"), 0}, {fault.New(fault.Unknown, "perhaps"), 0},
	} {
		t.Run(fault.Of(c.err).String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, dir := newWorld(t), t.TempDir()
				d := w.device("n1")
				w.effect = func(what string, _ bool) error {
					if what == "install" {
						return c.err
					}
					return nil
				}
				a := w.start(dir, d.node())
				w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3)})
				time.Sleep(time.Hour)
				a.stop()
				a = w.start(dir, d.node())
				time.Sleep(time.Hour)
				if got := w.told(audit.Refusal); len(got) != c.want {
					t.Fatalf("told %+v", got)
				}
				w.order(store.Order{Node: "n1", Link: theLink, Turn: 2, Accept: w.wants(theLink, 3)})
				time.Sleep(time.Hour)
				a.stop()
				for i, r := range w.told(audit.Refusal) {
					if r.Outcome != fault.Of(c.err).String() || r.Turn != keychain.Turn(i+1) || r.Verb != "obey" || r.Node != "n1" || r.Reason == "" {
						t.Errorf("told %+v", r)
					}
				}
			})
		})
	}
}

// A key that Vault gave and that is not the link's is refused, and that is told.
func TestAWrongKeyIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		a := w.start(t.TempDir(), d.node())
		wrong := w.wants(theLink, 3)
		wrong[0].KCV = "0000000000"
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: wrong})
		time.Sleep(time.Hour)
		a.stop()
		got := w.told(audit.Refusal)
		if len(got) != 1 || got[0].Outcome != "mismatch" || !strings.Contains(got[0].Reason, "KCV") {
			t.Errorf("told %+v", got)
		}
	})
}

func TestARepairIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d, a, _ := obeying(t, func(*device) {})
		time.Sleep(time.Minute)
		d.set(func() { delete(d.port(theLink).accepts, 3) })
		time.Sleep(time.Hour)
		a.stop()
		got := w.told(audit.Repair)
		if len(got) != 1 || got[0].Reason != "epoch 3 was missing" || got[0].Turn != 1 || got[0].Node != "n1" || got[0].Link != theLink {
			t.Errorf("told %+v", got)
		}
	})
}
