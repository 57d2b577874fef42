//go:build devices

package devices_test

import (
	"bufio"
	"context"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/netconf"
	"github.com/keyorch/keyorch/devices/netconf/client"
	"github.com/keyorch/keyorch/devices/netconf/client/clienttest"
	"github.com/keyorch/keyorch/downstream/downstreamtest"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret/secrettest"
	"github.com/keyorch/keyorch/upstream/upstreamtest"
)

func TestNetconfConformanceUpstream(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	s, next, whole := newNetconfServer(t), prefixes(), t
	upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
		r := newRelay(t, s, next())
		return upstreamtest.Fixture{
			Device: r.Upstream(), FailNext: r.FailNext, HangNext: r.HangNext, LoseNext: r.LoseNext,
			Reboot: func() { s.restart(whole) }, Logs: s.logs,
		}
	})
}

// This server keeps its startup configuration apart, and starts without what was
// not copied there.
func TestNetconfConformanceDownstream(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	s, next, whole := newNetconfServer(t, "--with-startup=true"), prefixes(), t
	downstreamtest.Run(t, func(t *testing.T) downstreamtest.Fixture {
		r := newRelay(t, s, next())
		return downstreamtest.Fixture{
			Device: r.Downstream(), FailNext: r.FailNext, HangNext: r.HangNext, LoseNext: r.LoseNext,
			Reboot: func() { s.restart(whole) }, Logs: s.logs, Send: r.Upstream().Switch,
			Sends: func(ctx context.Context, link keychain.LinkID) (keychain.Ref, error) {
				o, err := r.Upstream().Observe(ctx, link)
				return o.Sends, err
			},
		}
	})
}

// on is a driver that speaks to the server itself, in chunks, with one link.
func (s *netconfServer) on(t *testing.T, change func(f map[string]any)) *netconf.Device {
	t.Helper()
	f := s.fields("", "l1")
	if change != nil {
		change(f)
	}
	d, err := netconf.New("n1", f)
	must(t, err)
	return d
}

func netconfSA(t *testing.T, e keychain.Epoch) (keychain.SA, secrettest.Canary) {
	return keychain.SA{Link: "l1", Ref: keychain.Ref{Epoch: e}, Serial: keychain.Serial(e)}, secrettest.New(t)
}

func installs(t *testing.T, d *netconf.Device, e keychain.Epoch) error {
	sa, key := netconfSA(t, e)
	err := d.Downstream().Install(t.Context(), sa, key.Key)
	if err != nil {
		key.Absent(t, "an error", err.Error())
	}
	return err
}

func netconfSays(t *testing.T, err error, kind fault.Kind, says string) {
	t.Helper()
	if err == nil || fault.Of(err) != kind || !strings.Contains(err.Error(), says) {
		t.Errorf("it says %v (%v), want %v: %q", err, fault.Of(err), kind, says)
	}
}

func TestNetconfRefusesAServerThatCannotStage(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	s := newNetconfServer(t, "--feature-disable=ietf-key-chain:independent-send-accept-lifetime")
	says := "does not advertise the feature independent-send-accept-lifetime of ietf-key-chain: it cannot stage"
	netconfSays(t, netconf.Check(t.Context(), "n1", s.fields("", "l1")), fault.Unavailable, says)
	d := s.on(t, nil)
	netconfSays(t, installs(t, d, 1), fault.Unavailable, says)
	// New firmware, and nobody has to tell the driver.
	s.options = nil
	s.restart(t)
	must(t, netconf.Check(t.Context(), "n1", s.fields("", "l1")))
	must(t, installs(t, d, 1))
}

func TestNetconfShowsTheServersOwnWords(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	s := newNetconfServer(t)
	d := s.on(t, func(f map[string]any) {
		f["links"].(map[string]any)["l1"].(map[string]any)["algorithm"] = "hmac-sha-3"
	})
	netconfSays(t, installs(t, d, 1), fault.Unavailable, "did not take the change of key chain l1: invalid-value at /")
	// Nothing of it is left for the next commit.
	must(t, installs(t, s.on(t, nil), 1))
	hex := s.on(t, func(f map[string]any) {
		f["links"].(map[string]any)["l1"].(map[string]any)["keyFormat"] = "hexadecimal-string"
	})
	must(t, installs(t, hex, 2))
}

func TestNetconfLeavesSomebodyElsesWorkAlone(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	s := newNetconfServer(t)
	d := s.on(t, nil)
	must(t, installs(t, d, 1))
	other := s.session(t)
	must(t, other.Edit(t.Context(), []byte(keyChains("<key-chain><name>another</name></key-chain>"))))
	netconfSays(t, installs(t, d, 2), fault.Unavailable, "candidate cannot be locked, discard-changes needed")
	must(t, other.Discard(t.Context()))
	must(t, other.Lock(t.Context(), client.CandidateConfig))
	netconfSays(t, installs(t, d, 2), fault.Unavailable, "has locked the candidate configuration")
	other.Close()
	must(t, installs(t, d, 2))

	s.edit(t, "<key-chain><name>l1</name>"+netconfKey(4, false, true)+netconfKey(9, true, true)+"</key-chain>")
	netconfSays(t, installs(t, d, 3), fault.Unavailable, "key 4 of key chain l1 is not keyorch's")
	sa, key := netconfSA(t, 4)
	netconfSays(t, d.Upstream().Switch(t.Context(), sa, key.Key), fault.Unavailable, "key 9 of key chain l1 is not keyorch's")
	s.edit(t, `<key-chain><name>l1</name><key nc:operation="delete"><key-id>4</key-id></key><key nc:operation="delete"><key-id>9</key-id></key></key-chain>`)
	must(t, installs(t, d, 3))
	s.edit(t, "<key-chain><name>l1</name><description>core keyorch l9</description></key-chain>")
	_, err := d.Upstream().Observe(t.Context(), "l1")
	netconfSays(t, err, fault.Unavailable, "key chain l1 is that of link l9, as its description says")
}

// A commit that nobody confirms is undone, by the server's clock and by the end of
// its session, and what is not confirmed is not reported.
func TestNetconfCommitsAreUndoneUnlessConfirmed(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	s := newNetconfServer(t)
	d := s.on(t, nil)
	must(t, installs(t, d, 1))
	before, err := d.Downstream().Observe(t.Context(), "l1")
	must(t, err)
	half := func(limit time.Duration) *client.Session {
		session := s.session(t)
		must(t, session.Edit(t.Context(), []byte(keyChains("<key-chain><name>l1</name><description>keyorch l1 2=e1-"+string(before.Accepts[0].KCV)+
			" 3=e2-a1b2c3d4e5 unconfirmed=00ff00ff/4s</description>"+netconfKey(3, false, true)+"</key-chain>"))))
		must(t, session.CommitFor(t.Context(), limit))
		return session
	}
	undone := func() bool {
		o, err := d.Downstream().Observe(t.Context(), "l1")
		if err == nil && slices.Equal(o.Accepts, before.Accepts) {
			return true
		}
		netconfSays(t, err, fault.Unavailable, "a change of key chain l1 has been committed but not confirmed: the device undoes it within 4s")
		time.Sleep(2 * time.Second) // netconfd looks at its clock only while nobody asks it anything
		return false
	}
	session := half(time.Minute)
	if undone() {
		t.Error("what is not confirmed was undone at once, or hidden")
	}
	session.Close()
	testbed.Until(t, 20*time.Second, "the end of the session undoes it", undone)
	half(4 * time.Second)
	testbed.Until(t, 40*time.Second, "the clock undoes it", undone)
	must(t, installs(t, d, 2)) // nothing is in the way of the next one
	before, err = d.Downstream().Observe(t.Context(), "l1")
	must(t, err)
	// A server that restarts meanwhile has it not either.
	half(time.Minute)
	s.restart(t)
	if !undone() {
		t.Error("a restart made an unconfirmed commit permanent")
	}
}

// netconfd reads a request together with the hello when it is slow, and then does
// not look at it. The client prods it until it does.
func TestNetconfIsProddedWhenItReadsARequestWithTheHello(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	s := newNetconfServer(t)
	var stuck atomic.Bool
	front := clienttest.Serve(t, func(front io.ReadWriter) {
		server, hangUp, err := s.subsystem()
		if err != nil {
			return
		}
		defer hangUp()
		// The server's hello first, and then ours with what follows in one piece.
		back, asked := bufio.NewReader(server), bufio.NewReader(front)
		theirs, _ := clienttest.Message(back)
		send(front, theirs)
		ours, _ := clienttest.Message(asked)
		request := ""
		for !strings.HasSuffix(request, "\n##\n") {
			b, err := asked.ReadByte()
			if err != nil {
				return
			}
			request += string(b)
		}
		_, _ = io.WriteString(server, ours+"]]>]]>"+request)
		replied := make(chan struct{})
		go func() {
			_, _ = back.Peek(1)
			close(replied)
			_, _ = io.Copy(front, back)
		}()
		_, _ = asked.Peek(1)
		select {
		case <-replied:
		case <-time.After(time.Second):
			stuck.Store(true)
		}
		_, _ = io.Copy(server, asked)
	})
	f := s.fields("", "l1")
	f["address"], f["identity"], f["hostKey"] = front.Address, front.Identity, front.HostKey
	d, err := netconf.New("n1", f)
	must(t, err)
	must(t, installs(t, d, 1))
	if !stuck.Load() {
		t.Error("the server answered by itself: nobody has to prod it any more")
	}
}
