package sim_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyorch/keyorch/devices/sim"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/secret/secrettest"
)

const link keychain.LinkID = "l1"

// world is one link from up to down1 and down2, with traffic, in a bubble of
// simulated time.
type world struct {
	*testing.T
	net               *sim.Network
	up, down1, down2  *sim.Node
	latency, interval time.Duration
	keys              map[keychain.Epoch]secret.Key
}

// during runs f in simulated time.
func during(t *testing.T, o sim.NodeOptions, f func(t *testing.T, x *world)) {
	synctest.Test(t, func(t *testing.T) {
		x := &world{T: t, latency: 50 * time.Millisecond, interval: 10 * time.Millisecond, keys: map[keychain.Epoch]secret.Key{}}
		x.net = sim.NewNetwork(sim.Options{Latency: x.latency})
		defer x.net.Close()
		x.up, x.down1, x.down2 = x.net.Node("up", o), x.net.Node("down1", o), x.net.Node("down2", o)
		x.install(1, x.down1, x.down2)
		x.sendWith(1)
		x.net.Traffic(link, []keychain.NodeID{"up"}, []keychain.NodeID{"down1", "down2"}, x.interval)
		x.pass(time.Second)
		f(t, x)
	})
}

func (x *world) pass(d time.Duration) {
	time.Sleep(d) // simulated
	synctest.Wait()
}

func (x *world) key(e keychain.Epoch) (keychain.SA, secret.Key) {
	if _, ok := x.keys[e]; !ok {
		x.keys[e] = secrettest.New(x).Key
	}
	return keychain.SA{Link: link, Ref: keychain.Ref{Epoch: e}}, x.keys[e]
}

func (x *world) install(e keychain.Epoch, nodes ...*sim.Node) {
	x.Helper()
	sa, k := x.key(e)
	for _, n := range nodes {
		x.must(n.Downstream().Install(x.Context(), sa, k))
	}
}

func (x *world) remove(e keychain.Epoch, nodes ...*sim.Node) {
	x.Helper()
	sa, _ := x.key(e)
	for _, n := range nodes {
		x.must(n.Downstream().Remove(x.Context(), sa))
	}
}

func (x *world) sendWith(e keychain.Epoch) {
	x.Helper()
	sa, k := x.key(e)
	x.must(x.up.Upstream().Switch(x.Context(), sa, k))
}

func (x *world) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

// settled stops the traffic and counts, after the last packet has arrived.
func (x *world) settled() sim.Stats {
	x.Helper()
	x.net.Traffic(link, nil, nil, time.Hour)()
	x.pass(2 * x.latency)
	s := x.net.Stats(link)
	if s.InFlight != 0 || s.Sent != s.Delivered+s.Lost.Total() {
		x.Errorf("packets are missing: %+v", s)
	}
	return s
}

func TestARotationInOrderLosesNothing(t *testing.T) {
	during(t, sim.NodeOptions{CounterBound: true}, func(t *testing.T, x *world) {
		x.install(2, x.down1, x.down2)
		x.pass(time.Second)
		x.sendWith(2)
		x.pass(2 * x.latency)
		x.remove(1, x.down1, x.down2)
		x.pass(time.Second)
		if s := x.settled(); s.Lost.Total() != 0 || s.Reused != 0 || s.Silent != 0 || s.Sent < 400 {
			t.Errorf("counts: %+v", s)
		}
		o, err := x.up.Upstream().Observe(t.Context(), link)
		if err != nil || o.Packets[1] == 0 || o.Packets[2] == 0 {
			t.Errorf("the node counts %v (%v)", o.Packets, err)
		}
	})
}

// The order of a rotation is a protection each; without it packets are lost, so
// that none lost means something.
func TestTheWrongOrderLosesPackets(t *testing.T) {
	for name, c := range map[string]struct {
		wrong func(x *world)
		lost  func(l sim.Losses) uint64
	}{
		"switching before one node accepts": {
			func(x *world) { x.install(2, x.down1); x.sendWith(2); x.pass(time.Second) },
			func(l sim.Losses) uint64 { return l.NoKey },
		},
		"forgetting before the drain": {
			func(x *world) { x.install(2, x.down1, x.down2); x.sendWith(2); x.remove(1, x.down1, x.down2) },
			func(l sim.Losses) uint64 { return l.NoKey },
		},
		"another key under the epoch": {
			func(x *world) {
				x.install(2, x.down1)
				x.down2.CorruptKey(true)
				x.install(2, x.down2)
				x.sendWith(2)
				x.pass(time.Second)
			},
			func(l sim.Losses) uint64 { return l.WrongKey },
		},
		"a node restarts": {
			func(x *world) { x.down1.Reboot(time.Second); x.pass(500 * time.Millisecond) },
			func(l sim.Losses) uint64 { return l.Down },
		},
	} {
		t.Run(name, func(t *testing.T) {
			during(t, sim.NodeOptions{}, func(t *testing.T, x *world) {
				if s := x.net.Stats(link); s.Lost.Total() != 0 {
					t.Fatalf("lost before it began: %+v", s)
				}
				c.wrong(x)
				s := x.settled()
				if c.lost(s.Lost) == 0 || c.lost(s.Lost) != s.Lost.Total() {
					t.Errorf("counts: %+v", s)
				}
				if s.Delivered == 0 {
					t.Error("nothing was delivered at all")
				}
			})
		})
	}
}

func TestPuttingASendingKeyBackReusesItsCounter(t *testing.T) {
	during(t, sim.NodeOptions{CounterBound: true}, func(t *testing.T, x *world) {
		x.up.RebootLosingKeys()
		x.pass(time.Second)
		if s := x.net.Stats(link); s.Silent == 0 || s.Reused != 0 {
			t.Fatalf("after losing its keys it sends: %+v", s)
		}
		x.sendWith(1)
		x.pass(time.Second)
		if s := x.settled(); s.Reused == 0 || s.Lost.Total() != 0 {
			t.Errorf("counts: %+v", s)
		}
	})
}

func TestResumeGoesOnCounting(t *testing.T) {
	during(t, sim.NodeOptions{CounterBound: true}, func(t *testing.T, x *world) {
		x.install(2, x.down1, x.down2)
		x.sendWith(2)
		x.pass(time.Second)
		sa, _ := x.key(1)
		type resumer interface {
			Resume(context.Context, keychain.SA) error
		}
		x.must(x.up.Upstream().(resumer).Resume(t.Context(), sa))
		x.pass(time.Second)
		if s := x.settled(); s.Reused != 0 || s.Lost.Total() != 0 {
			t.Errorf("counts: %+v", s)
		}
	})
}

func TestKeysMayBePutBackWithoutACounter(t *testing.T) {
	during(t, sim.NodeOptions{}, func(t *testing.T, x *world) {
		x.up.RebootLosingKeys()
		x.sendWith(1)
		x.pass(time.Second)
		if s := x.settled(); s.Reused != 0 {
			t.Errorf("counts: %+v", s)
		}
	})
}

func TestADeadNodeForwardsAndHangs(t *testing.T) {
	during(t, sim.NodeOptions{}, func(t *testing.T, x *world) {
		x.down1.Dead(true)
		sa, k := x.key(2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		err := x.down1.Downstream().Install(ctx, sa, k)
		if !fault.Is(err, fault.Unknown) || time.Since(start) != time.Second {
			t.Errorf("install on a dead node: %v (%v) after %v", err, fault.Of(err), time.Since(start))
		}
		_, err = x.down1.Downstream().Observe(ctx, link)
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("observe a dead node: %v (%v)", err, fault.Of(err))
		}
		back := make(chan error)
		go func() { back <- x.down1.Downstream().Install(t.Context(), sa, k) }()
		x.pass(time.Second)
		x.down1.Dead(false)
		if err := <-back; !fault.Is(err, fault.Unavailable) {
			t.Errorf("an install that hung when the node came back: %v", err)
		}
		x.install(2, x.down1)
		if s := x.settled(); s.Lost.Total() != 0 || s.Silent != 0 {
			t.Errorf("counts: %+v", s)
		}
	})
}

func TestFaultsOfANode(t *testing.T) {
	during(t, sim.NodeOptions{}, func(t *testing.T, x *world) {
		sa, k := x.key(2)
		down := x.down1.Downstream()
		x.down1.Refuse(true)
		if err := down.Install(t.Context(), sa, k); !fault.Is(err, fault.Refused) {
			t.Errorf("a node that refuses: %v", err)
		}
		x.down1.Refuse(false)
		x.down1.Slow(time.Minute)
		start := time.Now()
		x.install(2, x.down1)
		if took := time.Since(start); took != time.Minute {
			t.Errorf("a slow install took %v", took)
		}
		x.down1.Slow(0)
		right, _ := down.Observe(t.Context(), link)
		x.down1.LieKCV(true)
		wrong, _ := down.Observe(t.Context(), link)
		for i, r := range right.Accepts {
			if l := wrong.Accepts[i]; l.Epoch != r.Epoch || l.KCV == r.KCV || len(l.KCV) != len(r.KCV) {
				t.Errorf("a lie about %v is %v", r, l)
			}
		}
		x.down1.LieKCV(false)
		for e := range keychain.Epoch(2) {
			x.install(e+3, x.down1)
		}
		sa, k = x.key(5)
		if err := down.Install(t.Context(), sa, k); !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "4 keys at most") {
			t.Errorf("a fifth key: %v", err)
		}
		x.down1.CounterBound(true)
		if !x.down1.Capabilities().CounterBound {
			t.Error("counter-bound did not show")
		}
	})
}

func TestKeysThatChangeBetweenTwoBeatsLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sim.NewNetwork(sim.Options{Latency: 5 * time.Millisecond})
		defer w.Close()
		x := &world{T: t, net: w, up: w.Node("up"), down1: w.Node("down1"), latency: 5 * time.Millisecond, keys: map[keychain.Epoch]secret.Key{}}
		x.install(1, x.down1)
		x.sendWith(1)
		w.Traffic(link, []keychain.NodeID{"up"}, []keychain.NodeID{"down1"}, time.Millisecond)
		for e := keychain.Epoch(1); e < 50; e++ {
			time.Sleep(3 * time.Millisecond)
			x.install(e+1, x.down1)
			x.sendWith(e + 1)
			time.Sleep(7 * time.Millisecond)
			x.remove(e, x.down1)
		}
		if s := x.settled(); s.Lost.Total() != 0 || s.Sent < 400 {
			t.Errorf("counts: %+v", s)
		}
	})
}

func TestANodeOnBothSidesDoesNotHearItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sim.NewNetwork(sim.Options{})
		defer w.Close()
		all := []keychain.NodeID{"a", "b", "c"}
		stop := w.Traffic(link, all, all, time.Second)
		time.Sleep(10 * time.Second)
		stop()
		time.Sleep(time.Hour)
		if s := w.Total(); s.Silent != 60 || s.Sent != 0 {
			t.Errorf("counts: %+v", s)
		}
	})
}

func TestNoLinkKeyGetsIntoTheNetwork(t *testing.T) {
	during(t, sim.NodeOptions{}, func(t *testing.T, x *world) {
		c := secrettest.New(t)
		sa := keychain.SA{Link: link, Ref: keychain.Ref{Epoch: 2}}
		x.must(x.down1.Downstream().Install(t.Context(), sa, c.Key))
		x.must(x.up.Upstream().Switch(t.Context(), sa, c.Key))
		x.pass(time.Second)
		dump := new(bytes.Buffer)
		sim.Dump(dump, x.net)
		c.Absent(t, "the network", dump.String())
		if !strings.Contains(dump.String(), "down1") {
			t.Error("the dump shows nothing")
		}
	})
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		fields map[string]any
		want   []string
	}{
		{map[string]any{"counterBound": "yes"}, []string{`counterBound: "yes" is neither true nor false`}},
		{map[string]any{"acceptMany": 0, "latency": 5}, []string{"acceptMany: 0 is not a whole number from 1 to 256", "latency: 5 is not a duration"}},
		{map[string]any{"counterbound": true}, []string{"counterbound: no such field: a device of kind sim has acceptMany, counterBound"}},
		{map[string]any{"network": "tcp://x"}, []string{`network: the address of a network has the form "unix:///path"`}},
	} {
		_, err := sim.Capabilities(c.fields)
		for _, want := range c.want {
			if !fault.Is(err, fault.Invalid) || !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("%v: %v, want %q", c.fields, err, want)
			}
		}
	}
	if _, err := sim.New("n", nil, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("no network at all: %v", err)
	}
	caps, err := sim.Capabilities(map[string]any{"acceptMany": 2.0, "counterBound": true, "latency": "1ms", "network": "unix:///x"})
	if want := (keychain.Capabilities{AcceptMany: 2, SwitchSeparate: true, CounterBound: true}); err != nil || caps != want {
		t.Errorf("capabilities %+v (%v), want %+v", caps, err, want)
	}
}
