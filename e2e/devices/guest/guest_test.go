//go:build devices

package guest_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devices/guest"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
)

func TestGuest(t *testing.T) {
	g := guest.Start(t, guest.Options{Modules: []string{"veth", "macsec", "xfrm_user", "esp4", "wireguard"}})

	t.Run("it reaches the host's loopback", func(t *testing.T) {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }))
		defer srv.Close()
		_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
		env := g.HostEnv(t, []string{"A=http://127.0.0.1:" + port})
		if got := g.Run(t, "wget", "-q", "-O", "-", strings.TrimPrefix(env[0], "A=")); got != "hello" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("its clock is that of the host", func(t *testing.T) {
		now, err := time.Parse(time.RFC3339, strings.TrimSpace(g.Run(t, "date", "-u", "+%Y-%m-%dT%H:%M:%SZ")))
		if err != nil || time.Since(now).Abs() > 10*time.Second {
			t.Errorf("it is %v in the guest (%v)", now, err)
		}
	})
	t.Run("traffic is counted", func(t *testing.T) { counts(t, g) })
	t.Run("a process runs in the background", func(t *testing.T) {
		p := g.Spawn(t, "sleeper", []string{"WORD=hello"}, "dash", "-c", "echo $WORD; sleep 1000")
		testbed.Until(t, 10*time.Second, "it says hello", func() bool { return p.Tail(100) == "hello\n" })
		if !p.Running(t) {
			t.Error("it does not run")
		}
		p.Stop(t)
		if p.Running(t) {
			t.Error("it still runs")
		}
	})
	t.Run("only the disk survives a restart", func(t *testing.T) {
		g.WriteFile(t, "/disk/keep/journal", "kept", 0o600)
		g.WriteFile(t, "/run/lost", "", 0o600)
		g.Run(t, "sync")
		g.Restart(t)
		if got := g.ReadFile(t, "/disk/keep/journal"); got != "kept" {
			t.Errorf("got %q", got)
		}
		g.Sh(t, "test ! -e /run/lost; test ! -e /run/netns/a; lsmod | grep -q ^macsec")
	})
}

// counts wants every packet of an open cable to arrive and none of a cut one.
func counts(t *testing.T, g *guest.Guest) {
	a, b := g.Pair(t)
	flow := g.StartFlow(t, testbed.FlowSpec{
		From: a, To: b, FromAddress: netip.MustParseAddr("10.9.0.1"), ToAddress: netip.MustParseAddr("10.9.0.2"), Every: 5 * time.Millisecond,
	})
	testbed.Until(t, 10*time.Second, "packets arrive", func() bool { return flow.Arrived(t) > 20 })
	if c := flow.Since(t, 0); c.Lost != 0 || c.Sent == 0 {
		t.Errorf("on an open cable: %+v", c)
	}
	g.Run(t, "ip", "-n", b.Name, "link", "set", "vb", "down")
	cut := flow.Mark(t)
	testbed.Until(t, 10*time.Second, "packets are sent", func() bool { return flow.Mark(t) > cut+20 })
	if c := flow.Since(t, cut); c.Lost != c.Sent {
		t.Errorf("on a cut cable: %+v", c)
	}
	flow.Stop(t)
}
