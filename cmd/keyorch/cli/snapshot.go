package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// sight is one look at everything, at one moment: what the verbs that only read
// are made from.
type sight struct {
	view     fleetView
	now      time.Time
	topology topology.Topology
	standing topology.Standing
	closed   *closures

	batches func(ctx context.Context, name string, first, count int) ([]campaign.Batch, error)
	history func(ctx context.Context, id keychain.LinkID) ([]link.Entry, error)
}

func (w *world) sight() *sight {
	return &sight{
		view: w.view, now: time.Now(), topology: w.view.Topology(), standing: w.view.Standing(), closed: &w.closed,
		batches: w.store.Batches, history: w.store.History,
	}
}

// closures remembers for a moment which policies forbid to rotate: to find out
// takes longer than everything else that is asked about a link.
type closures struct {
	mu sync.Mutex
	at time.Time
	by map[string]topology.Closure
}

func (c *closures) of(p topology.Policy, now time.Time) topology.Closure {
	c.mu.Lock()
	defer c.mu.Unlock()
	if since := now.Sub(c.at); c.by == nil || since < 0 || since >= time.Second {
		c.at, c.by = now, map[string]topology.Closure{}
	}
	closed, ok := c.by[p.Name]
	if !ok {
		closed = p.Closed(now)
		c.by[p.Name] = closed
	}
	return closed
}

// snapshot is everything that there is to know about one link now. ok is false
// when the link was never rotated.
func (w *world) snapshot(id keychain.LinkID) (s link.Snapshot, record link.Record, ok bool) {
	return w.sight().snapshot(id)
}

func (w *world) explain(id keychain.LinkID) link.Explanation {
	s := w.sight()
	x, _, _ := s.snapshot(id)
	return s.explained(id, x)
}

func (s *sight) snapshot(id keychain.LinkID) (x link.Snapshot, record link.Record, ok bool) {
	reports := s.view.Reports(id) // before the record, which must be no older
	record, ok = s.view.Record(id)
	declared, _ := s.topology.Link(id)
	if !ok {
		record = link.Record{Link: id, State: link.New(declared.Upstream, declared.Downstream)}
	}
	policy := s.topology.PolicyOf(declared)
	x = link.Snapshot{
		State: confirmed(record.State, reports), Reports: reports, Present: s.view.Present(record.State.Nodes()), Now: s.now,
		Drain: policy.Drain, Quiet: policy.Quiet, KeySince: keySince(record), WarnAge: policy.KeyAge.Warn, MaxAge: policy.KeyAge.Max,
		Quarantined: record.Quarantined, Maintained: s.maintained(declared),
	}
	switch {
	case x.State.Phase == link.Staging && !x.State.Reverting && !record.Last.Urgent:
		c := s.closed.of(policy, s.now)
		x.Closed, x.ClosedUntil = c.Reason, c.Until
	case x.State.Phase == link.Draining && x.Quiet > 0:
		x.Quieted = quieted(x.State, reports)
	}
	return x, record, ok
}

// confirmed is st with what single nodes have confirmed since: the record is
// written when the phase changes.
func confirmed(st link.State, reports []keychain.Report) link.State {
	for _, r := range reports {
		after, err := link.Step(st, link.Reported{Report: r, At: r.At})
		switch {
		case err != nil:
		case after.Turn == st.Turn:
			st = after
		default: // the last confirmation, which a worker has yet to take in
			st.Awaiting = nil
		}
	}
	return st
}

// quieted is since when the counters of the old key have stood still, as far as
// reports tell: an agent writes one when a counter has moved, so that the last one
// is about when it last did. The worker, which watches, goes by its own clock.
func quieted(st link.State, reports []keychain.Report) []link.Quieted {
	var out []link.Quieted
	for _, r := range reports {
		i := slices.IndexFunc(r.Counters, func(c keychain.Counter) bool { return c.Epoch == st.From.Epoch })
		if i < 0 || r.Turn != st.Asked(r.Node) || !slices.Contains(st.Downstream, r.Node) {
			continue
		}
		since := r.At
		if since.Before(st.Since) {
			since = st.Since
		}
		out = append(out, link.Quieted{Node: r.Node, Epoch: st.From.Epoch, Packets: r.Counters[i].Packets, Since: since})
	}
	return out
}

// keySince is when the key in use was made.
func keySince(r link.Record) time.Time {
	if !r.Completed.Minted.IsZero() {
		return r.Completed.Minted
	}
	return r.Completed.Begun
}

// maintained says in which maintenance a link is.
func (s *sight) maintained(l topology.Link) []string {
	if len(s.standing.Maintenance) == 0 {
		return nil
	}
	var out []string
	for _, site := range s.topology.SitesOf(slices.Concat(l.Upstream, l.Downstream)) {
		if m, ok := s.standing.Maintained(site, s.now); ok {
			out = append(out, fmt.Sprintf("site %s until %s: %s", site, stamp(m.Until), m.Reason))
		}
	}
	return out
}

// excluded says which nodes of a link are kept out of it.
func (s *sight) excluded(l topology.Link) []string {
	var out []string
	for _, n := range nodesOf(l) {
		if e, ok := s.standing.Excludes(s.topology, n); ok {
			out = append(out, fmt.Sprintf("%s since %s: %s: keyorch readmit --%s --reason TEXT", n, stamp(e.Since), e.Reason, calledBy(e)))
		}
	}
	return out
}

// nodesOf is every declared node of a link once, sorted.
func nodesOf(l topology.Link) []keychain.NodeID {
	nodes := slices.Concat(l.Upstream, l.Downstream)
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

// links is every link that is declared or has a record, sorted.
func (s *sight) links() []keychain.LinkID {
	var ids []keychain.LinkID
	for _, l := range s.topology.Links {
		ids = append(ids, l.Name)
	}
	for _, r := range s.view.Records() {
		ids = append(ids, r.Link)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// denial is a link that a campaign did not begin, and which campaign that was.
type denial struct {
	Campaign string `json:"campaign"`
	campaign.Denial
}

// String says so for people.
func (d denial) String() string {
	what := "refused"
	if d.Skips() {
		what = "skipped"
	}
	return fmt.Sprintf("%s by %s: %s", what, d.Campaign, d.Reason)
}

// newestCampaigns is of how many campaigns the denials are looked at.
const newestCampaigns = 10

// denials is which links the newest campaigns did not begin, of each link the
// newest first.
func (s *sight) denials() map[keychain.LinkID][]denial {
	out := map[keychain.LinkID][]denial{}
	all := s.view.Campaigns()
	for _, c := range all[:min(len(all), newestCampaigns)] {
		for _, d := range s.view.Denials(c.Name) {
			out[d.Link] = append(out[d.Link], denial{Campaign: c.Name, Denial: d})
		}
	}
	return out
}

// standing denials are those that no rotation has come after.
func (d denial) stands(r link.Record) bool { return d.At.After(r.Last.Begun) }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// ago is how long ago t was, in words; empty for never.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return age(now, t) + " ago"
}

// orNone is the first text that is not empty, or "-".
func orNone(texts ...string) string { return dash(cmp.Or(texts...)) }
