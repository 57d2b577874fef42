package e2e_test

import (
	"context"
	"crypto/tls"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// lasting is how slow devices make the phase last in which the verb comes: it speaks to
// three servers before the exclusion stands.
const lasting = 2 * time.Second

// TestExcludedInEachPhase has the verb come while another campaign has the link, in
// each phase, with the worker killed in the middle of the first.
func TestExcludedInEachPhase(t *testing.T) {
	w := stolenWorld(t)
	for i, phase := range inFlight {
		w.run(phase.String(), func(t *testing.T) {
			before, into := w.record("both").State.To.Epoch, w.record("into").State.To.Epoch
			w.slowly(50 * time.Millisecond)
			if i == 0 {
				w.slowly(lasting)
			}
			ended := w.rotating("both")
			if i > 0 {
				w.untilPhase("both", inFlight[i-1])
				w.slowly(lasting)
			}
			w.untilPhase("both", phase)
			taken := w.record("both").Last.Campaign
			done := make(chan int, 1)
			go func() {
				done <- w.Run(t.Context(), nil, "compromise", "--node", "bad", "--reason", "stolen in "+phase.String()).Code
			}()
			w.until("it is excluded", func() bool { return len(w.view.Standing().Exclusions) == 1 })
			w.slowly(50 * time.Millisecond)
			if phase == link.Staging {
				w.restartWorker()
			}
			w.without("bad", map[keychain.LinkID]keychain.Epoch{"both": before + 1, "into": into})
			if code := <-done; code != 3 {
				t.Errorf("compromise: exit %d, want 3 for the link that has nobody left", code)
			}
			ended(3)
			if phase == link.Staging {
				w.neverSent("both", before+1)
				if c := w.is(taken, campaign.Ended); c.Tally.Superseded != 1 {
					t.Errorf("the campaign that had it says %s: %s", c.Reason, c.Tally)
				}
			}
			w.keyorch(0, "readmit", "--node", "bad", "--reason", "found again")
			w.settled("both", before+2)
			if s := w.record("both").State; !slices.Contains(s.Downstream, "bad") {
				t.Errorf("readmitted it is no part of the link: %+v", s)
			}
		})
	}
	w.lostNothing()
}

// neverSent wants an epoch to have been staged, and never sent with.
func (w *world) neverSent(id keychain.LinkID, e keychain.Epoch) {
	w.t.Helper()
	s, err := w.Lab.Store(w.t.Context())
	must(w.t, err)
	defer func() { _ = s.Close() }()
	past, err := s.History(w.t.Context(), id)
	must(w.t, err)
	staged := false
	for _, p := range past {
		staged = staged || p.Phase == link.Staging && p.To.Epoch == e
		if p.To.Epoch == e && p.Phase != link.Staging {
			w.t.Errorf("epoch %d of %s came to %v", e, id, p.Phase)
		}
	}
	if !staged {
		w.t.Errorf("epoch %d of %s was never staged: %+v", e, id, past)
	}
}

// A link waits for the node that is stolen. Without it nobody is awaited, and the
// key that is staged must not be used for that.
func TestWhatWaitsForTheExcludedNodeGetsAnotherKey(t *testing.T) {
	w := stolenWorld(t)
	w.Lab.Network.Node("bad").Dead(true)
	r := w.rotate(4, "both", "--timeout", "1s")
	w.keyorch(3, "compromise", "--node", "bad", "--reason", "stolen")
	w.without("bad", map[keychain.LinkID]keychain.Epoch{"both": 2, "into": 1})
	w.neverSent("both", 2)
	if c := w.is(r.Campaign, campaign.Ended); c.Tally.Superseded != 1 {
		t.Errorf("the campaign that had it says %s: %s", c.Reason, c.Tally)
	}
	w.Lab.Network.Node("bad").Dead(false)
	w.lostNothing()
}

// cord is a server's address that can be cut off.
type cord struct {
	net.Listener
	to  string
	mu  sync.Mutex
	cut bool
	all []net.Conn
}

func newCord(t *testing.T, to string) *cord {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c := &cord{Listener: l, to: to}
	go c.serve()
	t.Cleanup(c.sever)
	return c
}

func (c *cord) serve() {
	for {
		in, err := c.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", c.to)
		c.mu.Lock()
		if err != nil || c.cut {
			_ = in.Close()
			c.mu.Unlock()
			continue
		}
		c.all = append(c.all, in, out)
		c.mu.Unlock()
		go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
		go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
	}
}

func (c *cord) sever() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	_ = c.Close()
	for _, conn := range c.all {
		_ = conn.Close()
	}
}

// TestServersAwayInAnEmergency has the verb fail at each server in turn, and asks
// again.
func TestServersAwayInAnEmergency(t *testing.T) {
	w := stolenWorld(t)
	before := w.keysOf("both", "into", "last")
	verb := []string{"compromise", "--site", "dc3", "--reason", "stolen"}
	unchanged := func(t *testing.T) {
		t.Helper()
		if now := w.keysOf("both", "into", "last"); len(w.view.Standing().Exclusions) > 0 || !maps.Equal(now, before) {
			t.Errorf("something has changed: %+v, %v", w.view.Standing(), now)
		}
	}
	w.run("Vault", func(t *testing.T) {
		if r := w.Run(t.Context(), []string{"VAULT_ADDR=https://" + nobody(t)}, verb...); r.Code != 6 {
			t.Errorf("exit %d: %s", r.Code, r.Err)
		}
		unchanged(t)
		if got := w.opens("dc3", "both", w.wanted("dc3", "bad")["both"]); len(got) != 1 {
			t.Errorf("dc3 opens %v", got)
		}
	})
	w.run("Temporal", func(t *testing.T) {
		if r := w.Run(t.Context(), []string{"TEMPORAL_ADDRESS=" + nobody(t)}, verb...); r.Code != 6 {
			t.Errorf("exit %d: %s", r.Code, r.Err)
		}
		unchanged(t)
	})
	w.run("etcd, after Vault", func(t *testing.T) {
		etcd := newCord(t, strings.TrimPrefix(w.Lab.Stack.EtcdEndpoint, "https://"))
		vault := vaultThat(t, w.Lab.Stack, etcd.sever)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if r := w.Run(ctx, []string{"ETCDCTL_ENDPOINTS=https://" + etcd.Addr().String(), "VAULT_ADDR=" + vault}, verb...); r.Code != 6 {
			t.Errorf("exit %d: %s", r.Code, r.Err)
		}
		unchanged(t) // but that Vault opens nothing for it any more
		if got := w.opens("dc3", "both", w.wanted("dc3", "bad")["both"]); len(got) != 0 {
			t.Errorf("dc3 opens %v", got)
		}
	})
	x := w.compromise(3, "--site", "dc3", "--reason", "stolen")
	w.without("bad", map[keychain.LinkID]keychain.Epoch{"both": 1, "into": 1})
	if want := []topology.Exposed{{Link: "both", Epoch: 1}, {Link: "into", Epoch: 1}, {Link: "last", Epoch: 1}}; !slices.Equal(w.exposedNow(x), want) {
		t.Errorf("exposed are %v", w.exposedNow(x))
	}
	w.opensNothing(t)
	if r := w.Run(t.Context(), []string{"VAULT_ADDR=https://" + nobody(t)}, "readmit", "--site", "dc3", "--reason", "found"); r.Code != 6 {
		t.Errorf("readmit without Vault: exit %d: %s", r.Code, r.Err)
	}
	if len(w.view.Standing().Exclusions) != 1 {
		t.Error("it was readmitted though Vault gives it nothing")
	}
	w.lostNothing()
}

// vaultThat is Vault behind something that happens when a policy of an agent is
// written: the call itself is carried out, and answered.
func vaultThat(t *testing.T, stack *devstack.Stack, then func()) string {
	to, err := url.Parse(stack.VaultAddress)
	must(t, err)
	pair, trusted, err := stack.Certificates()
	must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport = &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: trusted}}
	proxy.ModifyResponse = func(r *http.Response) error {
		if strings.Contains(r.Request.URL.Path, "policies") && strings.HasSuffix(r.Request.URL.Path, "dc3") {
			then()
		}
		return nil
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}})
	must(t, err)
	srv := &http.Server{Handler: proxy, ReadHeaderTimeout: time.Second}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return "https://" + l.Addr().String()
}
