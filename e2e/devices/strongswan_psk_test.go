//go:build devices

package devices_test

import (
	"context"
	"maps"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/keyorch/keyorch/devices/strongswan"
	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/downstream/downstreamtest"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/upstream"
	"github.com/keyorch/keyorch/upstream/upstreamtest"
)

// pskEnds is the drivers of both ends, with the links of the suites in mode psk.
// Each link has identities of its own.
func pskEnds(t testing.TB, a, b string, more map[string]any) (atA, atB *strongswan.Device) {
	t.Helper()
	end := func(node, socket, local, localAddress, remote, remoteAddress string) *strongswan.Device {
		links := make(map[string]any)
		for _, name := range []string{"conformance", "link-0", "link-1", "link-2", "link-3", "link-4", "link-5", "link-6", "link-7"} {
			links[name] = map[string]any{"mode": "psk", "localID": local + "." + name, "remoteID": remote + "." + name,
				"connection": map[string]any{"local_addrs": localAddress, "remote_addrs": remoteAddress, "proposals": "aes256-sha256-curve25519"}}
		}
		if node == "n1" {
			maps.Copy(links["conformance"].(map[string]any), more)
		}
		d, err := strongswan.New(keychain.NodeID(node), map[string]any{"socket": socket, "timeout": "3s", "links": links})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	return end("n1", a, "branch", "10.9.0.1", "hub", "10.9.0.2"), end("n2", b, "hub", "10.9.0.2", "branch", "10.9.0.1")
}

// shared is an end whose peer accepts every key that it is switched to, as an
// orchestrator sees to it, unless the next switch is to fail.
type shared struct {
	upstream.Device
	own, peer downstream.Device
	deaf      atomic.Bool
}

func (s *shared) Switch(ctx context.Context, sa keychain.SA, key secret.Key) error {
	accepting := []downstream.Device{s.own, s.peer}
	if s.deaf.Swap(false) {
		accepting = accepting[:1]
	}
	for _, d := range accepting {
		if err := d.Install(context.WithoutCancel(ctx), sa, key); err != nil && !fault.Is(err, fault.Mismatch) {
			return err
		}
	}
	return s.Device.Switch(ctx, sa, key)
}

func TestStrongswanPSKConformanceUpstream(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
		a, b := tunnelBed(t)
		troubled := filepath.Join(a.Dir, "troubled.vici")
		proxy := testbed.NewProxy(t, "unix", troubled, a.socket(), "initiate")
		atA, atB := pskEnds(t, troubled, b.socket(), nil)
		d := &shared{Device: atA.Upstream(), own: atA.Downstream(), peer: atB.Downstream()}
		return upstreamtest.Fixture{
			Device:   d,
			FailNext: func() { d.deaf.Store(true) },
			HangNext: proxy.HangNext,
			LoseNext: proxy.LoseNext,
			Reboot:   func() { a.restart(t) },
			Logs:     func() string { return a.log() + b.log() },
		}
	})
}

func TestStrongswanPSKConformanceDownstream(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	downstreamtest.Run(t, func(t *testing.T) downstreamtest.Fixture {
		a, b := tunnelBed(t)
		// As in the other mode: every operation begins with a look at the secrets, and
		// "load-shared" also stands in unload-shared.
		changes := testbed.NewProxy(t, "unix", filepath.Join(a.Dir, "changes.vici"), a.socket(), "load-shared")
		looks := testbed.NewProxy(t, "unix", filepath.Join(a.Dir, "looks.vici"), filepath.Join(a.Dir, "changes.vici"), "get-shared")
		atA, atB := pskEnds(t, filepath.Join(a.Dir, "looks.vici"), b.socket(), nil)
		d := &shared{Device: atA.Upstream(), own: atA.Downstream(), peer: atB.Downstream()}
		return downstreamtest.Fixture{
			Device:   atA.Downstream(),
			FailNext: looks.FailNext,
			HangNext: changes.HangNext,
			LoseNext: changes.LoseNext,
			Reboot:   func() { a.restart(t) },
			Send:     d.Switch,
			Sends: func(ctx context.Context, link keychain.LinkID) (keychain.Ref, error) {
				o, err := atA.Upstream().Observe(ctx, link)
				return o.Sends, err
			},
			Logs: func() string { return a.log() + b.log() },
		}
	})
}
