package agents

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// obeying is a world with one node that has obeyed an order to accept and send
// epoch 3.
func obeying(t *testing.T, change func(*device)) (w *world, d *device, a *agent, dir string) {
	w, dir = newWorld(t), t.TempDir()
	d = w.device("n1")
	change(d)
	a = w.start(dir, d.node())
	w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3), Send: w.want(theLink, 3)})
	w.reported("n1", theLink, atTurn(1))
	return w, d, a, dir
}

func said(repairs []keychain.Repair) (all []string) {
	for _, r := range repairs {
		all = append(all, fmt.Sprintf("%s, %d", r.What, r.Count))
	}
	return all
}

func TestDriftIsPutRightAndRecorded(t *testing.T) {
	for _, c := range []struct {
		name  string
		drift func(p *port)
		says  []string
	}{
		{"a restart", func(p *port) { clear(p.accepts); clear(p.held); p.sends = keychain.Ref{} },
			[]string{"epoch 3 was missing, 1", "epoch 3 was not sent with, 1"}},
		{"a key that somebody removed", func(p *port) { delete(p.accepts, 3) }, []string{"epoch 3 was missing, 1"}},
		{"a key that nobody ordered", func(p *port) { p.accepts[9] = "aaaaaaaaaa" }, []string{"epoch 9 was unexpected, 1"}},
		{"a sender that went back", func(p *port) { p.sends = keychain.Ref{Epoch: 2, KCV: "bbbbbbbbbb"} },
			[]string{"epoch 2 was sent with, 1"}},
		{"teeth: nothing", func(*port) {}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, d, a, _ := obeying(t, func(*device) {})
				defer a.stop()
				time.Sleep(time.Minute)
				synctest.Wait()
				d.set(func() { c.drift(d.port(theLink)) })
				time.Sleep(35 * time.Second)
				synctest.Wait()
				o := w.report("n1", theLink)
				if !slices.Equal(said(o.Repaired), c.says) || o.Fault != "" || o.Turn != 1 {
					t.Errorf("reported %+v, want %q", o, c.says)
				}
				p := d.port(theLink)
				if !slices.Equal(slices.Sorted(maps.Keys(p.accepts)), []keychain.Epoch{3}) || p.sends.Epoch != 3 {
					t.Errorf("it accepts %v and sends with %v", p.accepts, p.sends)
				}
			})
		})
	}
}

// A restart is found on one link, and put right on all of them at once.
func TestADeviceThatRestartedIsLookedAtOnEveryLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d, a, _ := obeying(t, func(*device) {})
		defer a.stop()
		var others []keychain.LinkID
		for i := range 20 {
			l := keychain.LinkID(fmt.Sprintf("link-%d", i))
			others = append(others, l)
			w.order(store.Order{Node: "n1", Link: l, Turn: 1, Accept: w.wants(l, 1)})
			w.reported("n1", l, atTurn(1))
		}
		time.Sleep(10 * time.Minute)
		d.reboot()
		missing := func() (n int) {
			for _, l := range others {
				if d.port(l).accepts[1] == "" {
					n++
				}
			}
			return n
		}
		w.until(t.Context(), func() bool { return missing() < len(others) })
		began := time.Now()
		w.until(t.Context(), func() bool { return missing() == 0 })
		if took := time.Since(began); took > time.Second {
			t.Errorf("the last link was put right %v after the first", took)
		}
	})
}

func TestRepairsAreCountedAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d, a, _ := obeying(t, func(*device) {})
		defer a.stop()
		for range 3 {
			d.set(func() { delete(d.port(theLink).accepts, 3) })
			w.until(t.Context(), func() bool { return d.port(theLink).accepts[3] != "" })
			time.Sleep(10 * gatherTime)
		}
		first := w.report("n1", theLink)
		if got := said(first.Repaired); !slices.Equal(got, []string{"epoch 3 was missing, 3"}) {
			t.Errorf("recorded %q", got)
		}
		for e := keychain.Epoch(10); e < 16; e++ {
			d.set(func() { d.port(theLink).accepts[e] = "aaaaaaaaaa" })
			w.until(t.Context(), func() bool { return len(d.port(theLink).accepts) == 1 })
			time.Sleep(10 * gatherTime)
		}
		got := w.report("n1", theLink).Repaired
		if len(got) != keychain.MaxRepairs || got[len(got)-1].What != "epoch 15 was unexpected" || !got[0].At.Before(got[1].At) {
			t.Errorf("recorded %+v", got)
		}
		// A rotation is no drift, and forgets none.
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 2, Accept: w.wants(theLink, 3, 4), Send: w.want(theLink, 3)})
		w.reported("n1", theLink, atTurn(2))
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 3, Accept: w.wants(theLink, 4), Send: w.want(theLink, 4)})
		if o := w.reported("n1", theLink, atTurn(3)); !slices.Equal(said(o.Repaired), said(got)) {
			t.Errorf("recorded %q after a rotation", said(o.Repaired))
		}
	})
}

func TestDriftWhileTheAgentWasAwayIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d, a, dir := obeying(t, func(*device) {})
		a.stop()
		d.reboot()
		a = w.start(dir, d.node())
		defer func() { a.stop() }()
		o := w.reported("n1", theLink, func(o store.Observation) bool { return len(o.Repaired) > 0 })
		if got := said(o.Repaired); !slices.Equal(got, []string{"epoch 3 was missing, 1", "epoch 3 was not sent with, 1"}) {
			t.Errorf("recorded %q", got)
		}
		// And if there was none, none is.
		a.stop()
		a = w.start(dir, d.node())
		time.Sleep(time.Minute)
		synctest.Wait()
		if again := w.report("n1", theLink); !slices.Equal(said(again.Repaired), said(o.Repaired)) {
			t.Errorf("recorded %q", said(again.Repaired))
		}
	})
}

func TestAKeyThatNobodyOrderedAndThatStaysIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d, a, _ := obeying(t, func(*device) {})
		defer a.stop()
		w.change(func() {
			w.effect = func(what string, after bool) error {
				if what == "remove" && !after {
					return fault.New(fault.Refused, "it is in use")
				}
				return nil
			}
		})
		d.set(func() { d.port(theLink).accepts[9] = "aaaaaaaaaa" })
		o := w.reported("n1", theLink, withFault(fault.Refused))
		if !strings.Contains(o.Message, "unexpected key: epoch 9") || !strings.Contains(o.Message, "it is in use") || len(o.Repaired) > 0 {
			t.Errorf("reported %+v", o)
		}
		// Somebody takes it away: it has been put right.
		d.set(func() { delete(d.port(theLink).accepts, 9) })
		if o := w.reported("n1", theLink, atTurn(1)); !slices.Equal(said(o.Repaired), []string{"epoch 9 was unexpected, 1"}) {
			t.Errorf("reported %+v", o)
		}
	})
}

func TestALostCounterIsNotRepaired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d, a, _ := obeying(t, func(d *device) { d.counterBound = true })
		defer a.stop()
		d.reboot()
		o := w.reported("n1", theLink, withFault(fault.Refused))
		time.Sleep(10 * time.Minute)
		if o = w.report("n1", theLink); len(o.Repaired) > 0 || !o.Sends.IsZero() || len(d.reused()) > 0 {
			t.Errorf("reported %+v, reused %v", o, d.reused())
		}
		if !slices.Equal(o.Lost, []keychain.Epoch{3}) {
			t.Errorf("lost %v", o.Lost)
		}
	})
}

func TestCountersAreReportedWhileTwoKeysAreAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d, a, _ := obeying(t, func(*device) {})
		defer a.stop()
		d.set(func() { d.port(theLink).packets = map[keychain.Epoch]uint64{3: 812} })
		// Idle it is looked at seldom.
		synctest.Wait()
		before := w.count(&w.reports)
		time.Sleep(5 * time.Minute)
		if n := w.count(&w.reports) - before; n > 1 {
			t.Errorf("%d reports of one count in 5 min", n)
		}
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 2, Accept: w.wants(theLink, 3, 4), Send: w.want(theLink, 4)})
		first := w.reported("n1", theLink, atTurn(2))
		time.Sleep(1100 * time.Millisecond) // the first time it takes longer
		synctest.Wait()
		first.At = first.At.Add(time.Second)
		for range 5 { // also when it stands still: that is what is waited for
			time.Sleep(1100 * time.Millisecond)
			synctest.Wait()
			o := w.report("n1", theLink)
			if since := o.At.Sub(first.At); since < 900*time.Millisecond || since > 1300*time.Millisecond {
				t.Errorf("the next report came after %v", since)
			}
			first = o
		}
		if ops := len(d.ops); ops != 4 {
			t.Errorf("did %q", d.ops)
		}
		time.Sleep(10 * time.Minute) // nobody waits for that long
		synctest.Wait()
		before = w.count(&w.reports)
		time.Sleep(time.Minute)
		if n := w.count(&w.reports) - before; n > 8 { // every ten seconds, and sooner or later by chance
			t.Errorf("%d reports in a minute of an order that has stood for long", n)
		}
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 3, Accept: w.wants(theLink, 4), Send: w.want(theLink, 4)})
		w.reported("n1", theLink, atTurn(3))
		before = w.count(&w.reports)
		time.Sleep(5 * time.Minute)
		if n := w.count(&w.reports) - before; n > 0 {
			t.Errorf("%d reports of nothing when it is over", n)
		}
	})
}

func TestAnObserverIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.device("n1")
		var mu sync.Mutex
		told := map[string]int{}
		tell := func(format string, a ...any) {
			mu.Lock()
			defer mu.Unlock()
			told[fmt.Sprintf(format, a...)]++
		}
		w.observe = Observer{
			Confirmed: func(kind, role string, took time.Duration) {
				if took <= 0 || took > time.Second {
					tell("took %v", took)
				}
				tell("confirmed %s %s", kind, role)
			},
			DeviceFault: func(kind, faultKind string) { tell("fault %s %s", kind, faultKind) },
			Repaired:    func(kind string) { tell("repaired %s", kind) },
		}
		node := d.node()
		node.Kind = "sim"
		dir := t.TempDir()
		a := w.start(dir, node)
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 1, Accept: w.wants(theLink, 3)})
		w.reported("n1", theLink, atTurn(1))
		w.order(store.Order{Node: "n1", Link: theLink, Turn: 2, Send: w.want(theLink, 3)})
		w.reported("n1", theLink, atTurn(2))
		d.set(func() { d.port(theLink).sends = keychain.Ref{} })
		w.reported("n1", theLink, func(o store.Observation) bool { return len(o.Repaired) == 1 })
		a.stop()
		a = w.start(dir, node) // what was confirmed before is not told again
		defer func() { a.stop() }()
		time.Sleep(time.Minute)
		d.set(func() { d.fail = fault.New(fault.Unavailable, "away") })
		w.reported("n1", theLink, withFault(fault.Unavailable))
		d.set(func() { d.fail = nil })
		w.reported("n1", theLink, atTurn(2))
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if told["fault sim unavailable"] == 0 {
			t.Errorf("told %v of no fault", told)
		}
		delete(told, "fault sim unavailable")
		want := map[string]int{"confirmed sim downstream": 1, "confirmed sim upstream": 1, "repaired sim": 1}
		if !maps.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}
