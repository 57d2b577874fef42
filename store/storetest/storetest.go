// Package storetest is the suite that shows what package store promises, on a
// real etcd. The module of the product holds clients only, so the server comes
// from whoever runs the suite (module e2e).
//
// Where a check protects a promise, a second test breaks the promise and sees
// the check fail.
package storetest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
)

// Server is an etcd with one member.
type Server struct {
	// Endpoint is its address, host:port.
	Endpoint string
	// Files are those of a client that may do everything; empty: without TLS.
	Files identity.Files
	// Data is the directory of its data.
	Data string
	// Restart stops it, has something done meanwhile, and starts it again on the same data
	// and address.
	Restart func(meanwhile func())
}

// Run runs the suite. Every test keeps to a prefix of its own.
func Run(t *testing.T, srv Server) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *env)
	}{
		{"of two changes from one revision exactly one is written", testGuard},
		{"the guard check sees two winners without a guard", testGuardTeeth},
		{"a turn is never seen without its orders", testOneTransaction},
		{"the check for torn writes sees one", testOneTransactionTeeth},
		{"one stale link does not stop those that share its transaction", testSharedTransaction},
		{"a retired key is gone from the record and from every order", testRetired},
		{"the order of a node that leaves or moves is deleted", testLeaving},
		{"a node that only changes sides gets a new order", testSides},
		{"a change that cannot be is refused by name", testRefusals},
		{"a repeated change counts as committed once", testRepeated},
		{"a write whose answer was lost is found out", testLostAnswer},
		{"a segment of five hundred nodes is one transaction", testSegment},
		{"keys are wrapped anew, and whoever drives the link goes on", testRewrap},
		{"a key that was minted before KEKs were rotated is not committed", testMinting},
		{"links are driven while their keys are wrapped anew", testRewrapRace},
		{"an older report is refused and an equal one is not", testOlderReport},
		{"a report without tenure is refused", testNoTenure},
		{"of two agents one acts", testTwoAgents},
		{"the same instance takes its node back at once", testTakeOver},
		{"a lease that runs out frees the node", testExpiry},
		{"a tenure ends before its lease while etcd is away", testCutOff},
		{"a watch of orders gives all and then what changes", testWatchOrders},
		{"watches go on after a compaction", testCompaction},
		{"watches and tenures go on after a restart of etcd", func(t *testing.T, e *env) { testRestart(t, e, srv) }},
		{"views and the scribe notice an etcd that was put back", func(t *testing.T, e *env) { testPutBack(t, e, srv) }},
		{"a view agrees with what is stored", testView},
		{"a subscription names the links that changed", testSubscription},
		{"a broken document is named and stops no other", testBroken},
		{"applying says what it did", testApply},
		{"a node that moves is declared once", testApplyMove},
		{"an apply from an older topology is refused", testApplyGuard},
		{"ten thousand declarations are applied in order", testApplyMany},
		{"a campaign is written over the version it was made from", testCampaigns},
		{"of two versions of a campaign exactly one is written", testCampaignGuard},
		{"a campaign whose answer was lost is found out", testCampaignLostAnswer},
		{"no name gets out of its folder", testEscapes},
		{"ten thousand links are put into batches in few transactions", testBatches},
		{"ten thousand denials are written in few transactions", testDenials},
		{"dropping a campaign drops all of it and nothing else", testDropCampaign},
		{"decisions stand until they are taken back", testStanding},
		{"a broken exclusion still excludes", testBrokenStanding},
		{"a view and its subscriptions follow campaigns and decisions", testViewOfCampaigns},
		{"a view that reads anew forgets what was dropped meanwhile", testViewReadsCampaignsAnew},
		{"the history has one entry a turn", testHistory},
		{"the history is bounded", testHistoryIsBounded},
		{"every exchange with etcd can be observed", testObserve},
		{"every change says in the trail what it was", testTrail},
		{"the links of one transaction have one entry in the trail", testTrailTogether},
		{"an agent's records ride with its observations", testTrailOfAgents},
		{"one leads at a time", testLead},
		{"a view catches up in a quiet fleet", testCatchUpInQuiet},
		{"the outbox has one writer at a time", testOutbox},
		{"policies are freed by the rules in force", testFreedPolicies},
		{"ends of requests are forgotten, and nothing else", testForgottenEnds},
		{"agents are asked what they hold, and answer", testInquiry},
		{"a rebuilt record is written with all that belongs to it", testRecover},
		{"a key that was lost is in no record and no order", testRecoverBare},
		{"the check for lost keys sees one that stays", testRecoverBareTeeth},
		{"a restore that was cut off is gone on with", testRestore},
		{"a restore mixes no two histories", testRestoreMixesNothing},
		{"the check for mixed histories sees one", testRestoreMixesNothingTeeth},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newEnv(t, srv)) })
	}
}

// patience is how long a condition may take on a slow machine.
const patience = 30 * time.Second

// env is one test's part of the server.
type env struct {
	t      *testing.T
	config store.Config
	raw    *clientv3.Client
	// ctx ends with patience.
	ctx context.Context
}

func newEnv(tb testing.TB, srv Server) *env {
	tb.Helper()
	t, _ := tb.(*testing.T)
	name := strings.Map(func(r rune) rune {
		if r == '/' || r == ' ' {
			return '-'
		}
		return r
	}, tb.Name())
	ctx, cancel := context.WithTimeout(tb.Context(), 2*patience)
	tb.Cleanup(cancel)
	config := clientv3.Config{Endpoints: []string{srv.Endpoint}, Logger: clientv3.NewCtxClient(ctx).GetLogger()}
	if srv.Files != (identity.Files{}) {
		wallet, err := srv.Files.Open("etcd")
		must(tb, err)
		config.TLS = wallet.Dial("127.0.0.1")
	}
	raw, err := clientv3.New(config)
	must(tb, err)
	tb.Cleanup(func() { _ = raw.Close() })
	return &env{
		t: t, raw: raw, ctx: ctx,
		config: store.Config{
			Endpoints: []string{srv.Endpoint}, Files: srv.Files, Plain: srv.Files == (identity.Files{}),
			Prefix: fmt.Sprintf("/%s-%d", name, time.Now().UnixNano()),
		},
	}
}

// open gives a Store of its own connection.
func (e *env) open() *store.Store { return e.openWith(e.config) }

func (e *env) openWith(c store.Config) *store.Store {
	e.t.Helper()
	s, err := store.Open(e.ctx, c)
	must(e.t, err)
	e.t.Cleanup(func() { _ = s.Close() })
	return s
}

// dump is every key and value under the prefix and below.
func (e *env) dump(below string) map[string]string {
	e.t.Helper()
	resp, err := e.raw.Get(e.ctx, e.config.Prefix+below, clientv3.WithPrefix())
	must(e.t, err)
	all := make(map[string]string)
	for _, kv := range resp.Kvs {
		all[strings.TrimPrefix(string(kv.Key), e.config.Prefix)] = string(kv.Value)
	}
	return all
}

// put writes past the store.
func (e *env) put(key, value string) int64 {
	e.t.Helper()
	resp, err := e.raw.Put(e.ctx, e.config.Prefix+key, value)
	must(e.t, err)
	return resp.Header.GetRevision()
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func wantKind(t *testing.T, err error, k fault.Kind) {
	t.Helper()
	if !fault.Is(err, k) {
		t.Fatalf("got %v, want a fault of kind %v", err, k)
	}
}

// until waits for cond, which is asked again whenever it was false: the store
// has no signal for it.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// receive waits for a value.
func receive[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain: %s", what)
		panic("unreachable")
	}
}

var epochZero = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// sites puts every node at a site named after it.
func sites(st link.State) map[keychain.NodeID]keychain.SiteID {
	m := make(map[keychain.NodeID]keychain.SiteID)
	for _, n := range st.Nodes() {
		m[n] = siteOf(n)
	}
	return m
}

func siteOf(n keychain.NodeID) keychain.SiteID { return "site-" + keychain.SiteID(n) }

// wrapped is a wrapped key that can be searched for.
func wrapped(id keychain.LinkID, e keychain.Epoch) keychain.Wrapped {
	return keychain.Wrapped{KEK: "kek-" + string(id), Ciphertext: fmt.Sprintf("vault:v1:%s-%d-wrapped", id, e)}
}

// kcv is the check value that every node reports for an epoch.
func kcv(e keychain.Epoch) keychain.KCV { return keychain.KCV(fmt.Sprintf("%010x", uint64(e))) }

func ref(e keychain.Epoch) keychain.Ref { return keychain.Ref{Epoch: e, KCV: kcv(e)} }

// step applies events that must be legal.
func step(tb testing.TB, st link.State, events ...link.Event) link.State {
	tb.Helper()
	for _, e := range events {
		next, err := link.Step(st, e)
		must(tb, err)
		st = next
	}
	return st
}

// confirm is the state after every awaited node has done what it was told.
func confirm(tb testing.TB, st link.State) link.State {
	tb.Helper()
	for _, o := range link.Orders(st) {
		r := keychain.Report{Node: o.Node, Turn: o.Turn}
		for _, k := range o.Accept {
			r.Accepts = append(r.Accepts, ref(k.Epoch))
		}
		if !o.Send.IsZero() {
			r.Sends = ref(o.Send.Epoch)
		}
		st = step(tb, st, link.Reported{Report: r, At: epochZero})
	}
	return st
}

// driver takes one link through its life and commits every version.
type driver struct {
	tb  testing.TB
	ctx context.Context
	s   *store.Store
	rec link.Record
}

func (e *env) drive(s *store.Store, id keychain.LinkID, up, down []keychain.NodeID) *driver {
	d := &driver{tb: e.t, ctx: e.ctx, s: s, rec: link.Record{Link: id, State: link.New(up, down)}}
	d.commit(keychain.Wrapped{})
	return d
}

// change is the present record as a change.
func (d *driver) change(minted keychain.Wrapped) store.Change {
	return store.Change{Record: d.rec, Minted: minted, Sites: sites(d.rec.State)}
}

func (d *driver) commit(minted keychain.Wrapped) {
	d.tb.Helper()
	out, err := d.s.Commit(d.ctx, []store.Change{d.change(minted)})
	must(d.tb, err)
	must(d.tb, out[0].Err)
	d.rec.Revision = out[0].Revision
}

// begin starts a rotation to the next epoch.
func (d *driver) begin() {
	d.tb.Helper()
	epoch := d.rec.State.Highest + 1
	d.rec.State = step(d.tb, d.rec.State, link.Rotate{Epoch: epoch, At: epochZero})
	d.commit(wrapped(d.rec.Link, epoch))
}

// next enters the next phase.
func (d *driver) next() {
	d.tb.Helper()
	d.rec.State = advance(d.tb, d.rec.State)
	d.commit(keychain.Wrapped{})
}

// advance is the state in the next phase.
func advance(tb testing.TB, st link.State) link.State {
	tb.Helper()
	switch st.Phase {
	case link.Staging:
		return step(tb, confirm(tb, st), link.Cleared{Turn: st.Turn, At: epochZero})
	case link.Draining:
		return step(tb, st, link.Drained{Turn: st.Turn, At: epochZero})
	case link.Switching, link.Retiring:
		return confirm(tb, st)
	case link.Steady:
	}
	return st
}

// rotate goes from Steady to Steady.
func (d *driver) rotate() {
	d.tb.Helper()
	d.begin()
	for d.rec.State.Phase != link.Steady {
		d.next()
	}
}

func ids(names ...string) []keychain.NodeID {
	out := make([]keychain.NodeID, len(names))
	for i, n := range names {
		out[i] = keychain.NodeID(n)
	}
	return out
}
