package sim_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/sim"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret/secrettest"
)

func TestANetworkElsewhereKeepsItsFaultsAndKinds(t *testing.T) {
	w := sim.NewNetwork(sim.Options{})
	defer w.Close()
	r := serve(t, w)
	c := secrettest.New(t)
	sa := keychain.SA{Link: link, Ref: keychain.Ref{Epoch: 1}}
	d := r.Device("n1", sim.NodeOptions{CounterBound: true})
	n := w.Node("n1")
	if err := d.Downstream().Install(t.Context(), sa, c.Key); err != nil {
		t.Fatal(err)
	}
	n.CounterBound(false)
	if _, err := d.Downstream().Observe(t.Context(), link); err != nil || n.Capabilities().CounterBound {
		t.Errorf("the fault that was set on the network did not stay (%v)", err)
	}
	for kind, set := range map[fault.Kind]func(){
		fault.Refused:     func() { n.Refuse(true) },
		fault.Unavailable: func() { n.Refuse(false); n.FailNext(sim.OpSwitch) },
		fault.Unknown:     func() { n.Refuse(false); n.LoseNext(sim.OpSwitch) },
	} {
		set()
		if err := d.Upstream().Switch(t.Context(), sa, c.Key); fault.Of(err) != kind || err == nil {
			t.Errorf("%v came over as %v", kind, err)
		}
	}
	all, err := r.Stats(t.Context())
	if err != nil || len(all) != 1 {
		t.Errorf("stats: %v (%v)", all, err)
	}
}

func TestACallerThatGoesAwayChangesNothing(t *testing.T) {
	w := sim.NewNetwork(sim.Options{})
	defer w.Close()
	r := serve(t, w)
	c := secrettest.New(t)
	sa := keychain.SA{Link: link, Ref: keychain.Ref{Epoch: 1}}
	d := r.Device("n1", sim.NodeOptions{Takes: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() { gone <- d.Upstream().Switch(ctx, sa, c.Key) }()
	cancel()
	if err := <-gone; !fault.Is(err, fault.Unknown) {
		t.Errorf("the caller was told %v", err)
	}
	w.Node("n1").Slow(0)
	if o, err := w.Node("n1").Upstream().Observe(t.Context(), link); err != nil || !o.Sends.IsZero() {
		t.Errorf("it sends with %v (%v)", o.Sends, err)
	}
}

func TestANetworkThatIsNotThereIsUnavailable(t *testing.T) {
	r, err := sim.Dial("unix://" + filepath.Join(t.TempDir(), "nobody.sock"))
	if err != nil {
		t.Fatal(err)
	}
	c := secrettest.New(t)
	d := r.Device("n1", sim.NodeOptions{})
	err = d.Upstream().Switch(t.Context(), keychain.SA{Link: link, Ref: keychain.Ref{Epoch: 1}}, c.Key)
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("switch: %v (%v)", err, fault.Of(err))
	}
	if _, err := r.Stats(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("stats: %v", err)
	}
}
