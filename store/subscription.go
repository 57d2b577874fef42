package store

import (
	"maps"
	"slices"

	"github.com/keyorch/keyorch/keychain"
)

// Subscription tells which of some links have changed: their record, a report,
// the presence of one of their nodes, or the topology, which concerns them all.
//
// Subscribe first and look at the view then, so that nothing falls in between.
type Subscription struct {
	// C has a value when Take has something to give; now and then also when it has
	// not. It is never closed.
	C <-chan struct{}

	c chan struct{}
	v *View
	// links is nil for all.
	links   map[keychain.LinkID]struct{}
	changed map[keychain.LinkID]struct{}
}

// Subscribe begins to note changes of links, or of all links when it is nil.
// Close ends it.
func (v *View) Subscribe(links []keychain.LinkID) *Subscription {
	c := make(chan struct{}, 1)
	s := &Subscription{C: c, c: c, v: v, changed: make(map[keychain.LinkID]struct{})}
	if links != nil {
		s.links = make(map[keychain.LinkID]struct{}, len(links))
		for _, id := range links {
			s.links[id] = struct{}{}
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.subs[s] = struct{}{}
	return s
}

// Take gives the links that have changed since the last Take, sorted. A changed
// topology gives all links subscribed to, and for a subscription to all links
// those that have a record or a declaration.
func (s *Subscription) Take() []keychain.LinkID {
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	changed := slices.Sorted(maps.Keys(s.changed))
	clear(s.changed)
	return changed
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	delete(s.v.subs, s)
}

// mark notes what of the news concerns s. The view is locked.
func (s *Subscription) mark(n news) {
	switch {
	case n.topology && s.links != nil:
		maps.Copy(s.changed, s.links)
	case n.topology:
		for id := range s.v.links {
			s.changed[id] = struct{}{}
		}
		for _, l := range s.v.declared.topology().Links {
			s.changed[l.Name] = struct{}{}
		}
	default:
		for id := range n.links {
			if _, ok := s.links[id]; ok || s.links == nil {
				s.changed[id] = struct{}{}
			}
		}
	}
	if len(s.changed) == 0 {
		return
	}
	select {
	case s.c <- struct{}{}:
	default:
	}
}
