//go:build devices

package devices_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/keyorch/keyorch/devices/macsec"
	"github.com/keyorch/keyorch/downstream"
	"github.com/keyorch/keyorch/downstream/downstreamtest"
	"github.com/keyorch/keyorch/e2e/devices/guest"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret/secrettest"
	"github.com/keyorch/keyorch/upstream/upstreamtest"
)

func TestMacsecConformance(t *testing.T) {
	testbed.SideBySide(t, testbed.Guests)
	if !guest.Inside() {
		guest.RunTest(t, guest.Test{Files: []string{"macsec_test.go", "macsec_bed_test.go"}, Modules: macsecModules})
		return
	}
	// Only frames of the tests themselves are to be on the cable.
	for _, which := range []string{"all", "default"} {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+which+"/disable_ipv6", []byte("1"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, suite := range []string{"gcm-aes-128", "gcm-aes-xpn-256"} {
		t.Run(suite+" upstream", func(t *testing.T) {
			upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
				b := newMacsecBed(t, suite)
				d := &macsecTroubled{Device: b.device(t), bed: b}
				return upstreamtest.Fixture{
					Device: macsecSender{d, macsec.Upstream{Device: d.Device}}, FailNext: d.failNext, Reboot: b.remake,
					Reused: func() int { return b.pass(t, d.Device) },
				}
			})
		})
		t.Run(suite+" downstream", func(t *testing.T) {
			downstreamtest.Run(t, func(t *testing.T) downstreamtest.Fixture {
				b := newMacsecBed(t, suite)
				d := &macsecTroubled{Device: b.device(t), bed: b}
				return downstreamtest.Fixture{
					Device: macsecReceiver{d, d.Device.Downstream()}, FailNext: d.failNext, Reboot: b.remake,
					Send: d.Device.Upstream().Switch,
					Sends: func(ctx context.Context, link keychain.LinkID) (keychain.Ref, error) {
						o, err := d.Device.Upstream().Observe(ctx, link)
						return o.Sends, err
					},
				}
			})
		})
	}
	for _, suite := range []string{"gcm-aes-128", "gcm-aes-256", "gcm-aes-xpn-128", "gcm-aes-xpn-256"} {
		t.Run(suite+" frames", func(t *testing.T) { macsecFrames(t, suite) })
	}
	t.Run("what an operator reads", macsecWords)
}

// macsecFrames sends frames with one key after the other, past the end of the ANs,
// and wants each to be taken under its epoch at the far end, and nothing else to be
// taken.
func macsecFrames(t *testing.T, suite string) {
	b := newMacsecBed(t, suite)
	b.ip("link add link far taker type macsec cipher "+suite+" encrypt on", "link set taker up")
	taker, err := macsec.New("n2", map[string]any{"links": map[string]any{
		"conformance": map[string]any{"interface": "taker", "peer": macsecOwn},
	}})
	if err != nil {
		t.Fatal(err)
	}
	sender := b.device(t)
	var c secrettest.Canary
	var sa keychain.SA
	for e := keychain.Epoch(1); e <= 6; e++ {
		c = secrettest.New(t)
		sa = keychain.SA{Link: "conformance", Ref: keychain.Ref{Epoch: e}, Serial: keychain.Serial(e)}
		if err := taker.Downstream().Install(t.Context(), sa, c.Key); err != nil {
			t.Fatal(err)
		}
		if err := sender.Upstream().Switch(t.Context(), sa, c.Key); err != nil {
			t.Fatal(err)
		}
		if n := b.pass(t, sender); n != 0 {
			t.Errorf("epoch %d: %d packet numbers were used twice", e, n)
		}
		sent, err := sender.Upstream().Observe(t.Context(), sa.Link)
		if err != nil {
			t.Fatal(err)
		}
		taken, err := taker.Downstream().Observe(t.Context(), sa.Link)
		if err != nil || taken.Packets[e] == 0 || taken.Packets[e] != sent.Packets[e] {
			t.Errorf("epoch %d: %d frames taken, %d sent (%v)", e, taken.Packets[e], sent.Packets[e], err)
		}
		if old := (keychain.SA{Link: sa.Link, Ref: keychain.Ref{Epoch: e - 1}}); e > 1 {
			if err := taker.Downstream().Remove(t.Context(), old); err != nil {
				t.Error(err)
			}
		}
	}
	// The teeth: without the ledger that agents keep, a restart repeats numbers.
	b.remake()
	if err := sender.Upstream().Switch(t.Context(), sa, c.Key); err != nil {
		t.Fatal(err)
	}
	if n := b.pass(t, sender); n == 0 {
		t.Error("a key that was put back after a restart is not seen to repeat packet numbers")
	}
}

// macsecWords are the messages of a real kernel, each of which says what to do.
func macsecWords(t *testing.T) {
	b := newMacsecBed(t, "gcm-aes-128")
	c := secrettest.New(t)
	sa := keychain.SA{Link: "l1", Ref: keychain.Ref{Epoch: 1}, Serial: 1}
	for iface, want := range map[string]string{
		"nowhere": "no interface nowhere: create it with ip link add link PORT nowhere type macsec",
		"port":    "port is not a MACsec interface: ip -d link show port says what it is",
	} {
		err := macsecOn(t, iface).Install(t.Context(), sa, c.Key)
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v (%v), want %q", err, fault.Of(err), want)
		}
	}
	// Who has no rights may look, but not change.
	put, away := b.stranger("rx port 1 address "+macsecPeer, 1)
	b.ip(append([]string{"macsec add conformance rx port 1 address " + macsecPeer}, put...)...)
	err := macsecOn(t, "conformance").Install(t.Context(), sa, c.Key)
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(fmt.Sprint(err), "AN 1 is taken by a receive key that is not keyorch's (key id ff") {
		t.Errorf("%v (%v)", err, fault.Of(err))
	}
	b.ip(away...)
	if err := unprivileged(func() error { return macsecOn(t, "conformance").Install(t.Context(), sa, c.Key) }); !fault.Is(err, fault.Unavailable) ||
		!strings.Contains(fmt.Sprint(err), "operation not permitted: the agent needs CAP_NET_ADMIN") {
		t.Errorf("%v (%v)", err, fault.Of(err))
	}
	if err := macsecOn(t, "conformance").Install(t.Context(), sa, c.Key); err != nil {
		t.Error(err)
	}
	c.Absent(t, "what ip shows", b.show())
}

func macsecOn(t *testing.T, iface string) downstream.Device {
	t.Helper()
	d, err := macsec.New("n1", map[string]any{"links": map[string]any{"l1": map[string]any{"interface": iface, "peer": macsecPeer}}})
	if err != nil {
		t.Fatal(err)
	}
	return d.Downstream()
}

// unprivileged runs f as a user without rights.
func unprivileged(f func() error) error {
	if err := syscall.Seteuid(65534); err != nil {
		return err
	}
	defer func() {
		if err := syscall.Seteuid(0); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}()
	return f()
}
