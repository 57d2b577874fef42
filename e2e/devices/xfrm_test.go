//go:build devices

package devices_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/xfrm"
	"github.com/keyorch/keyorch/downstream/downstreamtest"
	"github.com/keyorch/keyorch/e2e/devices/guest"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret/secrettest"
	"github.com/keyorch/keyorch/upstream/upstreamtest"
)

func TestXfrmConformance(t *testing.T) {
	testbed.SideBySide(t, testbed.Guests)
	if !guest.Inside() {
		guest.RunTest(t, guest.Test{Files: []string{"xfrm_test.go", "xfrm_bed_test.go"}, Modules: xfrmModules})
		return
	}
	for _, shape := range xfrmShapes() {
		t.Run(shape.name, func(t *testing.T) {
			bed := newXfrmBed(t, shape)
			if shape.mode == "transport" || shape.netA == "10.1.0.1/32" {
				t.Run("upstream", func(t *testing.T) {
					upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
						d := bed.device(t)
						return upstreamtest.Fixture{
							Device: xfrmSender{d, xfrm.Upstream{Device: d.Device}}, FailNext: d.failNext, Reboot: bed.flush,
							Reused: func() int { return bed.pass(t, d.Device) },
						}
					})
				})
				t.Run("downstream", func(t *testing.T) {
					downstreamtest.Run(t, func(t *testing.T) downstreamtest.Fixture {
						d := bed.device(t)
						return downstreamtest.Fixture{
							Device: xfrmReceiver{d, d.Device.Downstream()}, FailNext: d.failNext, Reboot: bed.flush,
							Send: d.Device.Upstream().Switch,
							Sends: func(ctx context.Context, link keychain.LinkID) (keychain.Ref, error) {
								o, err := d.Device.Upstream().Observe(ctx, link)
								return o.Sends, err
							},
						}
					})
				})
			}
			t.Run("packets", func(t *testing.T) { xfrmPackets(t, bed) })
		})
	}
	t.Run("what an operator reads", xfrmWords)
}

// xfrmPackets sends with one key after the other, wants every packet to be taken
// under its epoch at the far end, and then sees the wrong order fail.
func xfrmPackets(t *testing.T, b *xfrmBed) {
	sender := b.device(t)
	taker := b.taker(t)
	before := b.complaints(t) // those of the suites, whose packets nobody took
	rotate := func(e keychain.Epoch, install bool) keychain.SA {
		c := secrettest.New(t)
		sa := keychain.SA{Link: "conformance", Ref: keychain.Ref{Epoch: e}, Serial: keychain.Serial(e)}
		if install {
			xfrmMust(t, taker.Downstream().Install(t.Context(), sa, c.Key))
		}
		xfrmMust(t, sender.Upstream().Switch(t.Context(), sa, c.Key))
		return sa
	}
	for e := keychain.Epoch(1); e <= 5; e++ {
		sa := rotate(e, true)
		if n := b.pass(t, sender.Device); n != 0 {
			t.Errorf("epoch %d: %d sequence numbers were used twice", e, n)
		}
		sent, err := sender.Upstream().Observe(t.Context(), sa.Link)
		xfrmMust(t, err)
		taken, err := taker.Downstream().Observe(t.Context(), sa.Link)
		if err != nil || taken.Packets[e] == 0 || taken.Packets[e] != sent.Packets[e] {
			t.Errorf("epoch %d: %d packets taken, %d sent (%v)", e, taken.Packets[e], sent.Packets[e], err)
		}
		if e > 1 {
			xfrmMust(t, taker.Downstream().Remove(t.Context(), keychain.SA{Link: sa.Link, Ref: keychain.Ref{Epoch: e - 1}}))
		}
	}
	if now := b.complaints(t); !maps.Equal(now, before) {
		t.Errorf("the receiver complains: %v, and before it was %v", now, before)
	}
	rotate(6, false)
	b.burst(t)
	testbed.Until(t, 10*time.Second, "the receiver misses the key", func() bool { return b.complaints(t)["XfrmInNoStates"] != before["XfrmInNoStates"] })
}

// complaints are the counters of errors at b.
func (b *xfrmBed) complaints(t *testing.T) map[string]string {
	t.Helper()
	counters := map[string]string{}
	words := strings.Fields(b.b.Run(t, "cat", "/proc/net/xfrm_stat"))
	for i := 0; i+1 < len(words); i += 2 {
		counters[words[i]] = words[i+1]
	}
	return counters
}

// xfrmWords are the messages of a real kernel, each of which says what to do.
func xfrmWords(t *testing.T) {
	b := newXfrmBed(t, xfrmShapes()[0])
	d := b.device(t)
	c := secrettest.New(t)
	sa := keychain.SA{Link: "conformance", Ref: keychain.Ref{Epoch: 1}, Serial: 1}
	says := func(err error, want string) {
		t.Helper()
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v (%v), want %q", err, fault.Of(err), want)
		}
	}
	d.failNext()
	says(xfrmReceiver{d, d.Device.Downstream()}.Install(t.Context(), sa, c.Key),
		fmt.Sprintf(`SPI 0x%x to 10.9.0.1 is taken by a security association that is not of this link (src 10.9.0.2, reqid 7) in network namespace %s: delete it with "ip xfrm state delete dst 10.9.0.1 proto esp spi 0x`,
			xfrm.SPI(sa.Link, sa.Serial), b.handle))
	b.a.IP(t, "xfrm", "policy", "add", "src", "10.1.0.2/32", "dst", "10.1.0.1/32", "dir", "in", "tmpl", "proto", "esp", "reqid", "7")
	says(d.Downstream().Install(t.Context(), sa, c.Key), `delete it with "ip xfrm policy delete src 10.1.0.2/32 dst 10.1.0.1/32 dir in"`)
	b.a.IP(t, "xfrm", "policy", "delete", "src", "10.1.0.2/32", "dst", "10.1.0.1/32", "dir", "in")
	own, err := xfrm.New("n1", b.fields("", b.shape.localA, b.shape.localB, b.shape.netA, b.shape.netB))
	xfrmMust(t, err)
	xfrmMust(t, syscall.Seteuid(65534))
	err = own.Downstream().Install(t.Context(), sa, c.Key)
	xfrmMust(t, syscall.Seteuid(0))
	says(err, "operation not permitted: the agent needs the capability CAP_NET_ADMIN")
	// What an operator sees of an SA is its epoch.
	xfrmMust(t, d.Downstream().Install(t.Context(), sa, c.Key))
	if shown := b.a.IP(t, "xfrm", "state"); !strings.Contains(shown, "reqid 1 ") || !strings.Contains(shown, "esn") {
		t.Errorf("ip xfrm state shows\n%s", shown)
	}
	c.Absent(t, "what ip shows", b.a.IP(t, "xfrm", "state", "list", "nokeys"))
}
