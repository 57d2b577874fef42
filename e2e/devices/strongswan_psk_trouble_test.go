//go:build devices

package devices_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/devices/strongswan"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// pskKey is a key and what it is called.
type pskKey struct {
	sa  keychain.SA
	key secret.Key
}

func newPSKKey(t testing.TB, e keychain.Epoch) pskKey {
	t.Helper()
	sa, key := tunnelKey(t, e)
	return pskKey{sa, key}
}

// obey does what an agent does for an order.
func obey(t testing.TB, d *strongswan.Device, send pskKey, accept ...pskKey) {
	t.Helper()
	for _, k := range accept {
		if err := d.Downstream().Install(t.Context(), k.sa, k.key); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Upstream().Switch(t.Context(), send.sa, send.key); err != nil {
		t.Fatal(err)
	}
}

// pskTunnel is the tunnel of the suites' link, in swanctl.conf of one end.
func pskTunnel(local, localNet, remote, remoteNet string) string {
	return strings.NewReplacer("LOCAL", local, "REMOTE", remote, "LNET", localNet, "RNET", remoteNet).Replace(`
connections { tunnel { version = 2
  proposals = aes256-sha256-curve25519
  local_addrs = LOCADDR
  remote_addrs = REMADDR
  local { auth = psk
    id = LOCAL.conformance }
  remote { auth = psk
    id = REMOTE.conformance }
  children { net { local_ts = LNET
    remote_ts = RNET
    esp_proposals = aes128gcm16 } } } }
`)
}

// pskTunnelBed is two ends with the tunnel of the suites' link.
func pskTunnelBed(t testing.TB) (a, b *charonEnd) {
	t.Helper()
	confA := pskTunnel("branch", "10.1.0.1/32", "hub", "10.1.0.2/32")
	confB := pskTunnel("hub", "10.1.0.2/32", "branch", "10.1.0.1/32")
	return charonBed(t, strings.NewReplacer("LOCADDR", "10.9.0.1", "REMADDR", "10.9.0.2").Replace(confA),
		strings.NewReplacer("LOCADDR", "10.9.0.2", "REMADDR", "10.9.0.1").Replace(confB))
}

// In every phase either end can restart, and the two authenticate each other
// anew, whoever begins: when the keys are accepted again, and when the end has
// switched again.
func TestStrongswanPSKAuthenticatesInEveryPhase(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	a, b := pskTunnelBed(t)
	atA, atB := pskEnds(t, a.socket(), b.socket(), nil)
	old, next := newPSKKey(t, 1), newPSKKey(t, 2)
	for _, k := range []pskKey{old, next} {
		for _, d := range []*strongswan.Device{atA, atB} {
			if err := d.Downstream().Install(t.Context(), k.sa, k.key); err != nil {
				t.Fatal(err)
			}
		}
	}
	authentic := func(when string) {
		t.Helper()
		for name, end := range map[string]*charonEnd{"a": a, "b": b} {
			if err := end.authenticates("tunnel"); err != nil {
				t.Errorf("%s, begun by %s: %v", when, name, err)
			}
		}
	}
	for _, phase := range []struct {
		name     string
		byA, byB pskKey
	}{
		{"staged", old, old}, {"switching, a first", next, old}, {"switching, b first", old, next}, {"draining", next, next},
	} {
		obey(t, atA, phase.byA, old, next)
		obey(t, atB, phase.byB, old, next)
		authentic(phase.name)
		for _, end := range []struct {
			charon *charonEnd
			device *strongswan.Device
			send   pskKey
		}{{a, atA, phase.byA}, {b, atB, phase.byB}} {
			end.charon.restart(t)
			for _, k := range []pskKey{old, next} {
				if err := end.device.Downstream().Install(t.Context(), k.sa, k.key); err != nil {
					t.Fatal(err)
				}
			}
			authentic(phase.name + ", one end has restarted and accepts")
			obey(t, end.device, end.send, old, next)
			authentic(phase.name + ", one end has restarted and switched")
		}
	}
	for _, d := range []*strongswan.Device{atA, atB} {
		if err := d.Downstream().Remove(t.Context(), old.sa); err != nil {
			t.Fatal(err)
		}
	}
	authentic("the old key is gone")
	lacking := newPSKKey(t, 3)
	if err := atA.Upstream().Switch(t.Context(), lacking.sa, lacking.key); !fault.Is(err, fault.Unavailable) {
		t.Errorf("switch to a key that the peer lacks: %v (%v)", err, fault.Of(err))
	}
	authentic("a switch has failed")
}

// An agent that dies between the two steps of a switch leaves two keys that sign.
// Neither is shown, and the switch that is then repeated leaves one.
func TestStrongswanPSKFinishesASwitchThatWasBrokenOff(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	a, b := tunnelBed(t)
	troubled := filepath.Join(a.Dir, "troubled.vici")
	proxy := testbed.NewProxy(t, "unix", troubled, a.socket(), "unload-shared")
	atA, atB := pskEnds(t, troubled, b.socket(), nil)
	old, next := newPSKKey(t, 1), newPSKKey(t, 2)
	for _, k := range []pskKey{old, next} {
		if err := atB.Downstream().Install(t.Context(), k.sa, k.key); err != nil {
			t.Fatal(err)
		}
	}
	obey(t, atA, old, old, next)
	proxy.HangNext()
	if err := atA.Upstream().Switch(t.Context(), next.sa, next.key); !fault.Is(err, fault.Unknown) {
		t.Errorf("a switch that is broken off: %v (%v)", err, fault.Of(err))
	}
	for _, want := range []keychain.Ref{{}, next.sa.Ref} {
		if o, err := atA.Upstream().Observe(t.Context(), old.sa.Link); err != nil || o.Sends != want {
			t.Errorf("it sends with %v (%v), want %v", o.Sends, err, want)
		}
		obey(t, atA, next)
	}
}

// A probe that an agent left behind when it died proves nothing.
func TestStrongswanPSKProvesAnewWhatWasProven(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	a, b := tunnelBed(t)
	troubled := filepath.Join(a.Dir, "troubled.vici")
	proxy := testbed.NewProxy(t, "unix", troubled, a.socket(), "terminate")
	atA, atB := pskEnds(t, troubled, b.socket(), nil)
	old, next := newPSKKey(t, 1), newPSKKey(t, 2)
	for _, k := range []pskKey{old, next} {
		if err := atB.Downstream().Install(t.Context(), k.sa, k.key); err != nil {
			t.Fatal(err)
		}
	}
	obey(t, atA, old, old, next)
	proxy.HangNext()
	if err := atA.Upstream().Switch(t.Context(), next.sa, next.key); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a probe that is not ended: %v (%v)", err, fault.Of(err))
	}
	if err := atB.Downstream().Remove(t.Context(), next.sa); err != nil {
		t.Fatal(err)
	}
	if err := atA.Upstream().Switch(t.Context(), next.sa, next.key); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "AUTHENTICATION_FAILED") {
		t.Errorf("the peer has not got it any more: %v (%v)", err, fault.Of(err))
	}
	if o, err := atA.Upstream().Observe(t.Context(), old.sa.Link); err != nil || o.Sends != old.sa.Ref {
		t.Errorf("it sends with %v (%v), want %v", o.Sends, err, old.sa.Ref)
	}
}

// An operator who loads swanctl.conf again takes keyorch's secrets and connections
// from charon. That is seen, and put back.
func TestStrongswanPSKSeesWhatAnOperatorUnloads(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	a, b := tunnelBed(t)
	atA, atB := pskEnds(t, a.socket(), b.socket(), nil)
	one := newPSKKey(t, 1)
	if err := atB.Downstream().Install(t.Context(), one.sa, one.key); err != nil {
		t.Fatal(err)
	}
	obey(t, atA, one, one)
	for _, what := range []string{"--load-conns", "--load-all"} {
		if err := a.swanctl(what, "--file", filepath.Join(a.Dir, "swanctl.conf")); err != nil {
			t.Fatal(err)
		}
		if o, err := atA.Downstream().Observe(t.Context(), one.sa.Link); err != nil || len(o.Accepts) != 0 {
			t.Errorf("%s: it accepts %v (%v)", what, o.Accepts, err)
		}
		obey(t, atA, one, one)
		down, err := atA.Downstream().Observe(t.Context(), one.sa.Link)
		up, err2 := atA.Upstream().Observe(t.Context(), one.sa.Link)
		if err != nil || err2 != nil || len(down.Accepts) != 1 || up.Sends != one.sa.Ref {
			t.Errorf("%s: it accepts %v and sends with %v (%v, %v)", what, down.Accepts, up.Sends, err, err2)
		}
	}
}

// The tunnel that keyorch looks after is taken as it is, too.
func TestStrongswanPSKTakesWhatAnotherAttemptHasEstablished(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	a, b := pskTunnelBed(t)
	driver := func(socket string) *strongswan.Device {
		atA, _ := pskEnds(t, socket, b.socket(), map[string]any{"ike": "tunnel", "child": "net"})
		return atA
	}
	k := newPSKKey(t, 1)
	_, atB := pskEnds(t, a.socket(), b.socket(), nil)
	for _, d := range []*strongswan.Device{driver(a.socket()), atB} {
		must(t, d.Downstream().Install(t.Context(), k.sa, k.key))
	}
	overtake(t, a, "\x05child", driver, k.sa, k.key) // what names the child begins that of the tunnel alone
}
