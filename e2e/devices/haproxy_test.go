//go:build devices

package devices_test

import (
	"context"
	"path/filepath"

	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/haproxy"
	"github.com/keyorch/keyorch/downstream/downstreamtest"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/upstream/upstreamtest"
)

// ringTimeout is how long an operation of the suites may take: a lost answer to a
// reload is waited for that long.
const ringTimeout = 8 * time.Second

// troubledRing is a HAProxy behind a proxy for each of the commands that matter.
type troubledRing struct {
	*balancer
	*haproxy.Device
	push, reload *testbed.Proxy
}

func newTroubledRing(t *testing.T) troubledRing {
	t.Helper()
	b := newBalancer(t, manyBinds, conformanceLinks()...)
	inner, front := filepath.Join(b.dir, "inner.sock"), filepath.Join(b.dir, "front.sock")
	x := troubledRing{
		balancer: b,
		reload:   testbed.NewProxy(t, "unix", inner, b.socket(), "reload\n"),
		push:     testbed.NewProxy(t, "unix", front, inner, "set ssl tls-key "),
		Device:   ringDevice(t, b, front),
	}
	x.reload.Refusal, x.push.Refusal = "Permission denied\n", "Permission denied\n"
	x.reload.Dark = ringTimeout + time.Second
	return x
}

// ringDevice is the driver for a balancer behind a socket.
func ringDevice(t testing.TB, b *balancer, socket string) *haproxy.Device {
	t.Helper()
	links := make(map[string]any)
	for link := range b.ports {
		links[link] = map[string]any{"keyFile": b.keyFile(link), "probe": b.address(link), "serverName": "www.example.org"}
	}
	d, err := haproxy.New("n1", map[string]any{"master": socket, "timeout": ringTimeout.String(), "links": links})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Whether an operation pushes or reloads depends on the ring: the trouble is for
// whichever comes.
func (x troubledRing) failNext() { x.push.FailNext(); x.reload.FailNext() }
func (x troubledRing) loseNext() { x.push.LoseNext(); x.reload.LoseNext() }
func (x troubledRing) hangNext() func() {
	push, reload := x.push.HangNext(), x.reload.HangNext()
	return func() { push(); reload() }
}
func (x troubledRing) logs() string { return testbed.Tail(x.log(), 1<<20) }

func TestHaproxyConformanceUpstream(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
		x := newTroubledRing(t)
		return upstreamtest.Fixture{
			Device: x.Upstream(), FailNext: x.failNext, HangNext: x.hangNext, LoseNext: x.loseNext, Reboot: x.restart, Logs: x.logs,
		}
	})
}

func TestHaproxyConformanceDownstream(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	downstreamtest.Run(t, func(t *testing.T) downstreamtest.Fixture {
		x := newTroubledRing(t)
		return downstreamtest.Fixture{
			Device: x.Downstream(), FailNext: x.failNext, HangNext: x.hangNext, LoseNext: x.loseNext, Reboot: x.restart, Logs: x.logs,
			Send: x.Upstream().Switch,
			Sends: func(ctx context.Context, link keychain.LinkID) (keychain.Ref, error) {
				o, err := x.Upstream().Observe(ctx, link)
				return o.Sends, err
			},
		}
	})
}
