package storetest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// mirror is what a node's agent knows of its orders.
type mirror struct {
	mu        sync.Mutex
	orders    map[keychain.LinkID]store.Order
	snapshots int
	node      keychain.NodeID
	broken    []error
}

func (e *env) mirror(s *store.Store, node keychain.NodeID) *mirror {
	m := &mirror{node: node, orders: make(map[keychain.LinkID]store.Order)}
	ctx, cancel := context.WithCancel(e.ctx)
	done := make(chan error, 1)
	go func() { done <- s.WatchOrders(ctx, siteOf(node), node, m.take) }()
	e.t.Cleanup(func() {
		cancel()
		if err := <-done; ctx.Err() == nil || !fault.Ended(ctx, err) {
			e.t.Errorf("the watch ended with %v", err)
		}
	})
	return m
}

func (m *mirror) take(u store.OrderUpdate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u.Snapshot {
		clear(m.orders)
		m.snapshots++
	}
	for _, id := range u.Deleted {
		delete(m.orders, id)
	}
	for _, o := range u.Orders {
		m.orders[o.Link] = o
	}
	m.broken = append(m.broken, u.Broken...)
}

// turn is the Turn of the order about a link; false without one.
func (m *mirror) turn(id keychain.LinkID) (keychain.Turn, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.orders[id]
	return o.Turn, ok
}

// reaches waits until the node knows the present order of a link.
func (m *mirror) reaches(t *testing.T, d *driver) {
	t.Helper()
	asked := d.rec.State.Asked(m.node)
	until(t, fmt.Sprintf("the order of %s at turn %d", d.rec.Link, asked), func() bool {
		turn, ok := m.turn(d.rec.Link)
		return ok && turn == asked
	})
}

func testWatchOrders(t *testing.T, e *env) {
	s := e.open()
	d := e.drive(s, "ab", ids("a"), ids("b1", "b2"))
	d.rotate()
	m := e.mirror(s, "b2")
	m.reaches(t, d)
	d.begin()
	m.reaches(t, d)
	m.mu.Lock()
	o := m.orders["ab"]
	m.mu.Unlock()
	if len(o.Accept) != 2 || o.Accept[1].Wrapped != wrapped("ab", 2) || !o.Send.IsZero() || o.Accept[0].KCV != kcv(1) {
		t.Fatalf("the order in Staging is %+v", o)
	}
	for d.rec.State.Phase != link.Steady {
		d.next()
	}
	d.rec.State = step(t, d.rec.State, link.Members{Upstream: ids("a"), Downstream: ids("b1"), At: epochZero})
	d.commit(keychain.Wrapped{})
	until(t, "the order of a node that left is gone", func() bool { _, ok := m.turn("ab"); return !ok })
	if m.snapshots != 1 {
		t.Fatalf("an unbroken watch gave %d snapshots", m.snapshots)
	}
}

func testCompaction(t *testing.T, e *env) {
	w, config := e.wired(t)
	s := e.openWith(config)
	d := e.drive(e.open(), "ab", ids("a"), ids("b"))
	gone := e.drive(d.s, "gone", ids("a"), ids("b"))
	m := e.mirror(s, "b")
	v, err := s.View(e.ctx)
	must(t, err)
	m.reaches(t, d)
	m.reaches(t, gone)

	w.cut()
	d.rotate()
	gone.rec.State = step(t, gone.rec.State, link.Members{Upstream: ids("a"), Downstream: ids("c"), At: epochZero})
	gone.commit(keychain.Wrapped{})
	rev := e.put("/links/last", "{")
	_, err = e.raw.Compact(e.ctx, rev)
	must(t, err)
	w.mend(nil)

	m.reaches(t, d)
	until(t, "the order that was deleted meanwhile is gone", func() bool { _, ok := m.turn("gone"); return !ok })
	must(t, v.WaitRevision(e.ctx, rev))
	if rec, _ := v.Record("ab"); rec.Revision != d.rec.Revision {
		t.Fatalf("the view has revision %d, want %d", rec.Revision, d.rec.Revision)
	}
	if m.snapshots < 2 {
		t.Fatal("the watch went on without reading anew: nothing was compacted, the test proves nothing")
	}
	d.rotate()
	must(t, v.CatchUp(e.ctx))
	if rec, _ := v.Record("ab"); rec.Revision != d.rec.Revision {
		t.Fatalf("the view caught up to revision %d, want %d", rec.Revision, d.rec.Revision)
	}
	m.reaches(t, d)
}

func testRestart(t *testing.T, e *env, srv Server) {
	e.config.LeaseTTL = 2 * patience // stopping takes etcd a while
	s := e.open()
	d := e.drive(s, "ab", ids("a"), ids("b"))
	m := e.mirror(s, "b")
	v, err := s.View(e.ctx)
	must(t, err)
	tenure := e.serve(s, "b", "one")
	m.reaches(t, d)
	srv.Restart(func() {})
	d.rotate()
	m.reaches(t, d)
	must(t, v.WaitRevision(e.ctx, d.rec.Revision))
	must(t, tenure.Report(e.ctx, observation("b", "ab", d.rec.State.Turn, "")))
	if ended(tenure) {
		t.Fatal("a short restart ended the tenure")
	}
}

func testView(t *testing.T, e *env) {
	s := e.open()
	early := e.drive(s, "early", ids("a"), ids("b"))
	early.begin()
	tenure := e.serve(s, "b", "one")
	must(t, tenure.Report(e.ctx, observation("b", "early", 1, "early")))
	base := topology.Topology{Sites: []topology.Site{{Name: "x"}}}
	_, err := s.Apply(e.ctx, 0, base)
	must(t, err)

	v, err := e.open().View(e.ctx)
	must(t, err)
	agree := func() {
		t.Helper()
		rev := e.put("/unrelated", "")
		must(t, v.WaitRevision(e.ctx, rev))
		if v.Revision() < rev {
			t.Fatalf("the view is at %d, want %d", v.Revision(), rev)
		}
		want, err := s.Records(e.ctx, nil)
		must(t, err)
		if got := v.Records(); !reflect.DeepEqual(got, want) {
			t.Fatalf("the view has\n%+v, stored is\n%+v", got, want)
		}
		topo, err := s.Topology(e.ctx)
		must(t, err)
		for _, got := range []topology.Topology{v.Topology(), v.Declared()} {
			if !reflect.DeepEqual(got, topo) {
				t.Fatalf("the view has\n%+v, stored is\n%+v", got, topo)
			}
		}
	}
	agree()
	for i := range 10 {
		e.drive(s, keychain.LinkID(fmt.Sprintf("link-%d", i)), ids("a"), ids("b")).rotate()
	}
	for early.rec.State.Phase != link.Steady {
		early.next()
	}
	base.Sites[0].Description = "changed"
	_, rev, err := s.TopologyAt(e.ctx)
	must(t, err)
	_, err = s.Apply(e.ctx, rev, base)
	must(t, err)
	must(t, tenure.Report(e.ctx, observation("b", "early", 2, "late")))
	agree()

	if r := v.Reports("early"); len(r) != 1 || r[0].Turn != 2 || r[0].Message != "late" || !r[0].At.Equal(epochZero) {
		t.Fatalf("reports are %+v", r)
	}
	if got := v.Present(ids("a", "b", "c")); !slices.Equal(got, ids("b")) {
		t.Fatalf("present are %v", got)
	}
	if a, ok := v.Agent("b"); !ok || a != agent("one") {
		t.Fatalf("the agent is %+v", a)
	}
	must(t, tenure.Close(e.ctx))
	until(t, "nobody serves b", func() bool { return len(v.Present(ids("b"))) == 0 })

	// A node that moved: the report from where it is now counts.
	moved := observation("b", "early", 3, "moved")
	moved.Site = "elsewhere"
	there, err := s.Serve(e.ctx, "elsewhere", "b", agent("one"))
	must(t, err)
	must(t, there.Report(e.ctx, moved))
	agree()
	if r := v.Reports("early"); len(r) != 1 || r[0].Message != "late" {
		t.Fatalf("a site where the node is not is believed: %+v", r)
	}
	_, rev, err = s.TopologyAt(e.ctx)
	must(t, err)
	_, err = s.Apply(e.ctx, rev, topology.Topology{Nodes: []topology.Node{{Name: "b", Site: "elsewhere", Device: topology.Device{Kind: "sim"}}}})
	must(t, err)
	agree()
	if r := v.Reports("early"); len(r) != 1 || r[0].Message != "moved" {
		t.Fatalf("reports after the move are %+v", r)
	}
	must(t, s.Close())
}

func testSubscription(t *testing.T, e *env) {
	s := e.open()
	ab := e.drive(s, "ab", ids("a"), ids("b"))
	cd := e.drive(s, "cd", ids("c"), ids("d"))
	v, err := s.View(e.ctx)
	must(t, err)
	only, all := v.Subscribe([]keychain.LinkID{"ab", "later"}), v.Subscribe(nil)
	expect := func(sub *store.Subscription, want ...keychain.LinkID) {
		t.Helper()
		receive(t, fmt.Sprint("news about ", want), sub.C)
		must(t, v.WaitRevision(e.ctx, e.put("/unrelated", "")))
		if got := sub.Take(); !slices.Equal(got, want) {
			t.Fatalf("changed are %v, want %v", got, want)
		}
	}
	if got := only.Take(); len(got) != 0 {
		t.Fatalf("nothing has happened, and changed are %v", got)
	}
	cd.rotate()
	expect(all, "cd")
	ab.begin()
	expect(only, "ab")
	expect(all, "ab")
	tenure := e.serve(s, "b", "one")
	expect(only, "ab")
	expect(all, "ab")
	must(t, tenure.Report(e.ctx, observation("b", "ab", 1, "")))
	expect(only, "ab")
	expect(all, "ab")
	_, err = s.Apply(e.ctx, 0, topology.Topology{Links: []topology.Link{{Name: "ef", Upstream: ids("e"), Downstream: ids("f")}}})
	must(t, err)
	expect(only, "ab", "later")
	expect(all, "ab", "cd", "ef")
	only.Close()
	must(t, tenure.Close(e.ctx))
	expect(all, "ab")
	if got := only.Take(); len(got) != 0 {
		t.Fatalf("after closing it still noted %v", got)
	}
}

func testBroken(t *testing.T, e *env) {
	s := e.open()
	good := e.drive(s, "good", ids("a"), ids("b"))
	for _, key := range []string{"/links/bad", "/orders/site-b/b/bad", "/observations/site-b/b/bad", "/topology/site/bad"} {
		e.put(key, `{"record": [`)
	}
	e.put("/links/other", `{"record":{"link":"good"}}`)
	e.put("/topology/link/other", `{"apiVersion":"keyorch/v1","kind":"Link","metadata":{"name":"good"},"spec":{"upstream":["a"],"downstream":["b"]}}`)
	_, err := s.Apply(e.ctx, 0, topology.Topology{Sites: []topology.Site{{Name: "good"}}})
	must(t, err)

	records, err := s.Records(e.ctx, nil)
	wantKind(t, err, fault.Mismatch)
	if len(records) != 1 || records[0].Link != "good" {
		t.Fatalf("records beside a broken one are %+v", records)
	}
	topo, err := s.Topology(e.ctx)
	wantKind(t, err, fault.Mismatch)
	if len(topo.Sites) != 1 || len(topo.Links) != 0 {
		t.Fatalf("the topology beside a broken declaration is %+v", topo)
	}
	m := e.mirror(s, "b")
	m.reaches(t, good)
	m.mu.Lock()
	if len(m.broken) != 1 {
		t.Errorf("the watch of orders names %v", m.broken)
	}
	m.mu.Unlock()
	v, err := s.View(e.ctx)
	must(t, err)
	if got := v.Broken(); len(got) != 5 || len(v.Records()) != 1 {
		t.Fatalf("the view names %v and has %d records", got, len(v.Records()))
	}
	out, err := s.Commit(e.ctx, []store.Change{
		{Record: link.Record{Link: "bad", State: link.New(ids("a"), ids("b"))}, Sites: sites(good.rec.State)},
		good.change(keychain.Wrapped{}),
	})
	must(t, err)
	wantKind(t, out[0].Err, fault.Mismatch)
	must(t, out[1].Err)

	tenure := e.serve(s, "b", "one")
	_, err = tenure.Observations(e.ctx)
	wantKind(t, err, fault.Mismatch)
	must(t, tenure.Report(e.ctx, observation("b", "bad", 1, "mended")))
	_, err = tenure.Observations(e.ctx)
	must(t, err)
}
