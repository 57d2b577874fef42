package agents

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

const theLink = keychain.LinkID("dc1-dc2")

func atTurn(turn keychain.Turn) func(store.Observation) bool {
	return func(o store.Observation) bool { return o.Turn == turn && o.Fault == "" }
}

func withFault(k fault.Kind) func(store.Observation) bool {
	return func(o store.Observation) bool { return o.Fault == k.String() }
}

func epochs(refs []keychain.Ref) (all []keychain.Epoch) {
	for _, r := range refs {
		all = append(all, r.Epoch)
	}
	return all
}

func TestOrdersAreObeyedAndReadBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		a := w.start(t.TempDir(), d.node())
		defer a.stop()
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3), Send: w.want(theLink, 3)})
		w.reported("n1", theLink, atTurn(1))
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 2, Accept: w.wants(theLink, 3, 4), Send: w.want(theLink, 3)})
		if o := w.reported("n1", theLink, atTurn(2)); !slices.Equal(epochs(o.Accepts), []keychain.Epoch{3, 4}) || o.Sends.Epoch != 3 {
			t.Fatalf("reported %+v", o)
		}
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 3, Accept: w.wants(theLink, 3, 4), Send: w.want(theLink, 4)})
		if o := w.reported("n1", theLink, atTurn(3)); o.Sends.Epoch != 4 || o.Sends.KCV == "" {
			t.Fatalf("reported %+v", o)
		}
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 4, Accept: w.wants(theLink, 4), Send: w.want(theLink, 4)})
		if o := w.reported("n1", theLink, atTurn(4)); !slices.Equal(epochs(o.Accepts), []keychain.Epoch{4}) {
			t.Fatalf("reported %+v", o)
		}
		want := []string{"install dc1-dc2 3", "switch dc1-dc2 3", "install dc1-dc2 4", "switch dc1-dc2 4", "remove dc1-dc2 3"}
		if !slices.Equal(d.ops, want) {
			t.Errorf("did %q, want %q", d.ops, want)
		}
	})
}

func TestOneOrderAfterThreeMissedIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		dir := t.TempDir()
		a := w.start(dir, d.node())
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3), Send: w.want(theLink, 3)})
		w.reported("n1", theLink, atTurn(1))
		a.stop()
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 9, Accept: w.wants(theLink, 5), Send: w.want(theLink, 5)})
		a = w.start(dir, d.node())
		defer a.stop()
		w.reported("n1", theLink, atTurn(9))
		if want := []string{"install dc1-dc2 5", "switch dc1-dc2 5", "remove dc1-dc2 3"}; !slices.Equal(d.ops[2:], want) {
			t.Errorf("did %q, want %q", d.ops[2:], want)
		}
	})
}

func TestAnOlderTurnIsRefusedAlsoAfterARestart(t *testing.T) {
	for _, c := range []struct {
		name               string
		restart            bool
		loseDisk, loseEtcd bool
	}{
		{name: "by the same agent"},
		{name: "after a restart", restart: true},
		{name: "after a restart with a new disk", restart: true, loseDisk: true},
		{name: "after a restart with a new store", restart: true, loseEtcd: true},
		{name: "teeth: with neither", restart: true, loseDisk: true, loseEtcd: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				d := w.device("n1")
				dir := t.TempDir()
				a := w.start(dir, d.node())
				w.order(store.Order{Node: "n1", Link: theLink, Turn: 7, Accept: w.wants(theLink, 4)})
				w.reported("n1", theLink, atTurn(7))
				if c.restart {
					a.stop()
				}
				if c.loseDisk {
					dir = t.TempDir()
				}
				if c.loseEtcd {
					w.change(func() { clear(w.obs) })
				}
				clear(d.turns)
				w.order(store.Order{Node: "n1", Link: theLink, Turn: 5, Accept: w.wants(theLink, 3)})
				if c.restart {
					a = w.start(dir, d.node())
				}
				defer func() { a.stop() }()
				if c.loseDisk && c.loseEtcd { // the fence is gone, and it shows
					w.reported("n1", theLink, atTurn(5))
					if !slices.Contains(d.ops, "remove dc1-dc2 4") {
						t.Errorf("did %q, want the order obeyed", d.ops)
					}
					return
				}
				o := w.reported("n1", theLink, withFault(fault.Stale))
				if o.Turn != 7 || !slices.Equal(epochs(o.Accepts), []keychain.Epoch{4}) {
					t.Errorf("reported %+v", o)
				}
				if len(d.ops) != 1 {
					t.Errorf("did %q", d.ops)
				}
			})
		})
	}
}

func TestATurnIsOnDiskBeforeItIsObeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		a := w.start(t.TempDir(), d.node())
		var early []keychain.SA
		d.check = func(sa keychain.SA) {
			if kept, err := a.journal.entry("n1", sa.Link); err != nil || kept.Turn < sa.Turn {
				early = append(early, sa)
			}
		}
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 7, Accept: w.wants(theLink, 4), Send: w.want(theLink, 4)})
		w.reported("n1", theLink, atTurn(7))
		if len(d.ops) != 2 || len(early) > 0 {
			t.Errorf("did %q, early %v", d.ops, early)
		}
		// Teeth: an operation of a Turn that the journal does not know is seen.
		d.check(keychain.SA{Link: theLink, Turn: 8})
		if len(early) != 1 {
			t.Error("the check sees nothing")
		}
		// Without a journal nothing is done.
		_ = a.journal.Close()
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 9, Accept: w.wants(theLink, 5)})
		w.reported("n1", theLink, withFault(fault.Unavailable))
		if len(d.ops) != 2 {
			t.Errorf("did %q without a journal", d.ops)
		}
		a.stop()
	})
}

func TestAHangingNodeBlocksNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var nodes []Node
		var hung []*device
		for _, id := range []keychain.NodeID{"h1", "h2", "h3"} {
			d := w.device(id)
			d.hang = make(chan struct{})
			hung = append(hung, d)
			nodes = append(nodes, d.node())
		}
		fine := w.device("n1")
		nodes = append(nodes, fine.node())
		var orders []store.Order
		for _, n := range nodes {
			for i := range 40 { // more than the bounds, for each node
				l := keychain.LinkID("l" + strings.Repeat("x", i))
				orders = append(orders, store.Order{Node: n.ID, Link: l, Turn: 1, Accept: w.wants(l, 1)})
			}
		}
		w.order(orders...)
		a := w.start(t.TempDir(), nodes...)
		defer a.stop()
		began := time.Now()
		for _, o := range orders {
			if o.Node == "n1" {
				w.reported("n1", o.Link, atTurn(1))
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the node that does not hang took %v", took)
		}
		o := w.reported("h1", "l", withFault(fault.Unknown))
		if o.Message != "obey turn 1: no end after 10s" || o.Turn != 0 {
			t.Errorf("reported %+v", o)
		}
		for _, d := range hung {
			d.set(func() { close(d.hang); d.hang = nil })
		}
		for _, o := range orders {
			w.reported(o.Node, o.Link, atTurn(1))
		}
	})
}

func TestADeviceThatNeverAnswersIsGivenUpAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		d.hang = make(chan struct{})
		a := w.start(t.TempDir(), d.node())
		defer a.stop()
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 1)})
		first := w.reported("n1", theLink, withFault(fault.Unknown))
		o := w.reported("n1", theLink, func(o store.Observation) bool { return strings.Contains(o.Message, "no end after 5m0s") })
		if !o.Since.Equal(first.Since) {
			t.Errorf("the trouble began at %v and then at %v", first.Since, o.Since)
		}
		d.set(func() { d.hang = nil })
		w.reported("n1", theLink, atTurn(1))
	})
}

func TestVaultAwayAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		a := w.start(t.TempDir(), d.node())
		defer a.stop()
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3), Send: w.want(theLink, 3)})
		w.reported("n1", theLink, atTurn(1))
		w.change(func() { w.vaultAway = true })
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 2, Accept: w.wants(theLink, 3, 4), Send: w.want(theLink, 3)})
		o := w.reported("n1", theLink, withFault(fault.Unavailable))
		if !strings.Contains(o.Message, "http://vault:8200") || o.Sends.Epoch != 3 || o.Since.IsZero() {
			t.Errorf("reported %+v", o)
		}
		// A key that the device loses meanwhile is put back: it is open already.
		d.reboot()
		w.until(t.Context(), func() bool { return d.port(theLink).accepts[3] != "" })
		began, before := time.Now(), w.count(&w.unwraps)
		time.Sleep(10 * time.Minute)
		if tries := w.count(&w.unwraps) - before; tries < 15 || tries > 60 {
			t.Errorf("asked %d times in %v", tries, time.Since(began))
		}
		if again := w.report("n1", theLink); !again.Since.Equal(o.Since) {
			t.Errorf("the trouble began at %v and then at %v", o.Since, again.Since)
		}
		w.change(func() { w.vaultAway = false })
		w.reported("n1", theLink, atTurn(2))
	})
}

func TestEtcdAwayAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		a := w.start(t.TempDir(), d.node())
		defer a.stop()
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3), Send: w.want(theLink, 3)})
		w.reported("n1", theLink, atTurn(1))
		w.change(func() { w.etcdAway = true })
		d.reboot()
		w.until(t.Context(), func() bool { return d.port(theLink).sends.Epoch == 3 })
		w.expire("n1") // the lease runs out
		time.Sleep(time.Hour)
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 2, Accept: w.wants(theLink, 3, 4), Send: w.want(theLink, 3)})
		w.change(func() { w.etcdAway = false })
		w.reported("n1", theLink, atTurn(2))
	})
}

func TestNothingNewIsNotReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		a := w.start(t.TempDir(), d.node())
		defer a.stop()
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3)})
		w.reported("n1", theLink, atTurn(1))
		synctest.Wait()
		before := w.count(&w.reports)
		time.Sleep(10 * time.Minute)
		if n := w.count(&w.reports) - before; n != 0 {
			t.Errorf("%d reports of nothing", n)
		}
		d.set(func() { d.port(theLink).packets = map[keychain.Epoch]uint64{3: 812, 2: 5} })
		o := w.reported("n1", theLink, func(o store.Observation) bool { return len(o.Counters) == 2 })
		if !slices.Equal(o.Counters, []keychain.Counter{{Epoch: 2, Packets: 5}, {Epoch: 3, Packets: 812}}) {
			t.Errorf("reported %v", o.Counters)
		}
	})
}
