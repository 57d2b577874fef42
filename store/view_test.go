package store

import (
	"fmt"
	"slices"
	"testing"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// bigView is a view of many links between as many nodes, with a subscription to
// each hundred of them, and one to all.
func bigView(links int) (*View, []*Subscription) {
	v := &View{s: &Store{keys: layout{DefaultPrefix}}, declared: make(declared), moved: make(chan struct{}), subs: make(map[*Subscription]struct{})}
	v.forgetFacts()
	var ids []keychain.LinkID
	for i := range links {
		id := keychain.LinkID(fmt.Sprintf("link-%05d", i))
		ids = append(ids, id)
		st := link.New([]keychain.NodeID{nodeNamed(i)}, []keychain.NodeID{nodeNamed(i + 1)})
		v.place(id, link.State{}, st)
		v.facts(id).record = link.Record{Link: id, State: st, Revision: 1}
		v.declared[v.s.keys.declaration(topology.KindLink, string(id))] = declaredAt{value: topology.Link{Name: id}}
	}
	subs := []*Subscription{v.Subscribe(nil)}
	for part := range slices.Chunk(ids, 100) {
		subs = append(subs, v.Subscribe(part))
	}
	return v, subs
}

func nodeNamed(i int) keychain.NodeID { return keychain.NodeID(fmt.Sprintf("node-%05d", i)) }

func TestWhatConcernsAllLinksIsCountedOnlyWhenItIsTaken(t *testing.T) {
	v, subs := bigView(10_000)
	told := func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.tell(news{topology: true})
	}
	// One channel for those who wait for a revision, whatever the number of links.
	if n := testing.AllocsPerRun(10, told); n > 2 {
		t.Errorf("telling %d subscriptions that the topology changed makes %v allocations", len(subs), n)
	}
	for i, s := range subs {
		want := 100
		if i == 0 {
			want = 10_000
		}
		if got := s.Take(); len(got) != want || !slices.IsSorted(got) {
			t.Fatalf("subscription %d takes %d links, want %d, sorted", i, len(got), want)
		}
		if got := s.Take(); len(got) != 0 {
			t.Fatalf("subscription %d takes %v twice", i, got)
		}
	}
}

func TestPresenceConcernsTheLinksOfItsNode(t *testing.T) {
	v, subs := bigView(300)
	move := v.links["link-00007"]
	v.place("link-00007", move.record.State, link.New([]keychain.NodeID{"elsewhere"}, []keychain.NodeID{nodeNamed(8)}))
	for node, want := range map[keychain.NodeID][]keychain.LinkID{
		nodeNamed(0):   {"link-00000"},
		nodeNamed(7):   {"link-00006"},
		nodeNamed(8):   {"link-00007", "link-00008"},
		nodeNamed(200): {"link-00199", "link-00200"},
		"elsewhere":    {"link-00007"},
		"nowhere":      nil,
	} {
		n := nothing()
		n.nodes[node] = struct{}{}
		v.mu.Lock()
		v.tell(n)
		v.mu.Unlock()
		if got := subs[0].Take(); !slices.Equal(got, want) {
			t.Errorf("the presence of %s concerns %v, want %v", node, got, want)
		}
	}
}

func BenchmarkTellOfPresence(b *testing.B) {
	v, _ := bigView(10_000)
	n := nothing()
	for b.Loop() {
		clear(n.links)
		n.nodes[nodeNamed(5000)] = struct{}{}
		v.mu.Lock()
		v.tell(n)
		v.mu.Unlock()
	}
}

// A node that was left behind is no node of its link, but that it is back concerns
// it.
func TestPresenceConcernsTheLinksThatLeftItsNodeBehind(t *testing.T) {
	v, subs := bigView(2)
	r := v.links["link-00000"].record
	before := counted(r)
	r.Quarantined = []link.Quarantine{{Node: "left"}}
	v.place("link-00000", before, counted(r))
	n := nothing()
	n.nodes["left"] = struct{}{}
	v.mu.Lock()
	v.tell(n)
	v.mu.Unlock()
	if got := subs[0].Take(); !slices.Equal(got, []keychain.LinkID{"link-00000"}) {
		t.Errorf("that it is back concerns %v", got)
	}
}
