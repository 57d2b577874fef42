package access_test

import (
	"context"
	"testing"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// The names of the worlds below: sites dc1 and dc2, with two nodes in dc2.
func declared() topology.Topology {
	sim := topology.Device{Kind: "sim"}
	return topology.Topology{
		Sites:    []topology.Site{{Name: "dc1"}, {Name: "dc2"}},
		Policies: []topology.Policy{{Name: "slow", Drain: topology.DefaultDrain}},
		Nodes: []topology.Node{
			{Name: "up", Site: "dc1", Device: sim}, {Name: "down", Site: "dc2", Device: sim}, {Name: "down2", Site: "dc2", Device: sim},
		},
		Links: []topology.Link{
			{Name: "ab", Upstream: []keychain.NodeID{"up"}, Downstream: []keychain.NodeID{"down"}, Policy: "slow"},
			{Name: "ac", Upstream: []keychain.NodeID{"up"}, Downstream: []keychain.NodeID{"down2"}, Policy: "slow"},
		},
	}
}

// begin takes two links to the beginning of their first rotation, as a worker does.
func begin(w *world, worker *store.Store) {
	w.t.Helper()
	for id, down := range map[keychain.LinkID]keychain.NodeID{"ab": "down", "ac": "down2"} {
		st, err := link.Step(link.New([]keychain.NodeID{"up"}, []keychain.NodeID{down}), link.Rotate{Epoch: 1, At: time.Now()})
		must(w.t, err)
		out, err := worker.Commit(w.ctx, []store.Change{{
			Record: link.Record{Link: id, State: st},
			Minted: keychain.Wrapped{KEK: "keyorch-sites-dc1.dc2", Ciphertext: "vault:v1:" + string(id) + "-1"},
			Sites:  map[keychain.NodeID]keychain.SiteID{"up": "dc1", down: "dc2"},
		}})
		must(w.t, err)
		must(w.t, out[0].Err)
	}
}

func observation(site keychain.SiteID, node keychain.NodeID, id keychain.LinkID, turn keychain.Turn) store.Observation {
	return store.Observation{Site: site, Link: id, Report: keychain.Report{Node: node, Turn: turn, At: time.Now()}}
}

// everybody is who works in these worlds.
func everybody() []string {
	return []string{"keyorch-worker", "keyorch-operator", "keyorch-auditor", "keyorch-agent.dc1", "keyorch-agent.dc2", "keyorch-agent.dc2.down"}
}

// Each does, under its own role, all that keyorch has it do.
func TestEverybodyCanDoTheirWork(t *testing.T) {
	w := prepared(t, everybody()...)
	operator, worker, auditor := w.open("keyorch-operator"), w.open("keyorch-worker"), w.open("keyorch-auditor")
	_, err := operator.Apply(w.ctx, 0, declared())
	must(t, err)
	must(t, operator.PutMaintenance(w.ctx, topology.Maintenance{Site: "dc1", Until: time.Now()}))
	must(t, operator.EndMaintenance(w.ctx, "dc1"))
	must(t, operator.Exclude(w.ctx, topology.Exclusion{Node: "down"}))
	must(t, operator.Readmit(w.ctx, topology.Exclusion{Node: "down"}))
	view, err := worker.View(w.ctx)
	must(t, err)
	begin(w, worker)

	for cn, node := range map[string]keychain.NodeID{"keyorch-agent.dc2": "down2", "keyorch-agent.dc2.down": "down", "keyorch-agent.dc1": "up"} {
		agent, i := w.open(cn), who(t, cn)
		nodes := make(chan []topology.Node, 10)
		orders := make(chan store.OrderUpdate, 10)
		go func() { _ = agent.WatchNodes(w.ctx, i.Site, i.Node, func(n []topology.Node) { nodes <- n }) }()
		go func() {
			_ = agent.WatchOrders(w.ctx, i.Site, node, func(u store.OrderUpdate) { orders <- u })
		}()
		want := map[string]int{"keyorch-agent.dc1": 1, "keyorch-agent.dc2": 2, "keyorch-agent.dc2.down": 1}[cn]
		if n := receive(t, cn+" is told of its nodes", nodes); len(n) != want || n[0].Site != i.Site {
			t.Errorf("%s is told of %+v", cn, n)
		}
		u := receive(t, cn+" is given its orders", orders)
		if len(u.Orders) == 0 || len(u.Broken) > 0 {
			t.Fatalf("%s is given %+v", cn, u)
		}
		tenure, err := agent.Serve(w.ctx, i.Site, node, store.Agent{Instance: cn})
		must(t, err)
		_, err = tenure.Observations(w.ctx)
		must(t, err)
		must(t, tenure.Report(w.ctx, observation(i.Site, node, u.Orders[0].Link, u.Orders[0].Turn)))
		must(t, tenure.Report(w.ctx, observation(i.Site, node, u.Orders[0].Link, u.Orders[0].Turn)))
		until(t, "the worker sees it", func() bool {
			return len(view.Present([]keychain.NodeID{node})) == 1 && len(view.Reports(u.Orders[0].Link)) > 0
		})
		must(t, tenure.Close(w.ctx))
	}
	for _, s := range []*store.Store{auditor, operator} {
		v, err := s.View(w.ctx)
		must(t, err)
		if len(v.Records()) != 2 || len(v.Topology().Nodes) != 3 || len(v.Broken()) != 0 {
			t.Errorf("somebody who reads sees %d records, %d nodes, %v", len(v.Records()), len(v.Topology().Nodes), v.Broken())
		}
		if _, err := s.History(w.ctx, "ab"); err != nil {
			t.Error(err)
		}
	}
}

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

// While users and roles are changed all the time, nobody who works is disturbed.
func TestEnrolmentsDisturbNobody(t *testing.T) {
	w := prepared(t, everybody()...)
	root, agent := w.open("root"), w.open("keyorch-agent.dc2")
	tenure, err := agent.Serve(w.ctx, "dc2", "down", store.Agent{Instance: "one"})
	must(t, err)
	enrolling, stop := context.WithCancel(w.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for enrolling.Err() == nil {
			if _, err := root.Admit(w.ctx, who(t, "keyorch-agent.other")); err != nil {
				t.Error(err)
			}
			if _, err := root.Expel(w.ctx, who(t, "keyorch-agent.other")); err != nil {
				t.Error(err)
			}
		}
	}()
	for turn := range keychain.Turn(300) {
		must(t, tenure.Report(w.ctx, observation("dc2", "down", "ab", turn+1)))
	}
	stop()
	<-done
	select {
	case <-tenure.Done():
		t.Error("the tenure has ended")
	default:
	}
}
