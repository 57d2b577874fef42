package e2e_test

import (
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/link"
)

// nobody is an address where nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func TestAServerIsAwayAtTheStart(t *testing.T) {
	w := newWorld(t)
	w.declare(threeSites)
	gone := nobody(t)
	etcd, vault, temporal := "ETCDCTL_ENDPOINTS=https://"+gone, "VAULT_ADDR=https://"+gone, "TEMPORAL_ADDRESS="+gone
	file := filepath.Join(w.Lab.Dir, "network.yaml")
	state := filepath.Join(w.Lab.Dir, "state-of-nobody")
	for _, c := range []struct {
		away string
		args []string
	}{
		{etcd, []string{"status"}},
		{etcd, []string{"apply", "-f", file}},
		{etcd, []string{"rotate", "--all"}},
		{etcd, []string{"worker"}},
		{etcd, []string{"agent", "--site", "dc1", "--state-dir", state}},
		{vault, []string{"apply", "-f", file}},
		{vault, []string{"worker"}},
		{vault, []string{"agent", "--site", "dc1", "--state-dir", state}},
		{temporal, []string{"worker"}},
		{temporal, []string{"rotate", "--all"}},
	} {
		server, _, _ := strings.Cut(c.away, "=")
		t.Run(server+" for "+c.args[0], func(t *testing.T) {
			said := w.Run(t.Context(), []string{c.away}, c.args...)
			if said.Code != 6 {
				t.Errorf("exit %d, want 6", said.Code)
			}
			if !strings.Contains(said.Err, gone) {
				t.Errorf("the address is not named: %s", said.Err)
			}
			if n := strings.Count(said.Err, "\n"); n > 3 || strings.Contains(said.Err, "goroutine ") {
				t.Errorf("the message is no message:\n%s", said.Err)
			}
		})
	}
}

func TestServersAwayInTheMiddle(t *testing.T) {
	w := rotatingWorld(t)
	w.slowly(100 * time.Millisecond)
	w.rotating("--all") // its own connections break; nobody waits for it
	w.untilPhase("dc1-dc2", link.Staging)
	w.stopView()
	must(t, w.Lab.Stack.Stop(t.Context()))
	before, began := w.Lab.Network.Total(), time.Now()
	for w.Lab.Network.Total().Sent < before.Sent+2000 { // traffic goes on with nobody in control
		if time.Since(began) > patience {
			t.Fatalf("traffic stopped with the servers away: %+v after %+v", w.Lab.Network.Total(), before)
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.startServers()
	for _, l := range w.topo.Links {
		w.settled(l.Name, 2)
	}
	w.noLoss()
}

func TestBadInputChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.declare(threeSites)
	w.staff()
	w.rotate(0, "--all")
	w.until("the campaign knows that it has ended", func() bool { return w.view.Campaigns()[0].State == campaign.Ended })
	// Keys grow older whatever anybody does.
	status := func() string {
		return regexp.MustCompile(`"(keyAge|for|at)": ("[^"]*"|\d+)`).ReplaceAllString(w.keyorch(0, "status", "-o", "json").Out, "")
	}
	before := status()
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"rotate"}, 2, "--all"},
		{[]string{"rotate", "no-such-link"}, 2, "no-such-link"},
		{[]string{"rotate", "--site", "no-such-site"}, 2, "no-such-site"},
		{[]string{"rotate", "dc1-dc2", "--all"}, 2, "one or the other"},
		{[]string{"rotate", "--all", "-o", "xml"}, 2, "json"},
		{[]string{"rotate", "--all", "--timeout", "-1s"}, 2, "negative"},
		{[]string{"frobnicate"}, 2, "frobnicate"},
		{[]string{"why"}, 2, "one link"},
		{[]string{"why", "no-such-link"}, 2, "no-such-link"},
		{[]string{"abort", "dc1-dc2"}, 3, "nothing to abort"},
		{[]string{"get", "unicorns"}, 2, "unicorns"},
		{[]string{"apply", "-f", "no-such-file.yaml"}, 2, "no-such-file.yaml"},
		{[]string{"agent"}, 2, "--site"},
		{[]string{"agent", "--site", "DC 1"}, 2, "--site"},
	} {
		w.run(strings.Join(c.args, " "), func(t *testing.T) {
			if said := w.keyorch(c.code, c.args...); !strings.Contains(said.Err, c.says) {
				t.Errorf("says %q, want %q in it", said.Err, c.says)
			}
		})
	}
	if after := status(); after != before {
		t.Errorf("bad input changed something:\n%s\n%s", before, after)
	}
}

func TestALyingNodeHoldsItsLink(t *testing.T) {
	w := rotatingWorld(t)
	w.Lab.Network.Node("dc2-spine2").CorruptKey(true)
	r := w.rotate(4, "dc1-dc2", "dc1-dc3", "--timeout", "4s")
	held := result(t, r, "dc1-dc2")
	if held.Outcome != link.Held || !strings.Contains(held.Reason, "KCV") || !strings.Contains(held.Reason, "dc2-spine2") {
		t.Errorf("dc1-dc2: %+v, want it held over the KCV of dc2-spine2", held)
	}
	if got := result(t, r, "dc1-dc3"); got.Outcome != link.Rotated {
		t.Errorf("dc1-dc3: %+v", got)
	}
	w.Lab.Network.Node("dc2-spine2").CorruptKey(false)
	w.noLoss()
}

// TestALyingNodeTeachesNobody has the only node that accepts have another key. Its
// word must not count as the link's.
func TestALyingNodeTeachesNobody(t *testing.T) {
	w := rotatingWorld(t)
	w.Lab.Network.Node("dc3-spine1").CorruptKey(true)
	r := w.rotate(4, "dc1-dc3", "--timeout", "3s")
	held := result(t, r, "dc1-dc3")
	if held.Phase != link.Staging || !strings.Contains(held.Reason, "KCV") || !strings.Contains(held.Reason, "dc3-spine1") {
		t.Errorf("dc1-dc3: %+v, want it held in Staging over the KCV of dc3-spine1", held)
	}
	w.Lab.Network.Node("dc3-spine1").CorruptKey(false)
	w.keyorch(0, "abort", "dc1-dc3")
	w.settled("dc1-dc3", 1)
	w.rotate(0, "dc1-dc3")
	w.noLoss()
}

func TestNoWorkerHoldsUntilOneComes(t *testing.T) {
	w := rotatingWorld(t)
	if code := w.worker.Terminate(); code != 0 {
		t.Errorf("the worker ended with %d on SIGTERM", code)
	}
	r := w.rotate(4, "--all", "--timeout", "1s")
	for _, l := range r.Links {
		if l.Outcome != link.Held || !strings.Contains(l.Reason, "no worker answers") {
			t.Errorf("without a worker: %+v", l)
		}
	}
	w.startWorker()
	for _, l := range w.topo.Links {
		w.settled(l.Name, 2)
	}
	w.noLoss()
}
