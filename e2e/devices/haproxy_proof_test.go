//go:build devices

package devices_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/haproxy"
	"github.com/keyorch/keyorch/e2e/devices/proof"
	"github.com/keyorch/keyorch/e2e/devices/testbed"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/secret/secrettest"
)

// haproxyPage is what operators read. What stands there is what runs here, with the
// paths and the ports of the bed.
const haproxyPage = "../../docs/devices/haproxy.md"

const www = "www"

// edges is the two balancers of the page.
func edges(t testing.TB) (a, b *balancer) {
	t.Helper()
	conf := func(b *balancer) string {
		return strings.NewReplacer("/etc/haproxy/ticket-keys", b.dir, "/etc/haproxy", b.dir, "8443", b.ports[www]).
			Replace(block(t, haproxyPage, "haproxy", 0))
	}
	return newBalancer(t, conf, www), newBalancer(t, conf, www)
}

// edgesTopology is the topology of the page, with the policy of the script.
func edgesTopology(t testing.TB, a, b *balancer) string {
	t.Helper()
	documents, _, _ := strings.Cut(block(t, haproxyPage, "yaml", 0), "---\napiVersion: keyorch/v1\nkind: Policy\n")
	parts := strings.Split(documents, "---\n")
	for i, part := range parts {
		for name, edge := range map[string]*balancer{"edge1": a, "edge2": b} {
			if strings.Contains(part, "metadata: {name: "+name+"}") {
				parts[i] = strings.NewReplacer(haproxy.DefaultMaster, edge.socket(), "/etc/haproxy/ticket-keys", edge.dir, "127.0.0.1:8443", edge.address(www)).Replace(part)
			}
		}
	}
	return strings.Replace(strings.Join(parts, "---\n"), "policy: tickets", "policy: proof", 1)
}

// hide takes the master's socket away, as an operator might who starts HAProxy
// without it; what is connected goes on.
func (b *balancer) hide(t testing.TB) (mend func()) {
	t.Helper()
	away := b.socket() + ".away"
	if err := os.Rename(b.socket(), away); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Rename(away, b.socket()); err != nil {
			t.Error(err)
		}
	}
}

// push is an operator who rotates by hand, at this balancer alone.
func (b *balancer) push(t testing.TB) {
	t.Helper()
	key := base64.StdEncoding.EncodeToString(append(secrettest.New(t).Bytes, append(secrettest.New(t).Bytes, secrettest.New(t).Bytes[:16]...)...))
	if said := b.ask("@1 set ssl tls-key " + b.keyFile(www) + " " + key); !strings.Contains(said, "updated") {
		t.Fatalf("push: %s", said)
	}
}

func TestHaproxyProof(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	a, b := edges(t)
	stack := proof.Shared(t)
	proof.Run(t, stack, proof.Device{
		Kind: "haproxy", Topology: edgesTopology(t, a, b),
		Sites: []keychain.SiteID{"harbour", "hill"}, Links: []keychain.LinkID{www},
		Traffic: func(t *testing.T) []proof.Direction {
			return []proof.Direction{
				{Name: "a ticket of edge1 at edge2", Meter: startResumptions(t, a.address(www), b.address(www))},
				{Name: "a ticket of edge2 at edge1", Meter: startResumptions(t, b.address(www), a.address(www))},
			}
		},
		BreakInstall: func(t *testing.T) (mend func()) { return b.hide(t) },
		Says:         "cannot reach haproxy at " + b.socket() + ": no such file or directory",
		Restart:      func(*testing.T) { b.restart() },
		// Two pushes at one edge only, and it issues tickets that the other cannot open.
		WrongOrder: func(t *testing.T) { a.push(t); a.push(t) },
	})
	t.Run("abort in staging", func(t *testing.T) { abortInStaging(t, stack, a, b) })
}

// abortInStaging: a key that one edge has installed, and the other has not, leaves
// the ring by a reload, which costs no connection and is never sealed with.
func abortInStaging(t *testing.T, stack *proof.Stack, a, b *balancer) {
	for _, site := range []keychain.SiteID{"harbour", "hill"} {
		defer stack.Agent(t, site).Kill()
	}
	now := func() link.Entry {
		var past struct {
			Entries []link.Entry `json:"entries"`
		}
		if err := json.Unmarshal([]byte(stack.Verb(t, 0, "history", www, "-o", "json").Out), &past); err != nil || len(past.Entries) == 0 {
			t.Fatalf("history: %v", err)
		}
		return past.Entries[len(past.Entries)-1]
	}
	testbed.Until(t, time.Minute, "the link is steady", func() bool { return now().Phase == link.Steady && stack.Run(t.Context(), "rotate", www).Code == 0 })
	before := now().To
	flows := []*resumptions{startResumptions(t, a.address(www), b.address(www)), startResumptions(t, b.address(www), a.address(www))}
	marks := []uint64{flows[0].Mark(), flows[1].Mark()}
	began := workerOf(a)
	mend := b.hide(t)
	stack.Verb(t, 4, "rotate", www, "--timeout", "3s")
	t.Logf("the operator reads:\n%s", stack.Verb(t, 0, "why", www).Out)
	down := ringDevice(t, a, a.socket()).Downstream()
	testbed.Until(t, time.Minute, "edge1 has the new key", func() bool {
		o, err := down.Observe(t.Context(), www)
		return err == nil && len(o.Accepts) == 2
	})
	stack.Verb(t, 0, "abort", www, "--reason", "a test")
	mend()
	testbed.Until(t, time.Minute, "the link is back on the key before", func() bool { e := now(); return e.Phase == link.Steady && e.To == before })
	for _, edge := range []*balancer{a, b} {
		o, err := ringDevice(t, edge, edge.socket()).Downstream().Observe(t.Context(), www)
		if err != nil || len(o.Accepts) != 1 || o.Accepts[0].Epoch != before.Epoch {
			t.Errorf("%s accepts %v (%v), want %v alone", edge.socket(), o.Accepts, err, before)
		}
	}
	if workerOf(a) == began {
		t.Error("edge1 was not reloaded: the new key was not there, or was pushed out")
	}
	for i, f := range flows {
		if c := f.Since(marks[i]); c.Lost > 0 || c.Sent == 0 {
			t.Errorf("%d of %d resumptions were lost: %v", c.Lost, c.Sent, f.why)
		} else {
			t.Logf("abort in staging: 0 of %d lost", c.Sent)
		}
	}
	stack.Verb(t, 0, "rotate", www) // it goes on
}

// workerOf is the process ID of the worker in charge.
func workerOf(b *balancer) string {
	_, workers, _ := strings.Cut(b.ask("show proc"), "# workers\n")
	return strings.Fields(workers + " none")[0]
}

// A socket that cannot reload is refused before anything is pushed.
func TestHaproxySocketOfLevelUser(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	b := newBalancer(t, manyBinds, www)
	b.level = "user"
	b.restart()
	d := ringDevice(t, b, b.socket())
	c := secrettest.New(t)
	err := d.Downstream().Install(t.Context(), keychain.SA{Link: www, Ref: keychain.Ref{Epoch: 1}}, c.Key)
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "level,admin") {
		t.Errorf("%v (%v)", err, fault.Of(err))
	}
	o, err := d.Downstream().Observe(t.Context(), www)
	if err != nil || len(o.Accepts) != 0 {
		t.Errorf("%v, %v", o, err)
	}
	c.Absent(t, "the log", testbed.Tail(b.log(), 1<<20), fmt.Sprint(err))
}

// What HAProxy says of rings that keyorch cannot use, in the words of the page.
func TestHaproxyRingsThatDoNotFit(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	b := newBalancer(t, manyBinds, www)
	short := base64.StdEncoding.EncodeToString(make([]byte, 48)) + "\n"
	b.write(www, strings.Repeat(short, 3))
	b.restart()
	_, err := ringDevice(t, b, b.socket()).Downstream().Observe(t.Context(), www)
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "its keys have 48 bytes") {
		t.Errorf("keys of 48 bytes: %v (%v)", err, fault.Of(err))
	}
	b.ports["other"] = b.ports[www]
	_, err = ringDevice(t, b, b.socket()).Downstream().Observe(t.Context(), "other")
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "it has no such ring") {
		t.Errorf("no such ring: %v (%v)", err, fault.Of(err))
	}
}

// The rule that the driver keeps, broken by hand: two pushes at one edge only. Not
// one of its tickets is opened at the other, and nobody sees an error.
func TestHaproxyWrongOrderEndsResumption(t *testing.T) {
	testbed.SideBySide(t, testbed.Daemons)
	a, b := edges(t)
	b.write(www, testbed.Tail(a.keyFile(www), 1<<10))
	b.restart()
	there, back := startResumptions(t, a.address(www), b.address(www)), startResumptions(t, b.address(www), a.address(www))
	count := func() (one, other testbed.Count) {
		marks := []uint64{there.Mark(), back.Mark()}
		testbed.Until(t, time.Minute, "a hundred clients came", func() bool { return there.Mark() > marks[0]+100 && back.Mark() > marks[1]+100 })
		return there.Since(marks[0]), back.Since(marks[1])
	}
	if one, other := count(); one.Lost+other.Lost > 0 {
		t.Fatalf("before: %+v, %+v", one, other)
	}
	a.push(t)
	if one, other := count(); one.Lost+other.Lost > 0 { // copies: the first push is no switch
		t.Errorf("after one push: %+v, %+v", one, other)
	}
	a.push(t)
	one, other := count()
	if one.Lost != one.Sent || other.Lost > 0 {
		t.Errorf("after two pushes: %+v, %+v", one, other)
	}
	t.Logf("after two pushes %d of %d are lost, and %d of %d on the way back", one.Lost, one.Sent, other.Lost, other.Sent)
}
