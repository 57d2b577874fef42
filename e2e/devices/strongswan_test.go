//go:build devices

package devices_test

import (
	"context"
	"fmt"
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

// initiator is the parameters of a link at the node that initiates it.
func initiator() map[string]any {
	return map[string]any{"overlap": "100ms", "connection": map[string]any{
		"local_addrs": []any{"10.9.0.1"}, "remote_addrs": []any{"10.9.0.2"}, "proposals": "aes256-sha256-curve25519",
		"local":    map[string]any{"auth": "psk", "id": "branch.example"},
		"remote":   map[string]any{"auth": "psk", "id": "hub.example"},
		"children": map[string]any{"net": map[string]any{"local_ts": "10.1.0.1/32", "remote_ts": "10.1.0.2/32", "esp_proposals": "aes128gcm16"}},
	}}
}

// strongswanDevice is the driver of one end, with the links of the suites.
func strongswanDevice(t testing.TB, socket string, link map[string]any) *strongswan.Device {
	t.Helper()
	links := map[string]any{"conformance": link}
	for i := range 8 {
		links[fmt.Sprintf("link-%d", i)] = link
	}
	d, err := strongswan.New("n1", map[string]any{"socket": socket, "links": links})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// answered is an initiator whose responder holds every key that it is switched to,
// as an orchestrator sees to it, unless the next switch is to fail.
type answered struct {
	upstream.Device
	responder downstream.Device
	deaf      atomic.Bool
}

func (a *answered) Switch(ctx context.Context, sa keychain.SA, key secret.Key) error {
	if !a.deaf.Swap(false) {
		err := a.responder.Install(context.WithoutCancel(ctx), sa, key)
		if err != nil && !fault.Is(err, fault.Mismatch) {
			return err
		}
	}
	return a.Device.Switch(ctx, sa, key)
}

func TestStrongswanConformanceUpstream(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
		a, b := tunnelBed(t)
		troubled := filepath.Join(a.Dir, "troubled.vici")
		proxy := testbed.NewProxy(t, "unix", troubled, a.socket(), "initiate")
		d := &answered{
			Device:    strongswanDevice(t, troubled, initiator()).Upstream(),
			responder: strongswanDevice(t, b.socket(), nil).Downstream(),
		}
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

func TestStrongswanConformanceDownstream(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	downstreamtest.Run(t, func(t *testing.T) downstreamtest.Fixture {
		_, b := tunnelBed(t)
		// Every operation begins with a look at the secrets, at which it can fail for
		// certain; "load-shared" also stands in unload-shared.
		changes := testbed.NewProxy(t, "unix", filepath.Join(b.Dir, "changes.vici"), b.socket(), "load-shared")
		looks := testbed.NewProxy(t, "unix", filepath.Join(b.Dir, "looks.vici"), filepath.Join(b.Dir, "changes.vici"), "get-shared")
		return downstreamtest.Fixture{
			Device:   strongswanDevice(t, filepath.Join(b.Dir, "looks.vici"), nil).Downstream(),
			FailNext: looks.FailNext,
			HangNext: changes.HangNext,
			LoseNext: changes.LoseNext,
			Reboot:   func() { b.restart(t) },
			Logs:     b.log,
		}
	})
}
