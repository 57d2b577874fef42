package sim_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/sim"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret/secrettest"
)

// BenchmarkTraffic is the processor time of one second of traffic on a thousand
// links with three nodes each, a packet every 10 ms.
func BenchmarkTraffic(b *testing.B) {
	w := sim.NewNetwork(sim.Options{})
	defer w.Close()
	for i := range 1000 {
		link := keychain.LinkID(fmt.Sprintf("l%d", i))
		up, down := keychain.NodeID(fmt.Sprintf("up%d", i)), []keychain.NodeID{keychain.NodeID(fmt.Sprintf("a%d", i)), keychain.NodeID(fmt.Sprintf("b%d", i))}
		sa, k := keychain.SA{Link: link, Ref: keychain.Ref{Epoch: 1}}, secrettest.New(b).Key
		for _, n := range down {
			if err := w.Node(n).Downstream().Install(b.Context(), sa, k); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Node(up).Upstream().Switch(b.Context(), sa, k); err != nil {
			b.Fatal(err)
		}
		w.Traffic(link, []keychain.NodeID{up}, down, 10*time.Millisecond)
	}
	now := time.Now()
	for b.Loop() {
		now = now.Add(time.Second)
		sim.AdvanceTo(w, now)
	}
	if s := w.Total(); s.Lost.Total() != 0 || s.Sent == 0 {
		b.Errorf("counts: %+v", s)
	}
}
