package agents

import (
	"fmt"
	"testing"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/store"

	"github.com/keyorch/keyorch/devices/sim"
)

// BenchmarkIdleLook is one look at a link that nobody rotates, whose device shows
// what it showed before: what ten thousand idle links cost every Config.Resync.
func BenchmarkIdleLook(b *testing.B) {
	j, err := OpenJournal(b.TempDir() + "/journal.db")
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	w := &world{moved: make(chan struct{}), obs: map[keychain.NodeID]map[keychain.LinkID]store.Observation{}, holder: map[keychain.NodeID]*tenure{}}
	gear := sim.NewNetwork(sim.Options{}).Node("n1")
	cfg, err := Config{Site: theSite, Nodes: make(chan []Node), Store: w, Custody: w, Journal: j}.checked()
	if err != nil {
		b.Fatal(err)
	}
	p := &post{site: &site{Config: cfg, keys: newKeyring(w)}, node: Node{ID: "n1", Downstream: gear.Downstream()}, log: cfg.Logger}
	t := &tenure{w: w, node: "n1", done: make(chan struct{})}
	w.holder["n1"] = t
	key := secret.New(make([]byte, secret.Size))
	var orders []store.Order
	for i := range 1000 {
		link := keychain.LinkID(fmt.Sprintf("link-%04d", i))
		sa := keychain.SA{Link: link, Ref: keychain.Ref{Epoch: 1, KCV: kcvOf(key)}, Serial: 1, Turn: 1}
		if err := gear.Downstream().Install(b.Context(), sa, key); err != nil {
			b.Fatal(err)
		}
		orders = append(orders, store.Order{Site: theSite, Node: "n1", Link: link, Turn: 1, Accept: []store.Wanted{{Ref: sa.Ref, Serial: 1}}})
	}
	s := newSession(p, b.Context(), b.Context(), t, nil)
	var errands []*errand
	for _, o := range orders {
		e := &errand{order: o, retry: s.newBackoff()}
		errands = append(errands, e)
		if wait := s.attend(e, o, nil); wait > time.Minute || !e.settled {
			b.Fatalf("the first look found trouble: %+v", s.reports.latest(o.Link))
		}
	}
	eyes := s.newEyes()
	defer eyes.close()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, ok := eyes.glance(errands[i%len(errands)], orders[i%len(orders)]); !ok {
			b.Fatal("it found something")
		}
		i++
	}
}
