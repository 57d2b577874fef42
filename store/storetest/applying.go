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
