//go:build devices

package devices_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/devices/frr"
	"github.com/keyorch/keyorch/downstream/downstreamtest"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret/secrettest"
	"github.com/keyorch/keyorch/upstream/upstreamtest"
)

// troubledFRR is an FRR whose vtysh can be troubled, and its driver.
type troubledFRR struct {
	*frrNode
	*frr.Device
	next func(trouble string)
}

func newTroubledFRR(t *testing.T, persist bool) troubledFRR {
	t.Helper()
	n := newFRR(t, testbed.NewNamespace(t, "frr"), "frr defaults traditional\n!\n")
	links := make(map[string]any)
	for _, link := range conformanceLinks() {
		links[link] = nil
	}
	program, next := n.troubledVtysh()
	d, err := frr.New("n1", map[string]any{"vtysh": program, "pathspace": n.at.Name, "persist": persist, "links": links})
	if err != nil {
		t.Fatal(err)
	}
	return troubledFRR{n, d, next}
}

func (x troubledFRR) fail() { x.next("fail") }
func (x troubledFRR) lose() { x.next("lose") }
func (x troubledFRR) hang() (clear func()) {
	x.next("hang")
	return x.goOn
}

func (x troubledFRR) logs() string {
	return testbed.Tail(filepath.Join(x.dir, "ospf6d.log"), 1<<20)
}

func TestFRRConformanceUpstream(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
		x := newTroubledFRR(t, true)
		return upstreamtest.Fixture{
			Device: x.Upstream(), FailNext: x.fail, LoseNext: x.lose, HangNext: x.hang, Reboot: x.restart, Logs: x.logs,
		}
	})
}

func TestFRRConformanceDownstream(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	downstreamtest.Run(t, func(t *testing.T) downstreamtest.Fixture {
		x := newTroubledFRR(t, true)
		return downstreamtest.Fixture{
			Device: x.Downstream(), FailNext: x.fail, LoseNext: x.lose, HangNext: x.hang, Reboot: x.restart, Logs: x.logs,
			Send: x.Upstream().Switch,
			Sends: func(ctx context.Context, link keychain.LinkID) (keychain.Ref, error) {
				o, err := x.Upstream().Observe(ctx, link)
				return o.Sends, err
			},
		}
	})
}

// TestFRRForgetsWhatIsNotSaved is the one promise that differs without persist.
func TestFRRForgetsWhatIsNotSaved(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	x := newTroubledFRR(t, false)
	mine, k := frrKey(t, 1, 1)
	if err := x.Upstream().Switch(t.Context(), mine, k.Key); err != nil {
		t.Fatal(err)
	}
	x.wants(t, 1, 1)
	x.restart()
	x.wants(t, 0, 0)
}

// frrKey is a key of an epoch whose number in the chain is that of serial.
func frrKey(t *testing.T, epoch keychain.Epoch, serial keychain.Serial) (keychain.SA, secrettest.Canary) {
	t.Helper()
	c := secrettest.New(t)
	return keychain.SA{Link: "conformance", Ref: keychain.Ref{Epoch: epoch}, Serial: serial, Turn: keychain.Turn(epoch)}, c
}

func (x troubledFRR) wants(t *testing.T, accepts int, sends keychain.Epoch) {
	t.Helper()
	down, err := x.Downstream().Observe(t.Context(), "conformance")
	up, bad := x.Upstream().Observe(t.Context(), "conformance")
	if err != nil || bad != nil || len(down.Accepts) != accepts || up.Sends.Epoch != sends {
		t.Fatalf("it accepts %v (%v) and sends with %v (%v), want %d keys and epoch %d", down.Accepts, err, up.Sends, bad, accepts, sends)
	}
}

// TestFRRNumbersWrap goes from key 255 to key 1, which FRR would rather send with.
func TestFRRNumbersWrap(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	x := newTroubledFRR(t, true)
	last, k := frrKey(t, 900, 254)
	first, f := frrKey(t, 901, 255)
	for _, err := range []error{
		x.Upstream().Switch(t.Context(), last, k.Key),
		x.Downstream().Install(t.Context(), first, f.Key),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	x.wants(t, 2, 900)
	if err := x.Upstream().Switch(t.Context(), first, f.Key); err != nil {
		t.Fatal(err)
	}
	x.wants(t, 2, 901)
	if err := x.Downstream().Remove(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	x.wants(t, 1, 901)
}

// TestFRRTakesAChainOver begins with a key that somebody typed in, and with one
// that was never finished.
func TestFRRTakesAChainOver(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	x := newTroubledFRR(t, true)
	x.configure("key chain conformance", "key 1", "key-string by-hand", "cryptographic-algorithm hmac-sha-256", "key 4")
	mine, k := frrKey(t, 1, 0)
	if err := x.Downstream().Install(t.Context(), mine, k.Key); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "not put there by keyorch") {
		t.Fatalf("a number that is taken: %v (%v)", err, fault.Of(err))
	}
	mine.Serial = 3
	if err := x.Downstream().Install(t.Context(), mine, k.Key); err != nil {
		t.Fatal(err)
	}
	x.wants(t, 1, 0)
	if err := x.Upstream().Switch(t.Context(), mine, k.Key); err != nil {
		t.Fatal(err)
	}
	x.wants(t, 1, 1)
	if saved := testbed.Tail(x.conf(), 1<<16); !strings.Contains(saved, "key-string by-hand") || !strings.Contains(saved, "key-string e1-") {
		t.Errorf("the saved configuration is\n%s", saved)
	}
}

// TestFRRWithoutTheAlgorithm has FRR itself say no to one line out of five.
func TestFRRWithoutTheAlgorithm(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	x := newTroubledFRR(t, true)
	mine, k := frrKey(t, 1, 1)
	next, n := frrKey(t, 2, 2)
	if err := x.Upstream().Switch(t.Context(), mine, k.Key); err != nil {
		t.Fatal(err)
	}
	before := testbed.Tail(x.conf(), 1<<16)
	d, err := frr.New("n1", map[string]any{"pathspace": x.at.Name, "links": map[string]any{"conformance": map[string]any{"algorithm": "hmac-sha-512"}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"install": d.Downstream().Install(t.Context(), next, n.Key),
		"switch":  d.Upstream().Switch(t.Context(), next, n.Key),
	} {
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "Hash algorithm not supported") {
			t.Errorf("%s: %v (%v)", name, err, fault.Of(err))
		}
		n.Absent(t, name, err.Error())
	}
	x.wants(t, 1, 1)
	if after := testbed.Tail(x.conf(), 1<<16); after != before {
		t.Errorf("the saved configuration was\n%s\nand is\n%s", before, after)
	}
}

// TestFRRIsDown has no ospf6d, and then one that stopped answering.
func TestFRRIsDown(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	x := newTroubledFRR(t, true)
	mine, k := frrKey(t, 1, 1)
	x.ospf6d.Kill()
	before := testbed.Tail(x.conf(), 1<<16)
	for name, err := range map[string]error{
		"install": x.Downstream().Install(t.Context(), mine, k.Key),
		"switch":  x.Upstream().Switch(t.Context(), mine, k.Key),
		"remove":  x.Downstream().Remove(t.Context(), mine),
	} {
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "failed to connect to any daemons") {
			t.Errorf("%s: %v (%v)", name, err, fault.Of(err))
		}
	}
	if testbed.Tail(x.conf(), 1<<16) != before {
		t.Error("the saved configuration changed")
	}
	x.start()
	if err := x.Upstream().Switch(t.Context(), mine, k.Key); err != nil {
		t.Fatal(err)
	}
	x.wants(t, 1, 1)
}
