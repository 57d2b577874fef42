package agents

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

func TestAnotherKeyIsNotInstalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		a := w.start(t.TempDir(), d.node())
		defer a.stop()
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3), Send: w.want(theLink, 3)})
		before := w.reported("n1", theLink, atTurn(1))
		wrong := w.want(theLink, 4)
		wrong.KCV = "0123456789"
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 2, Accept: append(w.wants(theLink, 3), wrong), Send: wrong})
		o := w.reported("n1", theLink, withFault(fault.Mismatch))
		if o.Turn != 2 || o.Sends != before.Sends || len(o.Accepts) != 1 || !strings.Contains(o.Message, "0123456789") {
			t.Errorf("reported %+v", o)
		}
		if len(d.ops) != 2 {
			t.Errorf("did %q", d.ops)
		}
		// Teeth: with the right value it is installed.
		wrong.KCV = ""
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 3, Accept: append(w.wants(theLink, 3), wrong), Send: wrong})
		w.reported("n1", theLink, atTurn(3))
	})
}

func TestNothingIsDoneAfterAnEarlierStepFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		// The order does not name epoch 2, which the device accepts and sends with.
		p := d.port(theLink)
		p.accepts[2], p.sends = "aaaaaaaaaa", keychain.Ref{Epoch: 2, KCV: "aaaaaaaaaa"}
		w.effect = func(what string, after bool) error {
			if what == "switch" && !after {
				return fault.New(fault.Refused, "the device says no")
			}
			return nil
		}
		a := w.start(t.TempDir(), d.node())
		defer a.stop()
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3), Send: w.want(theLink, 3)})
		o := w.reported("n1", theLink, withFault(fault.Refused))
		if !slices.Equal(epochs(o.Accepts), []keychain.Epoch{2, 3}) || o.Sends.Epoch != 2 || o.Turn != 1 {
			t.Errorf("reported %+v", o)
		}
		w.change(func() {
			w.effect = func(what string, after bool) error {
				if what == "install" && !after {
					return fault.New(fault.Refused, "the device says no")
				}
				return nil
			}
		})
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 2, Accept: w.wants(theLink, 4), Send: w.want(theLink, 4)})
		o = w.reported("n1", theLink, func(o store.Observation) bool { return o.Turn == 2 })
		if !slices.Equal(epochs(o.Accepts), []keychain.Epoch{2, 3}) || o.Sends.Epoch != 2 {
			t.Errorf("reported %+v", o)
		}
		w.change(func() { w.effect = nil }) // refused for good: not tried again without a new order
		tried := len(d.ops)
		time.Sleep(10 * time.Minute)
		if len(d.ops) != tried {
			t.Errorf("tried again: %q", d.ops[tried:])
		}
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 3, Accept: w.wants(theLink, 4), Send: w.want(theLink, 4)})
		w.reported("n1", theLink, atTurn(3))
	})
}

// TestARefusingDeviceGetsBackWhatItHad restarts a device that has refused a new
// key for good. The old one, which is still sent with, must come back.
func TestARefusingDeviceGetsBackWhatItHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		a := w.start(t.TempDir(), d.node())
		defer a.stop()
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3)})
		w.reported("n1", theLink, atTurn(1))
		w.change(func() {
			w.effect = func(what string, after bool) error {
				if what != "install" || after || d.port(theLink).accepts[3] == "" {
					return nil
				}
				return fault.New(fault.Refused, "the device has no room for another key")
			}
		})
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 2, Accept: w.wants(theLink, 3, 4)})
		w.reported("n1", theLink, withFault(fault.Refused))
		d.reboot()
		back := func() bool { return d.ports[theLink] != nil && d.ports[theLink].accepts[3] != "" }
		minute, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if !w.until(minute, back) {
			t.Error("a minute after its restart it does not accept the old key")
		}
	})
}

func TestWhatVaultRefusesIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		w.vaultSays = fault.New(fault.Refused, "the token's policy does not allow it")
		a := w.start(t.TempDir(), d.node())
		defer a.stop()
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 1), Send: w.want(theLink, 1)})
		w.reported("n1", theLink, withFault(fault.Refused))
		w.change(func() { w.vaultSays = nil })
		w.reported("n1", theLink, atTurn(1))
	})
}

func TestACounterBoundNodeNeverUsesALostEpochAgain(t *testing.T) {
	for _, c := range []struct {
		name               string
		loseDisk, loseEtcd bool
	}{
		{name: "while it runs"},
		{name: "after a new disk", loseDisk: true},
		{name: "after a new store", loseEtcd: true},
		{name: "teeth: after both", loseDisk: true, loseEtcd: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				d := w.device("n1")
				d.counterBound = true
				dir := t.TempDir()
				a := w.start(dir, d.node())
				order := store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 4), Send: w.want(theLink, 4)}
				w.order(order)
				if o := w.reported("n1", theLink, atTurn(1)); !slices.Equal(o.Started, []keychain.Epoch{4}) {
					t.Fatalf("reported %+v", o)
				}
				if c.loseDisk || c.loseEtcd {
					a.stop()
				}
				d.reboot()
				if c.loseDisk {
					dir = t.TempDir()
				}
				if c.loseEtcd {
					w.change(func() { clear(w.obs) })
				}
				if c.loseDisk || c.loseEtcd {
					a = w.start(dir, d.node())
				}
				defer func() { a.stop() }()
				if c.loseDisk && c.loseEtcd { // nothing remembers, and it shows
					w.reported("n1", theLink, atTurn(1))
					if len(d.reused()) == 0 {
						t.Error("epoch 4 was not used again")
					}
					return
				}
				o := w.reported("n1", theLink, withFault(fault.Refused))
				if !o.Sends.IsZero() || !slices.Equal(o.Lost, []keychain.Epoch{4}) || o.Turn != 1 ||
					!slices.Equal(epochs(o.Accepts), []keychain.Epoch{4}) || !strings.Contains(o.Message, "epoch 4") {
					t.Errorf("reported %+v", o)
				}
				time.Sleep(time.Minute)
				// The link can still forget what came before, and goes on to a new epoch.
				d.set(func() { d.port(theLink).accepts[3] = "aaaaaaaaaa" })
				w.reported("n1", theLink, func(o store.Observation) bool { return len(o.Accepts) == 1 })
				w.order(store.Order{Node: "n1", Link: theLink, Turn: 2, Accept: w.wants(theLink, 4, 5), Send: w.want(theLink, 5)})
				w.reported("n1", theLink, func(o store.Observation) bool { return o.Turn == 2 && o.Sends.Epoch == 5 && o.Fault == "" })
				if again := d.reused(); len(again) > 0 {
					t.Errorf("used again: %v", again)
				}
			})
		})
	}
}

func TestASwitchWaitsUntilItsEpochStandsInTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		d.counterBound = true
		a := w.start(t.TempDir(), d.node())
		defer a.stop()
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3), Send: w.want(theLink, 3)})
		w.reported("n1", theLink, atTurn(1))
		var early bool
		d.check = func(sa keychain.SA) {
			started := w.report("n1", theLink).Started
			kept, err := a.journal.entry("n1", theLink)
			early = early || !slices.Contains(started, sa.Epoch) || err != nil || !kept.started(sa.Epoch)
		}
		w.change(func() {
			w.effect = func(what string, _ bool) error {
				if what == "report" {
					return errAway
				}
				return nil
			}
		})
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 2, Send: w.want(theLink, 4)})
		time.Sleep(5 * time.Minute)
		if len(d.ops) != 2 {
			t.Errorf("did %q while nobody could write it down", d.ops[2:])
		}
		w.change(func() { w.effect = nil })
		o := w.reported("n1", theLink, atTurn(2))
		if o.Sends.Epoch != 4 || len(o.Lost) > 0 || early {
			t.Errorf("reported %+v, early %v", o, early)
		}
	})
}

func TestTheSameAgentTakesOverAndAnotherWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		dir := t.TempDir()
		first := w.start(dir, d.node())
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3)})
		w.reported("n1", theLink, atTurn(1))
		e := w.device("n1")
		second := w.start(t.TempDir(), e.node())
		time.Sleep(time.Hour)
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 2, Accept: w.wants(theLink, 3, 4)})
		w.reported("n1", theLink, atTurn(2))
		if len(e.ops) > 0 {
			t.Errorf("the second agent did %q", e.ops)
		}
		// The first is stopped: it gives the node up, and the second one acts.
		first.stop()
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 3, Accept: w.wants(theLink, 4)})
		w.reported("n1", theLink, atTurn(3))
		if len(e.ops) == 0 {
			t.Error("the second agent did nothing")
		}
		second.stop()
		if w.holder["n1"] != nil {
			t.Error("the node was not given up")
		}
		// A presence that a killed agent left is taken over by its own successor.
		dead := &tenure{w: w, node: "n1", who: store.Agent{Instance: first.journal.Instance()}, done: make(chan struct{})}
		w.change(func() { w.holder["n1"] = dead })
		third := w.start(dir, d.node())
		defer third.stop()
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 4, Accept: w.wants(theLink, 4, 5)})
		w.reported("n1", theLink, atTurn(4))
	})
}

func TestALostTenureStopsTheWorkAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		d.hang = make(chan struct{})
		a := w.start(t.TempDir(), d.node())
		defer a.stop()
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3)})
		w.until(t.Context(), func() bool { return d.hung == 1 })
		other := &tenure{w: w, node: "n1", who: store.Agent{Instance: "another"}, done: make(chan struct{})}
		w.expire("n1")
		w.change(func() { w.holder["n1"] = other })
		synctest.Wait()
		d.set(func() { d.hang = nil })
		time.Sleep(time.Hour)
		if len(d.ops) > 0 || w.count(&w.reports) > 0 {
			t.Errorf("did %q, %d reports", d.ops, w.reports)
		}
		w.expire("n1")
		w.reported("n1", theLink, atTurn(1))
	})
}

func TestStoppingFinishesWhatTheDeviceIsDoing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		d.hang = make(chan struct{})
		dir := t.TempDir()
		a := w.start(dir, d.node())
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3), Send: w.want(theLink, 3)})
		w.until(t.Context(), func() bool { return d.hung == 1 })
		go func() {
			time.Sleep(5 * time.Second) // SIGTERM at once, the device answers later
			d.set(func() { close(d.hang); d.hang = nil })
		}()
		began := time.Now()
		a.stop()
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("stopped after %v", took)
		}
		if w.holder["n1"] != nil {
			t.Error("the node was not given up")
		}
	})
}

func TestStoppingIsBounded(t *testing.T) {
	for name, deaf := range map[string]bool{"a device that hangs": false, "a device that heeds no context": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				d := w.device("n1")
				hang := make(chan struct{})
				d.hang, d.deaf = hang, deaf
				a := w.start(t.TempDir(), d.node())
				w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3)})
				w.until(t.Context(), func() bool { return d.hung == 1 })
				began := time.Now()
				a.stop()
				if took := time.Since(began); took < 10*time.Second || took > 12*time.Second {
					t.Errorf("stopped after %v", took)
				}
				if left := w.holder["n1"] != nil; left != deaf {
					t.Errorf("left the presence behind: %v, want %v", left, deaf)
				}
				close(hang)
			})
		})
	}
}

func TestNodesComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		one, two := w.device("n1"), w.device("n2")
		w.order(
			store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3)},
			store.Order{Node: "n2", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3)},
		)
		a := w.start(t.TempDir(), one.node())
		defer a.stop()
		w.reported("n1", theLink, atTurn(1))
		a.nodes <- []Node{one.node(), two.node()}
		w.reported("n2", theLink, atTurn(1))
		a.nodes <- []Node{two.node()}
		w.until(t.Context(), func() bool { return w.holder["n1"] == nil })
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 2, Accept: w.wants(theLink, 3, 4)})
		time.Sleep(time.Hour)
		if w.report("n1", theLink).Turn != 1 {
			t.Error("served a node that was given up")
		}
		a.nodes <- []Node{one.node(), two.node()}
		w.reported("n1", theLink, atTurn(2))
		// Another device under the same name.
		other := w.device("n1")
		a.nodes <- []Node{other.node(), two.node()}
		w.until(t.Context(), func() bool { return len(other.ops) == 2 })
	})
}

func TestAnOrderThatIsGoneLeavesTheDeviceAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		a := w.start(t.TempDir(), d.node())
		defer a.stop()
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3), Send: w.want(theLink, 3)})
		w.reported("n1", theLink, atTurn(1))
		w.change(func() { delete(w.orders["n1"], theLink) })
		synctest.Wait()
		time.Sleep(time.Hour)
		if len(d.ops) != 2 {
			t.Errorf("did %q", d.ops)
		}
		for _, k := range w.opened {
			if !wiped(k) {
				t.Error("a key that no order names was not wiped")
			}
		}
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 2, Accept: w.wants(theLink, 4), Send: w.want(theLink, 4)})
		w.reported("n1", theLink, atTurn(2))
	})
}

func TestAnOrderForAMissingSideIsInvalid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		a := w.start(t.TempDir(), Node{ID: "n1", Downstream: receiver{d}})
		defer a.stop()
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3), Send: w.want(theLink, 3)})
		o := w.reported("n1", theLink, withFault(fault.Invalid))
		if !strings.Contains(o.Message, "no sending side") || len(d.ops) > 0 {
			t.Errorf("reported %+v, did %q", o, d.ops)
		}
	})
}

func TestRunRefusesWhatItCannotServe(t *testing.T) {
	if err := Run(t.Context(), Config{Site: "DC/2"}); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	if err := Run(t.Context(), Config{Site: theSite}); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	w := newWorld(t)
	j := w.journalAt(t.TempDir())
	defer j.Close()
	if err := Run(done, Config{Site: theSite, Nodes: make(chan []Node), Store: w, Custody: w, Journal: j}); err != nil {
		t.Error(err)
	}
}

// An idle link is only glanced at. A device that hangs then is trouble all the
// same, and keeps nobody from looking at the others.
func TestADeviceThatHangsWhileItIsIdleIsReported(t *testing.T) {
	for name, deaf := range map[string]bool{"a device that hangs": false, "a device that heeds no context": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, d, a, _ := obeying(t, func(*device) {})
				defer a.stop()
				fine := keychain.LinkID("fine")
				w.order(store.Order{Node: "n1", Link: fine, Turn: 1, Accept: w.wants(fine, 1)})
				w.reported("n1", fine, atTurn(1))
				time.Sleep(time.Minute)
				hang := make(chan struct{})
				d.set(func() { d.hang, d.hangs, d.deaf = hang, theLink, deaf })
				o := w.reported("n1", theLink, withFault(fault.Unknown))
				if o.Message != "obey turn 1: no end after 10s" || o.Turn != 1 || len(o.Accepts) != 1 {
					t.Errorf("reported %+v", o)
				}
				d.set(func() { d.port(fine).accepts[9] = "aaaaaaaaaa" })
				w.until(t.Context(), func() bool { return len(d.port(fine).accepts) == 1 })
				if o := w.report("n1", theLink); o.Fault == "" {
					t.Error("the link that hangs was let go")
				}
				d.set(func() { close(hang); d.hang = nil })
				if o := w.reported("n1", theLink, atTurn(1)); len(o.Repaired) > 0 {
					t.Errorf("reported %+v", o)
				}
			})
		})
	}
}
