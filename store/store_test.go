package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/identity/identitytest"
	"github.com/keyorch/keyorch/keychain"
)

func TestEnvConfig(t *testing.T) {
	env := map[string]string{
		"ETCDCTL_ENDPOINTS": "https://one:2379, two:2379,",
		"ETCDCTL_CACERT":    "ca", "ETCDCTL_CERT": "cert", "ETCDCTL_KEY": "key",
	}
	c := EnvConfig(func(name string) string { return env[name] })
	if !slices.Equal(c.Endpoints, []string{"https://one:2379", "two:2379"}) || c.Files != (identity.Files{CA: "ca", Cert: "cert", Key: "key"}) || c.Plain {
		t.Fatalf("%+v", c)
	}
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	authority := identitytest.NewAuthority(t)
	good := authority.Issue(t, "keyorch-agent.dc2")
	other := func(change func(*identity.Files)) identity.Files {
		f := good
		change(&f)
		return f
	}
	garbage := filepath.Join(t.TempDir(), "garbage.pem")
	identitytest.Write(t, garbage, []byte("no PEM"))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	_ = l.Close()
	for _, c := range []struct {
		name   string
		config Config
		kind   fault.Kind
		word   string
	}{
		{"no address", Config{}, fault.Invalid, "ETCDCTL_ENDPOINTS"},
		{"not encrypted", Config{Endpoints: []string{"http://" + dead}, Files: good}, fault.Invalid, "https://"},
		{"no certificate", Config{Endpoints: []string{"https://" + dead}}, fault.Invalid, "ETCDCTL_CERT"},
		{"no certificate, and no scheme", Config{Endpoints: []string{dead}}, fault.Invalid, "ETCDCTL_CERT"},
		{"no key", Config{Endpoints: []string{dead}, Files: identity.Files{Cert: good.Cert}}, fault.Invalid, "ETCDCTL_KEY"},
		{"no CA file", Config{Endpoints: []string{dead}, Files: other(func(f *identity.Files) { f.CA = "/nowhere/ca.pem" })}, fault.Invalid, "/nowhere/ca.pem"},
		{"a CA file without a certificate", Config{Endpoints: []string{dead}, Files: other(func(f *identity.Files) { f.CA = garbage })}, fault.Invalid, garbage},
		{"a certificate that is none", Config{Endpoints: []string{dead}, Files: other(func(f *identity.Files) { f.Cert = garbage })}, fault.Invalid, garbage},
		{"nobody listening", Config{Endpoints: []string{dead}, Files: good, DialTimeout: 200 * time.Millisecond}, fault.Unavailable, dead},
		{"nobody listening without TLS", Config{Endpoints: []string{dead}, Plain: true, DialTimeout: 200 * time.Millisecond}, fault.Unavailable, dead},
	} {
		_, err := Open(t.Context(), c.config)
		if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v, want %v with %q", c.name, err, c.kind, c.word)
		}
	}
}

func TestEveryKeyIsReadBack(t *testing.T) {
	l := layout{DefaultPrefix}
	for _, c := range []struct{ key, folder, names string }{
		{l.declaration("Site", "x"), inTopology, "site x"},
		{l.node("x", "a"), inTopology, "node x a"},
		{l.enrolment(identity.Identity{Role: identity.Agent, Site: "x", Node: "a", Generation: 3}), inEnrolments, "keyorch-agent.x.a"},
		{l.link("ab"), inLinks, "ab"},
		{l.order("x", "a", "ab"), inOrders, "x a ab"},
		{l.observation("x", "a", "ab"), inObservations, "x a ab"},
		{l.agent("x", "a"), inAgents, "x a"},
		{l.campaign("nightly"), inCampaigns, "nightly"},
		{l.denial("nightly", "ab"), inDenials, "nightly ab"},
		{l.batch("nightly", 7), inWaves, "nightly 000007"},
		{l.maintenance("x"), inMaintenance, "x"},
		{l.excludedNode("a"), inExclusions, "node a"},
		{l.excludedSite("x"), inExclusions, "site x"},
		{l.entry("ab", 7), inPast, "ab 00000000000000000007"},
	} {
		p, ok := l.parse(c.key)
		if !ok || p.folder != c.folder || strings.Join(p.names, " ") != c.names {
			t.Errorf("%s is read as %+v, %v", c.key, p, ok)
		}
	}
	for _, key := range []string{"", "/other/links/ab", l.root + "/links/ab/cd", l.root + "/stranger/ab", l.topologyRevision(),
		l.root + "/campaigns/a/b", l.root + "/maintenance", l.root + "/exclusions/a", l.root + "/past/ab", l.root,
		l.root + "/topology", l.root + "/topology/node/a", l.root + "/topology/site/x/a", l.root + "/enrolments/a/b"} {
		if p, ok := l.parse(key); ok {
			t.Errorf("%q is read as %+v", key, p)
		}
	}
}

func TestTheSpansHoldWhatTheyShould(t *testing.T) {
	l := layout{DefaultPrefix}
	in := func(s span, key string) bool { return s.from <= key && key < s.to }
	for _, c := range []struct {
		key             string
		facts, topology bool
	}{
		{l.agent("x", "a"), true, false},
		{l.link("zz"), true, false},
		{l.observation("z", "z", "z"), true, false},
		{l.order("0", "0", "0"), false, false},
		{l.declaration("Site", "x"), false, true},
		{l.node("x", "a"), false, true},
		{l.topologyRevision(), false, false},
		{l.enrolment(identity.OfSite("x")), true, false},
		{l.campaign("0"), true, false},
		{l.campaign("zz"), true, false},
		{l.denial("zz", "zz"), true, false},
		{l.maintenance("zz"), true, false},
		{l.excludedNode("zz"), true, false},
		{l.excludedSite("0"), true, false},
		{l.batch("0", 0), false, false},
		{l.batch("zz", maxBatch), false, false},
		{l.entry("0", 0), false, false},
		{l.entry("zz", 1<<63), false, false},
	} {
		if in(l.facts(), c.key) != c.facts || in(l.topology(), c.key) != c.topology {
			t.Errorf("%s is in the wrong span", c.key)
		}
	}
	if in(l.orders("x", "a"), l.order("x", "a1", "ab")) {
		t.Error("the orders of a hold those of a1")
	}
	if in(l.nodesOf("x"), l.node("x2", "a")) || in(l.siteOrders("x"), l.order("x2", "a", "ab")) || in(l.siteAgents("x"), l.agent("x2", "a")) ||
		in(l.siteObservations("x"), l.observation("x2", "a", "ab")) {
		t.Error("what belongs to site x holds what belongs to x2")
	}
	if in(l.denials("night"), l.denial("night-2", "ab")) || in(l.batches("night"), l.batch("night-2", 0)) || in(l.past("ab"), l.entry("ab-2", 1)) {
		t.Error("what belongs to one name holds what belongs to a longer one")
	}
	if l.batch("n", 9) > l.batch("n", 10) || l.batch("n", 99_999) > l.batch("n", maxBatch) || l.entry("ab", 9) > l.entry("ab", 1<<63) {
		t.Error("keys with numbers are not in the order of the numbers")
	}
}

func TestCampaignNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"nightly": true, "nightly-2026-11-22t03-00-00z": true, "0": true, strings.Repeat("a", maxCampaign): true,
		"": false, "-a": false, "a-": false, "A": false, "a.b": false, "a:b": false, "a/b": false, "a b": false, "ä": false,
		"a\x00": false, strings.Repeat("a", maxCampaign+1): false,
	} {
		if err := validCampaign(name); (err == nil) != ok {
			t.Errorf("validCampaign(%q) = %v", name, err)
		}
	}
	for _, name := range []string{"a", "a-b", "0-", "-", "a_b", "ab9"} {
		if (validCampaign(name) == nil) != (keychain.ValidName(name) == nil) {
			t.Errorf("%q: a campaign may be named so, or a link, and not both", name)
		}
	}
}

func TestAtomicallyStaysWithinTheLimitOfEtcd(t *testing.T) {
	for _, n := range []int{1, maxOps, maxOps + 1, 500, maxNested} {
		ops := make([]clientv3.Op, n)
		for i := range ops {
			ops[i] = clientv3.OpPut(fmt.Sprint(i), "")
		}
		got := atomically(ops)
		total := 0
		for _, op := range got {
			if !op.IsTxn() {
				total++
				continue
			}
			_, inner, _ := op.Txn()
			if len(got)+len(inner) > 128 {
				t.Errorf("%d operations: %d within %d", n, len(inner), len(got))
			}
			total += len(inner)
		}
		if len(got) > 128 || total != n {
			t.Errorf("%d operations: %d outer ones with %d in all", n, len(got), total)
		}
	}
}

func TestShareFillsTransactionsInOrder(t *testing.T) {
	var units []unit
	for i := range 100 {
		units = append(units, unit{index: i, ops: make([]clientv3.Op, 5), size: 100})
	}
	units[50].ops = make([]clientv3.Op, 700)
	units[60].size = maxBytes
	next := 0
	for _, g := range share(units) {
		ops, size := 0, 0
		for _, u := range g {
			if u.index != next {
				t.Fatalf("unit %d comes where %d should", u.index, next)
			}
			next++
			ops, size = ops+len(u.ops), size+u.size
		}
		if len(g) > 1 && (ops > maxOps || size > maxBytes) {
			t.Errorf("%d units share a transaction of %d operations and %d bytes", len(g), ops, size)
		}
	}
	if next != len(units) {
		t.Fatalf("%d of %d units are written", next, len(units))
	}
}

func TestOnlyTheLastWordAboutALinkCounts(t *testing.T) {
	l := layout{DefaultPrefix}
	doc := func(turn keychain.Turn) entry {
		b, err := json.Marshal(Order{Site: "x", Node: "a", Link: "ab", Turn: turn})
		if err != nil {
			t.Fatal(err)
		}
		return entry{key: l.order("x", "a", "ab"), value: b}
	}
	var got OrderUpdate
	f := orderFollower{l, func(u OrderUpdate) { got = u }}
	f.apply([]change{{entry: doc(1)}, {entry: doc(1), deleted: true}, {entry: doc(2)}}, 9)
	if len(got.Deleted) != 0 || len(got.Orders) != 1 || got.Orders[0].Turn != 2 {
		t.Fatalf("deleted and written again: %+v", got)
	}
	f.apply([]change{{entry: doc(3)}, {entry: doc(3), deleted: true}}, 10)
	if len(got.Deleted) != 1 || len(got.Orders) != 0 {
		t.Fatalf("written and deleted: %+v", got)
	}
}

func TestAnOrderFromANewerVersionIsRead(t *testing.T) {
	var o Order
	e := entry{key: "k", value: []byte(`{"site":"x","node":"a","link":"ab","turn":3,"later":{"a":1},"send":{"epoch":4,"serial":2,"wrapped":{"kek":"k","ciphertext":"c","later":1}}}`)}
	if err := decode(e, &o); err != nil || o.Turn != 3 || o.Send.Epoch != 4 || o.Send.Wrapped.Ciphertext != "c" {
		t.Fatalf("%+v, %v", o, err)
	}
	e.value = bytes.Repeat([]byte("secret"), 3)
	if err := decode(e, &o); !fault.Is(err, fault.Mismatch) || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "k") {
		t.Fatalf("a broken document gives %v", err)
	}
}

func TestBackoffGrowsToItsLimit(t *testing.T) {
	b := backoff{}
	for range 100 {
		if d := b.next(); d < minWait/2 || d > maxWait {
			t.Fatalf("waits %v", d)
		}
	}
	if d := b.next(); d < maxWait/2 {
		t.Fatalf("after a hundred tries it waits %v only", d)
	}
	b.reset()
	if d := b.next(); d > minWait {
		t.Fatalf("after a success it waits %v", d)
	}
}
