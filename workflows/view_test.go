package workflows_test

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/workflows"
)

// view is the world as the activities look at it.
type view struct{ *world }

func (v view) CatchUp(context.Context) error {
	v.mu.Lock()
	catchUp := v.catchUp
	v.mu.Unlock()
	if catchUp != nil {
		catchUp()
	}
	return nil
}

func (v view) Topology() topology.Topology {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.declared
}

func (v view) Record(id keychain.LinkID) (link.Record, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if r, ok := v.shown[id]; ok {
		return r, true
	}
	r, ok := v.records[id]
	return r, ok
}

func (v view) Records() []link.Record {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.SortedFunc(maps.Values(v.records), func(a, b link.Record) int { return cmp.Compare(a.Link, b.Link) })
}

func (v view) Reports(id keychain.LinkID) []keychain.Report {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.SortedFunc(maps.Values(v.reports[id]), func(a, b keychain.Report) int { return cmp.Compare(a.Node, b.Node) })
}

func (v view) Present(nodes []keychain.NodeID) []keychain.NodeID {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(nodes), func(n keychain.NodeID) bool { return v.nodes[n].dead })
}

func (v view) Subscribe(ids []keychain.LinkID) workflows.Subscription {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := &subscription{w: v.world, links: ids, c: make(chan struct{}, 1)}
	v.subs[s] = struct{}{}
	return s
}

type subscription struct {
	w       *world
	links   []keychain.LinkID // nil for all
	c       chan struct{}
	changed []keychain.LinkID
}

// tell wakes the subscriptions to a link. The world is locked.
func (w *world) tell(id keychain.LinkID) {
	for s := range w.subs {
		if s.links != nil && !slices.Contains(s.links, id) {
			continue
		}
		if !slices.Contains(s.changed, id) {
			s.changed = append(s.changed, id)
		}
		select {
		case s.c <- struct{}{}:
		default:
		}
	}
}

func (s *subscription) Changed() <-chan struct{} { return s.c }

func (s *subscription) Take() []keychain.LinkID {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	changed := s.changed
	s.changed = nil
	return changed
}

func (s *subscription) Close() {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	delete(s.w.subs, s)
}
