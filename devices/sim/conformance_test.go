package sim_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/sim"
	"github.com/keyorch/keyorch/downstream/downstreamtest"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/upstream/upstreamtest"
)

// kinds are the devices that both suites run over.
var kinds = map[string]sim.NodeOptions{
	"plain":         {},
	"counter-bound": {CounterBound: true},
	"survives":      {Survives: true, AcceptMany: 2},
	"takes a while": {Takes: time.Millisecond},
}

// open makes a node and its device, in this process or over a socket.
func open(t *testing.T, o sim.NodeOptions, remote bool) (*sim.Node, *sim.Device) {
	w := sim.NewNetwork(sim.Options{Latency: time.Millisecond})
	t.Cleanup(w.Close)
	n := w.Node("n1", o)
	w.Traffic("conformance", []keychain.NodeID{"n1"}, []keychain.NodeID{"n2"}, 200*time.Microsecond)
	if !remote {
		return n, &n.Device
	}
	return n, serve(t, w).Device("n1", o)
}

func serve(t *testing.T, w *sim.Network) *sim.Remote {
	path := filepath.Join(t.TempDir(), "sim.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- w.Serve(ctx, l) }()
	r, err := sim.Dial("unix://" + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return r
}

func reboot(n *sim.Node) func() {
	if n.Capabilities().Survives {
		return func() { n.Reboot(0) }
	}
	return n.RebootLosingKeys
}

func TestConformance(t *testing.T) {
	for name, o := range kinds {
		for place, remote := range map[string]bool{"here": false, "over a socket": true} {
			t.Run(name+" "+place+" upstream", func(t *testing.T) {
				upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
					n, d := open(t, o, remote)
					return upstreamtest.Fixture{
						Device:   d.Upstream(),
						FailNext: func() { n.FailNext(sim.OpSwitch) },
						HangNext: func() func() { return n.HangNext(sim.OpSwitch) },
						LoseNext: func() { n.LoseNext(sim.OpSwitch) },
						Reboot:   reboot(n),
						Reused:   func() int { return reused(t, n) },
					}
				})
			})
			t.Run(name+" "+place+" downstream", func(t *testing.T) {
				downstreamtest.Run(t, func(t *testing.T) downstreamtest.Fixture {
					n, d := open(t, o, remote)
					return downstreamtest.Fixture{
						Device:   d.Downstream(),
						FailNext: func() { n.FailNext(sim.OpAnyChange) },
						HangNext: func() func() { return n.HangNext(sim.OpAnyChange) },
						LoseNext: func() { n.LoseNext(sim.OpAnyChange) },
						Reboot:   reboot(n),
						Send:     d.Upstream().Switch,
						Sends: func(ctx context.Context, link keychain.LinkID) (keychain.Ref, error) {
							o, err := d.Upstream().Observe(ctx, link)
							return o.Sends, err
						},
					}
				})
			})
		}
	}
}

// reused waits until the node has sent a few more packets, then counts those
// that repeat a counter.
func reused(t *testing.T, n *sim.Node) int {
	w := n.Network()
	before := w.Stats("conformance").Sent + w.Stats("conformance").Silent
	for deadline := time.After(5 * time.Second); ; {
		s := w.Stats("conformance")
		if s.Sent+s.Silent > before+5 {
			return int(s.Reused)
		}
		select {
		case <-deadline:
			t.Fatal("no traffic")
		case <-time.After(time.Millisecond):
		}
	}
}
