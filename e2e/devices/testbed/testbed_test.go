//go:build devices

package testbed_test

import (
	"bufio"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devices/testbed"
)

func flow(t *testing.T, a, b testbed.Namespace) *testbed.Flow {
	f, err := testbed.StartFlow(testbed.FlowSpec{From: a, To: b, FromAddress: netip.MustParseAddr("10.9.0.1"), ToAddress: netip.MustParseAddr("10.9.0.2"), Every: 2 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestPacketsThatAreLostAreCounted cuts the cable for a while: a count that could
// not see that would prove nothing.
func TestPacketsThatAreLostAreCounted(t *testing.T) {
	a, b := testbed.Pair(t, "count")
	f := flow(t, a, b)
	testbed.Until(t, 5*time.Second, "packets arrive", func() bool { return f.Arrived() > 100 })
	if c := f.Since(0); c.Lost != 0 || c.Sent < 100 {
		t.Errorf("on a whole cable: %+v", c)
	}
	cut := f.Mark()
	b.IP(t, "link", "set", "vb", "down")
	testbed.Until(t, 5*time.Second, "packets go into a cut cable", func() bool { return f.Mark() > cut+100 })
	if c := f.Since(cut); c.Lost < 50 {
		t.Errorf("on a cut cable: %+v", c)
	}
	b.IP(t, "link", "set", "vb", "up")
	before := f.Arrived()
	testbed.Until(t, 10*time.Second, "packets arrive again", func() bool { return f.Arrived() > before })
	if c := f.Stop(); c.Lost == 0 || c.Lost == c.Sent {
		t.Errorf("in all: %+v", c)
	}
}

func TestAProxyTroublesOneOperation(t *testing.T) {
	dir := t.TempDir()
	device, front := filepath.Join(dir, "device"), filepath.Join(dir, "front")
	l, err := net.Listen("unix", device)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	reached := make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line, err := bufio.NewReader(c).ReadString('\n')
			if err == nil {
				reached <- line
				_, _ = c.Write([]byte("ok\n"))
			}
			_ = c.Close()
		}
	}()
	p := testbed.NewProxy(t, "unix", front, device, "change")
	ask := func(what string) string {
		c, err := net.Dial("unix", front)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(time.Second))
		_, _ = c.Write([]byte(what + "\n"))
		answer, _ := bufio.NewReader(c).ReadString('\n')
		return answer
	}
	for _, c := range []struct {
		name    string
		trouble func()
		reaches bool
	}{{"fail", p.FailNext, false}, {"lose", p.LoseNext, true}, {"hang", func() { p.HangNext() }, false}} {
		c.trouble()
		if got := ask("look"); got != "ok\n" || <-reached != "look\n" {
			t.Errorf("%s: what tells nothing was troubled: %q", c.name, got)
		}
		if got := ask("change"); got != "" {
			t.Errorf("%s: answered %q", c.name, got)
		}
		if c.reaches != (len(reached) == 1) {
			t.Errorf("%s: %d requests reached the device", c.name, len(reached))
		}
		for len(reached) > 0 {
			<-reached
		}
		if got := ask("change"); got != "ok\n" || <-reached != "change\n" {
			t.Errorf("%s: the next was troubled too: %q", c.name, got)
		}
	}
}

func TestAProxyHoldsOneOperation(t *testing.T) {
	dir := t.TempDir()
	device, front := filepath.Join(dir, "device"), filepath.Join(dir, "front")
	l, err := net.Listen("unix", device)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	p := testbed.NewProxy(t, "unix", front, device, "change")
	release := p.HoldNext()
	c, err := net.Dial("unix", front)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = c.Write([]byte("change\n"))
	behind, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = behind.Close() }()
	testbed.Until(t, 5*time.Second, "it is held", p.Troubled)
	_ = behind.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := behind.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes came through", n)
	}
	release()
	_ = behind.SetReadDeadline(time.Now().Add(5 * time.Second))
	if got, err := bufio.NewReader(behind).ReadString('\n'); got != "change\n" {
		t.Errorf("%q came through (%v)", got, err)
	}
}

func TestAProcessEndsWithItsTest(t *testing.T) {
	var p *testbed.Process
	t.Run("inner", func(t *testing.T) {
		n := testbed.NewNamespace(t, "proc")
		p = n.Start(t, filepath.Join(t.TempDir(), "log"), nil, "sleep", "300")
	})
	select {
	case <-p.Ended():
	default:
		t.Error("it goes on")
	}
}
