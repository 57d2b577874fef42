//go:build devices

package devices_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/strongswan"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/secret/secrettest"
)

// tunnelKey is the key of an epoch of link "conformance".
func tunnelKey(t testing.TB, e keychain.Epoch) (keychain.SA, secret.Key) {
	t.Helper()
	c := secrettest.New(t)
	check, err := c.Key.Check()
	if err != nil {
		t.Fatal(err)
	}
	return keychain.SA{Link: "conformance", Ref: keychain.Ref{Epoch: e, KCV: keychain.KCVOf(check)}}, c.Key
}

// tunnelUp is a tunnel under epoch 1, both of whose ends hold epoch 2 or will.
type tunnelUp struct {
	a, b *charonEnd
	up   *strongswan.Device
	down *strongswan.Device
	old  keychain.SA
	oldK secret.Key
	new  keychain.SA
	newK secret.Key
}

func newTunnelUp(t *testing.T, link map[string]any) tunnelUp {
	t.Helper()
	var u tunnelUp
	u.a, u.b = tunnelBed(t)
	u.up, u.down = strongswanDevice(t, u.a.socket(), link), strongswanDevice(t, u.b.socket(), nil)
	u.old, u.oldK = tunnelKey(t, 1)
	u.new, u.newK = tunnelKey(t, 2)
	for _, err := range []error{
		u.down.Downstream().Install(t.Context(), u.old, u.oldK), u.up.Upstream().Switch(t.Context(), u.old, u.oldK),
		u.down.Downstream().Install(t.Context(), u.new, u.newK),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return u
}

func (u tunnelUp) sends(t *testing.T) keychain.Ref {
	t.Helper()
	o, err := u.up.Upstream().Observe(t.Context(), u.new.Link)
	if err != nil {
		t.Fatal(err)
	}
	return o.Sends
}

// loaded is what keyorch has left on the initiator, in swanctl's words.
func (u tunnelUp) loaded(t *testing.T, ref keychain.Ref) bool {
	t.Helper()
	out, err := exec.Command("swanctl", "--list-conns", "--uri", "unix://"+u.a.socket()).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(out), string(ref.KCV))
}

// An agent that dies between the new tunnel and the end of the old one leaves two.
// Neither is shown as the key in use, so that the order is obeyed again, and that
// leaves one.
func TestStrongswanFinishesASwitchThatWasBrokenOff(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	u := newTunnelUp(t, initiator())
	slow := initiator()
	slow["overlap"] = "1m"
	dying, die := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- strongswanDevice(t, u.a.socket(), slow).Upstream().Switch(dying, u.new, u.newK) }()
	testbed.Until(t, 10*time.Second, "two tunnels are up", func() bool { return u.sends(t) == keychain.Ref{} })
	if err := u.up.Upstream().Switch(t.Context(), u.new, u.newK); err != nil {
		t.Error(err)
	}
	if got := u.sends(t); got != u.new.Ref || u.loaded(t, u.old.Ref) {
		t.Errorf("it sends with %v, the old connection is there: %v", got, u.loaded(t, u.old.Ref))
	}
	die()
	if err := <-ended; !fault.Is(err, fault.Unknown) {
		t.Errorf("a switch whose context ends meanwhile says %v (%v)", err, fault.Of(err))
	}
	if got := u.sends(t); got != u.new.Ref {
		t.Errorf("it sends with %v", got)
	}
}

// A switch whose context ends while the old tunnel is let linger ends it at once:
// one key is left.
func TestStrongswanLeavesOneKeyWhenItsContextEnds(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	slow := initiator()
	slow["overlap"] = "1m"
	u := newTunnelUp(t, slow)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- u.up.Upstream().Switch(ctx, u.new, u.newK) }()
	testbed.Until(t, 10*time.Second, "two tunnels are up", func() bool { return u.sends(t) == keychain.Ref{} })
	cancel()
	if err := <-ended; !fault.Is(err, fault.Unknown) || u.sends(t) != u.new.Ref {
		t.Errorf("%v (%v); it sends with %v, want %v", err, fault.Of(err), u.sends(t), u.new.Ref)
	}
}

// A switch whose context ends when the new tunnel stands, before it has heard so, leaves
// one key as well.
func TestStrongswanLeavesOneKeyBeforeItHasHeard(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	u := newTunnelUp(t, initiator())
	front := filepath.Join(u.a.Dir, "front.vici")
	proxy := testbed.NewProxy(t, "unix", front, u.a.socket(), "initiate")
	release := proxy.HoldNext()
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- strongswanDevice(t, front, initiator()).Upstream().Switch(ctx, u.new, u.newK) }()
	testbed.Until(t, 10*time.Second, "the initiation is held", proxy.Troubled)
	name := fmt.Sprintf("keyorch.conformance.e%d-%s", u.new.Epoch, u.new.KCV)
	if out, err := exec.Command("swanctl", "--initiate", "--ike", name, "--child", "net", "--uri", "unix://"+u.a.socket()).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := u.sends(t); got != (keychain.Ref{}) {
		t.Fatalf("with two tunnels it sends with %v", got)
	}
	cancel()
	if err := <-ended; !fault.Is(err, fault.Unknown) || u.sends(t) != u.new.Ref {
		t.Errorf("%v (%v); it sends with %v, want %v", err, fault.Of(err), u.sends(t), u.new.Ref)
	}
}

// A responder that is not there costs the time that is allowed, and nothing is left
// of the attempt.
func TestStrongswanGivesUpOnAResponderThatIsAway(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	u := newTunnelUp(t, initiator())
	u.b.process.Kill()
	impatient, err := strongswan.New("n1", map[string]any{
		"socket": u.a.socket(), "timeout": "1s", "links": map[string]any{"conformance": initiator()},
	})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	err = impatient.Upstream().Switch(t.Context(), u.new, u.newK)
	if took := time.Since(began); !fault.Is(err, fault.Unavailable) || took > 6*time.Second {
		t.Errorf("%v (%v) after %v", err, fault.Of(err), took)
	}
	t.Log(err)
	if got := u.sends(t); got != u.old.Ref || u.loaded(t, u.new.Ref) {
		t.Errorf("it sends with %v, the new connection is there: %v", got, u.loaded(t, u.new.Ref))
	}
}

// overtake switches at a while the initiation of another switch to the same key, of a
// driver behind a proxy, is held, and then lets it go. That is how a repeat meets what
// charon goes on with after an answer was lost.
func overtake(t *testing.T, a *charonEnd, tells string, driver func(socket string) *strongswan.Device, sa keychain.SA, key secret.Key) {
	t.Helper()
	front := filepath.Join(a.Dir, "front.vici")
	proxy := testbed.NewProxy(t, "unix", front, a.socket(), tells)
	release := proxy.HoldNext()
	defer release()
	ended := make(chan error, 1)
	go func() { ended <- driver(front).Upstream().Switch(t.Context(), sa, key) }()
	testbed.Until(t, 10*time.Second, "the initiation is held", proxy.Troubled)
	if err := driver(a.socket()).Upstream().Switch(t.Context(), sa, key); err != nil {
		t.Fatal(err)
	}
	release()
	if err := <-ended; err != nil {
		t.Errorf("a switch to what is established meanwhile: %v (%v)", err, fault.Of(err))
	}
	if log := a.log(); !strings.Contains(log, "due to existing duplicate") {
		t.Errorf("charon has established the child twice:\n%s", log)
	}
	o, err := driver(a.socket()).Upstream().Observe(t.Context(), sa.Link)
	if err != nil || o.Sends != sa.Ref {
		t.Errorf("it sends with %v (%v), want %v", o.Sends, err, sa.Ref)
	}
}

// What charon has established meanwhile is taken, although it then refuses to
// establish it.
func TestStrongswanTakesWhatAnotherAttemptHasEstablished(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	u := newTunnelUp(t, initiator())
	driver := func(socket string) *strongswan.Device { return strongswanDevice(t, socket, initiator()) }
	overtake(t, u.a, "initiate", driver, u.new, u.newK)
}

// An operator who loads swanctl.conf again takes from charon what is not in there.
// The tunnel stands, and what is missing is seen and put back.
func TestStrongswanSeesWhatAnOperatorUnloads(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	u := newTunnelUp(t, initiator())
	for _, e := range []*charonEnd{u.a, u.b} {
		if err := e.reload(); err != nil {
			t.Fatal(err)
		}
	}
	o, err := u.down.Downstream().Observe(t.Context(), u.old.Link)
	t.Logf("after a reload the responder accepts %v, the initiator has its connection: %v", o.Accepts, u.loaded(t, u.old.Ref))
	if err != nil || u.sends(t) != u.old.Ref {
		t.Errorf("it sends with %v, want %v (%v)", u.sends(t), u.old.Ref, err)
	}
	if err := u.down.Downstream().Install(t.Context(), u.new, u.newK); err != nil {
		t.Error(err)
	}
	if err := u.up.Upstream().Switch(t.Context(), u.new, u.newK); err != nil || u.sends(t) != u.new.Ref {
		t.Errorf("it sends with %v, want %v (%v)", u.sends(t), u.new.Ref, err)
	}
}

// Every child of a connection moves to the new key, and none is left under the old.
func TestStrongswanMovesEveryChild(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	link := initiator()
	children := link["connection"].(map[string]any)["children"].(map[string]any)
	children["more"] = map[string]any{"local_ts": "10.1.0.1/32[udp/4000]", "remote_ts": "10.1.0.2/32[udp/4000]", "esp_proposals": "aes128gcm16"}
	u := newTunnelUp(t, link)
	if err := u.up.Upstream().Switch(t.Context(), u.new, u.newK); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("swanctl", "--list-sas", "--uri", "unix://"+u.a.socket()).Output()
	if err != nil || strings.Count(string(out), "INSTALLED") != 2 || u.sends(t) != u.new.Ref {
		t.Errorf("it sends with %v (%v)\n%s", u.sends(t), err, out)
	}
}
