package store

import (
	"maps"
	"slices"

	"github.com/keyorch/keyorch/keychain"
)

// Subscription tells which of some links have changed: their record, a report,
// the presence of one of their nodes, or the topology and what stands for a time,
// which concern them all. One to all links tells of campaigns as well.
//
// Subscribe first and look at the view then, so that nothing falls in between.
type Subscription struct {
	// C has a value when Take or TakeCampaigns has something to give; now and then
	// also when neither has. It is never closed.
	C <-chan struct{}

	c chan struct{}
	v *View
	// links is nil for all.
	links     map[keychain.LinkID]struct{}
	changed   map[keychain.LinkID]struct{}
	campaigns map[string]struct{}
	// all says that everything subscribed to has changed.
	all bool
}

// Subscribe begins to note changes of links, or of all links and of campaigns
// when it is nil. Close ends it.
func (v *View) Subscribe(links []keychain.LinkID) *Subscription {
	c := make(chan struct{}, 1)
	s := &Subscription{
		C: c, c: c, v: v,
		changed:   make(map[keychain.LinkID]struct{}),
		campaigns: make(map[string]struct{}),
	}
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
// topology, maintenance or exclusion gives all links subscribed to, and for a
// subscription to all links those that have a record or a declaration.
func (s *Subscription) Take() []keychain.LinkID {
	changed := s.take()
	slices.Sort(changed)
	return slices.Compact(changed)
}

// take is Take without order, and with repeats.
func (s *Subscription) take() []keychain.LinkID {
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	changed := slices.Collect(maps.Keys(s.changed))
	clear(s.changed)
	switch {
	case s.all && s.links != nil:
		changed = slices.AppendSeq(changed, maps.Keys(s.links))
	case s.all:
		changed = slices.AppendSeq(changed, maps.Keys(s.v.links))
		for _, l := range s.v.declaredTopology().Links {
			changed = append(changed, l.Name)
		}
	}
	s.all = false
	return changed
}

// TakeCampaigns gives the names of the campaigns whose record or denials have
// changed since the last TakeCampaigns, sorted. A subscription to some links has
// none.
func (s *Subscription) TakeCampaigns() []string {
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	changed := slices.Sorted(maps.Keys(s.campaigns))
	clear(s.campaigns)
	return changed
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	delete(s.v.subs, s)
}

// mark notes what of the news concerns s. The view is locked. What concerns all
// links costs nothing until it is taken.
func (s *Subscription) mark(n news) {
	s.all = s.all || n.topology
	for id := range n.links {
		if _, ok := s.links[id]; ok || s.links == nil {
			s.changed[id] = struct{}{}
		}
	}
	if s.links == nil {
		maps.Copy(s.campaigns, n.campaigns)
	}
	if !s.all && len(s.changed) == 0 && len(s.campaigns) == 0 {
		return
	}
	select {
	case s.c <- struct{}{}:
	default:
	}
}
