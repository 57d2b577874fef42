package storetest

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// declare is a site with nodes, each linked to the next.
func declare(nodes int) topology.Topology {
	t := topology.Topology{
		Sites:    []topology.Site{{Name: "x"}},
		Policies: []topology.Policy{{Name: "slow", Drain: topology.DefaultDrain}},
	}
	name := func(i int) keychain.NodeID { return keychain.NodeID(fmt.Sprintf("node-%05d", i)) }
	for i := range nodes {
		t.Nodes = append(t.Nodes, topology.Node{Name: name(i), Site: "x", Device: topology.Device{Kind: "sim"}})
	}
	for i := range nodes - 1 {
		t.Links = append(t.Links, topology.Link{
			Name:     keychain.LinkID(fmt.Sprintf("link-%05d", i)),
			Upstream: []keychain.NodeID{name(i)}, Downstream: []keychain.NodeID{name(i + 1)}, Policy: "slow",
		})
	}
	return t
}

func count(applied []store.Applied, a store.Action) int {
	n := 0
	for _, x := range applied {
		if x.Action == a {
			n++
		}
	}
	return n
}

func testApply(t *testing.T, e *env) {
	s := e.open()
	want := declare(3)
	applied, err := s.Apply(e.ctx, 0, want)
	must(t, err)
	if len(applied) != 7 || count(applied, store.Created) != 7 || applied[0] != (store.Applied{Kind: "Site", Name: "x", Action: store.Created}) {
		t.Fatalf("applied %+v", applied)
	}
	got, base, err := s.TopologyAt(e.ctx)
	must(t, err)
	if len(got.Nodes) != 3 || got.Nodes[1].Device.Kind != "sim" || !reflect.DeepEqual(got.Links[0].Upstream, want.Links[0].Upstream) {
		t.Fatalf("stored is %+v", got)
	}
	got.Sites[0].Description = "new"
	applied, err = s.Apply(e.ctx, base, topology.Topology{Sites: got.Sites, Nodes: got.Nodes})
	must(t, err)
	if count(applied, store.Configured) != 1 || count(applied, store.Unchanged) != 3 {
		t.Fatalf("applied %+v", applied)
	}
	if again, err := s.Topology(e.ctx); err != nil || len(again.Links) != 2 {
		t.Fatalf("what was not named is gone: %+v, %v", again, err)
	}
	_, err = s.Apply(e.ctx, base, topology.Topology{Sites: []topology.Site{{Name: "a/b"}}})
	wantKind(t, err, fault.Invalid)
}

// A node that moves is declared at one site at any time, and each site is told of its
// own nodes alone.
func testApplyMove(t *testing.T, e *env) {
	s := e.open()
	v, err := s.View(e.ctx)
	must(t, err)
	d := topology.Topology{
		Sites: []topology.Site{{Name: "x"}, {Name: "x2"}},
		Nodes: []topology.Node{{Name: "a", Site: "x", Device: topology.Device{Kind: "sim"}}, {Name: "b", Site: "x2", Device: topology.Device{Kind: "sim"}}},
	}
	_, err = s.Apply(e.ctx, 0, d)
	must(t, err)
	told := make(map[string]chan []topology.Node)
	watch := func(name string, site keychain.SiteID, node keychain.NodeID) {
		c := make(chan []topology.Node, 10)
		told[name] = c
		go func() { _ = s.WatchNodes(e.ctx, site, node, func(n []topology.Node) { c <- n }) }()
	}
	watch("x", "x", "")
	watch("x2", "x2", "")
	watch("a at x", "x", "a")
	for name, c := range told {
		if n := receive(t, name+" is told of its nodes", c); len(n) != 1 || (n[0].Name == "b") != (name == "x2") {
			t.Fatalf("%s is told of %+v", name, n)
		}
	}
	e.put("/topology/node/x2/a", "{") // and what stands there past keyorch goes
	must(t, v.CatchUp(e.ctx))
	if len(v.Broken()) != 1 {
		t.Fatalf("the view names %v", v.Broken())
	}
	d.Nodes[0].Site = "x2"
	e.put("/topology/node/x3/a", `{"name":"a","site":"x3","device":{"kind":"sim"}}`)
	_, base, _ := s.TopologyAt(e.ctx) // it names what is broken
	applied, err := s.Apply(e.ctx, base, d)
	must(t, err)
	if count(applied, store.Configured) != 1 || count(applied, store.Unchanged) != 3 {
		t.Fatalf("applied %+v", applied)
	}
	var keys []string
	for key := range e.dump("/topology/node/") {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	if !slices.Equal(keys, []string{"/topology/node/x2/a", "/topology/node/x2/b"}) {
		t.Fatalf("nodes stand at %v", keys)
	}
	if n := receive(t, "x loses its node", told["x"]); len(n) != 0 {
		t.Fatalf("x is told of %+v", n)
	}
	if n := receive(t, "so does who serves only that", told["a at x"]); len(n) != 0 {
		t.Fatalf("a at x is told of %+v", n)
	}
	until(t, "x2 has both", func() bool { return len(<-told["x2"]) == 2 })
	must(t, v.CatchUp(e.ctx))
	if got := v.Topology(); len(got.Nodes) != 2 || got.Nodes[0].Site != "x2" || len(v.Broken()) != 0 {
		t.Fatalf("the view shows %+v, %v", got.Nodes, v.Broken())
	}
	_, err = s.Apply(e.ctx, base, topology.Topology{Nodes: []topology.Node{{Name: "a", Site: "x/y"}}})
	wantKind(t, err, fault.Invalid)
}

func testApplyGuard(t *testing.T, e *env) {
	s := e.open()
	_, base, err := s.TopologyAt(e.ctx)
	must(t, err)
	var mu sync.Mutex
	var errs []error
	n := winners(func(w int) bool {
		_, err := s.Apply(e.ctx, base, topology.Topology{Sites: []topology.Site{{Name: keychain.SiteID(fmt.Sprint("s", w))}}})
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			errs = append(errs, err)
		}
		return err == nil
	})
	if n != 1 || !fault.Is(errs[0], fault.Refused) {
		t.Fatalf("%d of two applies from one topology went through: %v", n, errs)
	}
	got, err := s.Topology(e.ctx)
	must(t, err)
	if len(got.Sites) != 1 {
		t.Fatalf("stored is %+v", got)
	}
}

func testApplyMany(t *testing.T, e *env) {
	s := e.open()
	const nodes = 5000
	applied, err := s.Apply(e.ctx, 0, declare(nodes))
	must(t, err)
	if count(applied, store.Created) != 2*nodes+1 {
		t.Fatalf("created %d", count(applied, store.Created))
	}
	got, err := s.Topology(e.ctx)
	must(t, err)
	if len(got.Nodes) != nodes || len(got.Links) != nodes-1 {
		t.Fatalf("stored are %d nodes and %d links", len(got.Nodes), len(got.Links))
	}
	// Every node is written no later than the first link.
	last, first := int64(0), int64(1<<62)
	for kind, see := range map[string]func(int64){
		"node": func(r int64) { last = max(last, r) },
		"link": func(r int64) { first = min(first, r) },
	} {
		resp, err := e.raw.Get(e.ctx, e.config.Prefix+"/topology/"+kind+"/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
		must(t, err)
		for _, kv := range resp.Kvs {
			see(kv.ModRevision)
		}
	}
	if last > first {
		t.Fatalf("a node was written at %d, after a link at %d", last, first)
	}
	if !slices.IsSortedFunc(got.Nodes, func(a, b topology.Node) int { return len(a.Name) - len(b.Name) }) {
		t.Fatal("nodes are not sorted")
	}
}
