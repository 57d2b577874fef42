//go:build devices

package devices_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devices/proof"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret/secrettest"
	"github.com/strongswan/govici/vici"
)

// pskBed is the two gateways of the page, with their tunnel in swanctl.conf.
func pskBed(t testing.TB) (a, b *charonEnd) {
	t.Helper()
	return charonBed(t, block(t, strongswanPage, "conf", 4), block(t, strongswanPage, "conf", 3))
}

// loadPSK loads a secret as nobody but a hand would.
func (e *charonEnd) loadPSK(t testing.TB, id, data string, owners ...string) {
	t.Helper()
	s, err := vici.NewSession(vici.WithAddr("unix", e.socket()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	m := vici.NewMessage()
	for name, value := range map[string]any{"id": id, "type": "IKE", "data": data, "owners": owners} {
		if err := m.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.CommandRequest("load-shared", m); err != nil {
		t.Fatal(err)
	}
}

func TestStrongswanPSKProof(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	a, b := pskBed(t)
	documents := tunnelTopology(t, 1, a, b)
	const link keychain.LinkID = "north-south"
	proof.Run(t, proof.Shared(t), proof.Device{
		Kind: "strongswan psk", Topology: documents,
		Sites: []keychain.SiteID{"north", "south"}, Links: []keychain.LinkID{link},
		Traffic: func(t *testing.T) []proof.Direction {
			return []proof.Direction{
				{Name: "north to south", Meter: tunnelFlow(t, a, b, "10.1.0.1", "10.1.0.2", 2*time.Millisecond)},
				{Name: "south to north", Meter: tunnelFlow(t, b, a, "10.1.0.2", "10.1.0.1", 2*time.Millisecond)},
			}
		},
		BreakInstall: func(t *testing.T) (mend func()) { return b.hide(t) },
		Says:         "cannot reach charon at " + b.socket() + ": no such file or directory",
		Restart:      func(t *testing.T) { b.restart(t) },
		WrongOrder: func(t *testing.T) {
			// The new key first, and only at one end: the probe fails, the old key signs,
			// and no packet is lost to this alone.
			sa := keychain.SA{Link: link, Ref: keychain.Ref{Epoch: 999}}
			err := tunnelNode(t, documents, "north-gw").Upstream().Switch(t.Context(), sa, secrettest.New(t).Key)
			if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "AUTHENTICATION_FAILED") {
				t.Errorf("switch to a key that the peer lacks: %v (%v)", err, fault.Of(err))
			}
			if err := a.authenticates("south"); err != nil {
				t.Errorf("after a switch that failed: %v", err)
			}
			// Whoever signs with it anyway loses the tunnel once it is authenticated anew.
			a.loadPSK(t, "keyorch.north-south.e999-0123456789.sign", "not known to the peer", "north.example", "to-north.example")
			if err := a.authenticates("south"); err == nil {
				t.Error("the peer accepts a key that it does not have")
			}
		},
	})
}

// authenticates ends the tunnel of a connection, and establishes it again.
func (e *charonEnd) authenticates(ike string) error {
	_ = e.swanctl("--terminate", "--ike", ike) // there may be none
	return e.swanctl("--initiate", "--ike", ike, "--child", "net", "--timeout", "5")
}
