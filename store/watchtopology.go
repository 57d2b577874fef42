package store

import (
	"context"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// WatchTopology calls f with everything declared, and again with everything
// whenever something changes, until ctx ends; f is never called twice at a time.
// A document that cannot be read is left out. It returns ctx's error, or Refused
// when etcd denies the permission.
func (s *Store) WatchTopology(ctx context.Context, f func(topology.Topology)) error {
	return s.follow(ctx, s.keys.topology(), topologyWatcher{s.keys, make(declared), f})
}

// WatchNodes is WatchTopology for the nodes of one site alone, or for one of them
// when node is not empty: all that an agent has to know of what is declared, and all
// that etcd shows it.
func (s *Store) WatchNodes(ctx context.Context, site keychain.SiteID, node keychain.NodeID, f func([]topology.Node)) error {
	sp := s.keys.nodesOf(site)
	if node != "" {
		sp = single(s.keys.node(site, node))
	}
	only := func(t topology.Topology) { f(t.Nodes) }
	return s.follow(ctx, sp, topologyWatcher{s.keys, make(declared), only})
}

type topologyWatcher struct {
	keys     layout
	declared declared
	f        func(topology.Topology)
}

func (w topologyWatcher) load(entries []entry, _ int64) {
	clear(w.declared)
	for _, e := range entries {
		_ = w.declared.put(w.keys, e) // put takes a broken one out
	}
	w.f(w.declared.topology())
}

func (w topologyWatcher) apply(changes []change, _ int64) {
	if len(changes) == 0 {
		return
	}
	for _, c := range changes {
		if c.deleted {
			delete(w.declared, c.key)
		} else {
			_ = w.declared.put(w.keys, c.entry)
		}
	}
	w.f(w.declared.topology())
}
