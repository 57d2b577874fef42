package metrics

import (
	"sync"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// fleet is the little that the figures need of every link, kept current from a
// subscription: a scrape then looks at no record, and works out ages alone.
type fleet struct {
	view  View
	sub   Subscription
	ended func(link.Attempt)
	now   func() time.Time
	since time.Time // when counting began

	mu    sync.Mutex
	links map[keychain.LinkID]fact
	shown *figures // the last, for a second
}

// fact is what is known of one link.
type fact struct {
	recorded, declared, keyed, quarantined bool

	phase   link.Phase
	entered time.Time // when the phase was
	made    time.Time // when the key in use was; zero when that is not known
	ended   time.Time // when the last rotation that was seen to end did
	// patience is how long it may stand in its phase before it counts as held.
	patience time.Duration
	age      topology.KeyAge
	drift    map[link.DriftKind]int // nil: nothing is wrong
}

// newFleet reads everything once. The subscription must be older than the call,
// so that nothing falls in between.
func newFleet(view View, sub Subscription, ended func(link.Attempt), now func() time.Time) *fleet {
	f := &fleet{view: view, sub: sub, ended: ended, now: now, since: now(), links: make(map[keychain.LinkID]fact)}
	t := view.Topology()
	for _, r := range view.Records() {
		f.links[r.Link], _ = f.look(t, r.Link)
	}
	for _, l := range t.Links {
		if _, ok := f.links[l.Name]; !ok {
			f.links[l.Name], _ = f.look(t, l.Name)
		}
	}
	return f
}

// refresh looks at what has changed, and tells of the rotations that have ended.
func (f *fleet) refresh() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.update()
}

func (f *fleet) update() {
	t := f.view.Topology()
	for _, id := range f.sub.Take() {
		before := f.links[id]
		next, r := f.look(t, id)
		if !next.recorded && !next.declared {
			delete(f.links, id)
			continue
		}
		// Whatever was missed meanwhile, the last end is later than the one that was
		// seen. A record that is seen for the first time, or that an older backup has
		// brought back, may tell of one that ended long ago.
		last := before.ended
		if !before.recorded && last.IsZero() {
			last = f.since
		}
		if next.ended.After(last) {
			f.ended(r.Last)
		}
		if next.ended.Before(before.ended) {
			next.ended = before.ended
		}
		f.links[id] = next
	}
}

// look is what is known of a link now. The reports are read before the record: a
// report that is newer than the record would look like drift.
func (f *fleet) look(t topology.Topology, id keychain.LinkID) (fact, link.Record) {
	reports := f.view.Reports(id)
	r, recorded := f.view.Record(id)
	next := factOf(t, id, r, recorded)
	for _, d := range link.Drift(r.State, reports) {
		if next.drift == nil {
			next.drift = make(map[link.DriftKind]int)
		}
		next.drift[d.Kind]++
	}
	return next, r
}

// factOf is what a link's record and its policy say.
func factOf(t topology.Topology, id keychain.LinkID, r link.Record, recorded bool) fact {
	l, declared := t.Link(id)
	policy := t.PolicyOf(l)
	next := fact{
		recorded: recorded, declared: declared, keyed: recorded && !r.State.Sends().IsZero(), quarantined: len(r.Quarantined) > 0,
		phase: r.State.Phase, entered: r.State.Since, ended: r.Last.Ended,
		patience: policy.Wait, age: policy.KeyAge,
	}
	if r.State.Phase == link.Draining {
		next.patience += policy.Drain + policy.Quiet
	}
	if next.keyed {
		next.made = made(r)
	}
	return next
}

// made is when the key in use was made. A record says so of completed rotations:
// while a link is switching to the next key, the last one is in use.
func made(r link.Record) time.Time {
	switch using := r.State.Sends().Epoch; {
	case r.Completed.Epoch == using:
		return r.Completed.Begun
	case r.Last.Epoch == using && r.Last.Outcome == link.Rotated, r.State.Phase == link.Draining, r.State.Phase == link.Retiring:
		return r.Last.Begun
	}
	return r.Completed.Begun
}

// heldFor is how long the link has stood in its phase, and whether it counts as
// held.
func (f fact) heldFor(now time.Time) (time.Duration, bool) {
	if !f.recorded || f.phase == link.Steady || f.entered.IsZero() {
		return 0, false
	}
	d := now.Sub(f.entered)
	return d, d > f.patience
}
