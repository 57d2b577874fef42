package wireguard

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

const aPeer = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="

func TestEveryProblemNamesItsField(t *testing.T) {
	_, err := New("n1", map[string]any{
		"netns": "a/b", "port": 1,
		"links": map[string]any{
			"a-b": map[string]any{"interfaces": []any{"wg0", "wg0"}, "peer": "short", "routes": []any{"10.2.0.1/24", "x", "0.0.0.0/0"}, "source": "y"},
			"b-a": map[string]any{"interfaces": []any{"wg1", "a name too long!"}, "peer": aPeer, "handshakeTimeout": "5s"},
			"c-d": map[string]any{"interfaces": []any{"wg1", "wg2"}, "peer": aPeer, "routes": []any{"2001:db8::/64"}, "source": "10.0.0.1"},
			"d-e": nil,
		},
	})
	for _, want := range []string{
		"netns: ", "port: no such field", `links.a-b.interfaces: "wg0" stands there twice`, "links.a-b.peer: it is not a public key",
		"links.a-b.routes: 10.2.0.1/24 has bits set after its length: write 10.2.0.0/24", `links.a-b.routes: "x" is not a prefix`,
		"links.a-b.routes: 0.0.0.0/0 is the default route", `links.a-b.source: "y" is not an address`,
		`links.b-a.interfaces: "a name too long!" is not the name of an interface`, `links.b-a.handshakeTimeout: "5s" is not a duration from 6s`,
		"links.c-d.interfaces: wg1 belongs to link b-a already", "links.c-d.source: 10.0.0.1 is not of the family",
		"links.d-e.interfaces: there are 0", "links.d-e.peer: it is missing",
	} {
		if !fault.Is(err, fault.Invalid) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
}

func TestPartsThatANodeCanTake(t *testing.T) {
	fields := map[string]any{"links": map[string]any{
		"a-b": map[string]any{"interfaces": []any{"wg0a", "wg0b"}, "peer": aPeer, "routes": []any{"10.2.0.2/32"}},
		"b-a": map[string]any{"interfaces": []any{"wg1a", "wg1b"}, "peer": aPeer},
	}}
	caps, err := Capabilities(fields)
	if err != nil || caps.CannotStage() != "" || caps.CounterBound || caps.Survives {
		t.Errorf("capabilities: %+v, %v", caps, err)
	}
	for _, c := range []struct {
		link           keychain.LinkID
		sends, accepts bool
		says           string
	}{
		{"a-b", true, true, ""},
		{"b-a", false, true, ""},
		{"b-a", true, false, "the device has no routes for link b-a"},
		{"x-y", false, true, "the device has no parameters for link x-y"},
	} {
		err := Part(fields, keychain.Part{Link: c.link, Sends: c.sends, Accepts: c.accepts, Nodes: 2})
		if (err == nil) != (c.says == "") || err != nil && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	d, err := New("n1", fields)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Upstream().Observe(t.Context(), "x-y"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a link without parameters: %v", err)
	}
}

func TestNotesReadBack(t *testing.T) {
	n := note{ref: keychain.Ref{Epoch: 1<<64 - 1, KCV: "a1b2c3d4e5"}, serial: 1<<32 - 1, print: "0f1e2d3c4b"}
	if got, ok := parseNote(n.String()); !ok || got != n || len(n.String()) > 255 {
		t.Errorf("%q reads back as %+v, %v", n, got, ok)
	}
	for _, s := range []string{"", "to the data centre", "keyorch", "keyorch e4-a1b2c3d4e5 0f1e2d3c4b", "keyorch e4-a1b2c3d4e5 -1 0f1e2d3c4b",
		"keyorch e4-a1b2c3d4e5 03 0f1e2d3c4b", "keyorch e4-a1b2c3d4e5 3 0F1e2d3c4b", "keyorch e4-a1b2c3d4e5 3 ", "keyorch e4-a1b2c3d4e5 3 0f1e2d3c4b "} {
		if n, ok := parseNote(s); ok {
			t.Errorf("%q is taken for %+v", s, n)
		}
	}
}

func FuzzParseNote(f *testing.F) {
	f.Add("keyorch e4-a1b2c3d4e5 3 0f1e2d3c4b")
	f.Add("keyorch e4-a1b2c3d4e5 -")
	f.Fuzz(func(t *testing.T, s string) {
		if n, ok := parseNote(s); ok && n.String() != s {
			t.Errorf("%q is read as %q", s, n)
		}
	})
}

func TestFingerprintsTellKeysApart(t *testing.T) {
	a, again, b := wgtypes.Key{1}, wgtypes.Key{1}, wgtypes.Key{2}
	if fingerprint(&a) == fingerprint(&b) || fingerprint(&a) != fingerprint(&again) || fingerprint(new(wgtypes.Key)) != "" || a != (wgtypes.Key{1}) {
		t.Error("fingerprints do not tell keys apart")
	}
}

// TestTroublesOfWireGuard also looks for what must not be in them: what a daemon
// wrote.
func TestTroublesOfWireGuard(t *testing.T) {
	secret := "preshared_key=" + strings.Repeat("ab", 31)
	for _, c := range []struct {
		err  error
		kind fault.Kind
		says string
	}{
		{os.ErrNotExist, fault.Unavailable, "it does not exist, or is not one of WireGuard"},
		{unix.EPERM, fault.Unavailable, "CAP_NET_ADMIN"},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", unix.EACCES)}, fault.Unavailable, "/var/run/wireguard"},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", unix.ECONNREFUSED)}, fault.Unavailable, "its wireguard-go has ended"},
		{os.NewSyscallError("read", fmt.Errorf("wguser: errno=-22")), fault.Unavailable, "wireguard-go refuses it: invalid argument"},
		{&net.OpError{Op: "read", Err: os.NewSyscallError("read", unix.ECONNRESET)}, fault.Unknown, "no answer that can be understood"},
		{os.NewSyscallError("read", fmt.Errorf("wguser: %s", secret)), fault.Unknown, "no answer that can be understood"},
		{fmt.Errorf("wguser: invalid key=value pair: %q", secret), fault.Unknown, "no answer that can be understood"},
	} {
		err := guarded(c.err, fault.Unknown, "configure WireGuard interface %s", "wg0a")
		if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), "configure WireGuard interface wg0a: ") || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "abab") {
			t.Errorf("%v: %v (%v)", c.err, err, fault.Of(err))
		}
	}
}

func TestANamespaceThatIsNotThere(t *testing.T) {
	d, err := New("n1", map[string]any{"netns": "no-such-namespace", "links": map[string]any{
		"a-b": map[string]any{"interfaces": []any{"wg0a", "wg0b"}, "peer": aPeer},
	}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Downstream().Observe(t.Context(), "a-b")
	if want := "open network namespace no-such-namespace: no such file or directory"; !fault.Is(err, fault.Unavailable) || err.Error() != want {
		t.Errorf("observe: %v (%v), want %s", err, fault.Of(err), want)
	}
}
