package notify

import (
	"slices"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// View is what events are derived from.
type View interface {
	Topology() topology.Topology
	Standing() topology.Standing
	Record(id keychain.LinkID) (link.Record, bool)
	Records() []link.Record
	// Reports has the latest report of each node about a link.
	Reports(id keychain.LinkID) []keychain.Report
	// Present is those of nodes that an agent serves now.
	Present(nodes []keychain.NodeID) []keychain.NodeID
	Campaigns() []campaign.Record
	// Subscribe tells of changes that concern the links, or any link for nil.
	Subscribe(ids []keychain.LinkID) Subscription
}

// Subscription tells which links have news.
type Subscription interface {
	// Changed is signalled when there is something to Take.
	Changed() <-chan struct{}
	// Take gives the links that have changed since the last Take.
	Take() []keychain.LinkID
	Close()
}

// gatherer keeps the facts of every link current, so that time alone costs little.
type gatherer struct {
	view   View
	sub    Subscription
	links  map[keychain.LinkID]LinkFact
	absent map[keychain.NodeID]time.Time
}

// newGatherer reads everything once.
func newGatherer(view View, now time.Time) *gatherer {
	g := &gatherer{view: view, sub: view.Subscribe(nil), links: map[keychain.LinkID]LinkFact{}, absent: map[keychain.NodeID]time.Time{}}
	t := view.Topology()
	for _, r := range view.Records() {
		g.look(t, r.Link, now)
	}
	return g
}

func (g *gatherer) close() { g.sub.Close() }

// facts are those of now.
func (g *gatherer) facts(now time.Time) Facts {
	t := g.view.Topology()
	for _, id := range g.sub.Take() {
		g.look(t, id, now)
	}
	f := Facts{Links: make([]LinkFact, 0, len(g.links)), Campaigns: g.view.Campaigns()}
	for _, l := range g.links {
		f.Links = append(f.Links, l)
	}
	f.Absent = g.absences(t, now)
	return f
}

// look takes in one link. Its reports are read before its record: one that is newer
// would look like drift.
func (g *gatherer) look(t topology.Topology, id keychain.LinkID, now time.Time) {
	reports := g.view.Reports(id)
	r, ok := g.view.Record(id)
	if !ok {
		delete(g.links, id)
		return
	}
	declared, _ := t.Link(id)
	policy := t.PolicyOf(declared)
	l := LinkFact{Link: id, Campaign: r.Last.Campaign, Policy: policy.Name, Phase: r.State.Phase, Entered: r.State.Since,
		Patience: policy.Wait, Age: policy.KeyAge, Drift: link.Drift(r.State, reports)}
	if l.Phase == link.Draining {
		l.Patience += policy.Drain + policy.Quiet
	}
	if !r.State.Sends().IsZero() {
		l.Made = r.Completed.Minted
		if l.Made.IsZero() {
			l.Made = r.Completed.Begun
		}
	}
	if len(l.Drift) > 0 {
		l.Drifting = now
		if before := g.links[id]; len(before.Drift) > 0 {
			l.Drifting = before.Drifting
		}
	}
	g.links[id] = l
}

// absences are the nodes that nobody serves. One that is excluded is none, and one in
// maintenance is away for as long as that lasts.
func (g *gatherer) absences(t topology.Topology, now time.Time) []Absence {
	names := make([]keychain.NodeID, len(t.Nodes))
	for i, n := range t.Nodes {
		names[i] = n.Name
	}
	present := g.view.Present(names)
	standing := g.view.Standing()
	var out []Absence
	still := map[keychain.NodeID]time.Time{}
	for _, n := range t.Nodes {
		if len(present) > 0 && present[0] == n.Name { // in the order of the nodes
			present = present[1:]
			continue
		}
		if _, shut := standing.Excludes(t, n.Name); shut {
			continue
		}
		since, known := g.absent[n.Name]
		if !known {
			since = now
		}
		if m, ok := standing.Maintained(n.Site, now); ok {
			since = m.Until
		}
		still[n.Name] = since
		out = append(out, Absence{Node: n.Name, Site: n.Site, Since: since})
	}
	g.absent = still
	return out
}

// say explains a link that is held.
func (g *gatherer) say(id keychain.LinkID, now time.Time) string {
	reports := g.view.Reports(id)
	r, _ := g.view.Record(id)
	t := g.view.Topology()
	declared, _ := t.Link(id)
	policy := t.PolicyOf(declared)
	st := r.State
	for _, report := range reports { // the record is written when the phase changes
		if next, err := link.Step(st, link.Reported{Report: report, At: report.At}); err == nil && next.Turn == st.Turn {
			st = next
		}
	}
	x := link.Snapshot{State: st, Reports: reports, Present: g.view.Present(st.Nodes()), Now: now,
		Drain: policy.Drain, Quiet: policy.Quiet, Quarantined: r.Quarantined}
	if st.Phase == link.Staging && !st.Reverting && !r.Last.Urgent {
		c := policy.Closed(now)
		x.Closed, x.ClosedUntil = c.Reason, c.Until
	}
	return link.Explain(id, x).Summary
}

// active are the webhooks that something is sent to: those that are declared, not
// disabled, and have not said that they want nothing more.
func active(t topology.Topology, receivers map[string]Receiver) []topology.Webhook {
	return slices.DeleteFunc(slices.Clone(t.Webhooks), func(h topology.Webhook) bool {
		return h.Disabled || receivers[h.Name].Gone == likeness(h)
	})
}
