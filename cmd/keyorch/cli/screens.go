package cli

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/cmd/keyorch/tui"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

const (
	// lateAfter is how long after a step was due a link is listed as late.
	lateAfter = 10 * time.Second
	// explained is how many links are explained for one screen.
	explained = 200
	// driftEvery is how often every link is compared with its reports.
	driftEvery = 5 * time.Second
	// etcdTime is how long etcd may take before it counts as away.
	etcdTime = 2 * time.Second
)

// fleetView is what the screens are made from: a store.View.
type fleetView interface {
	CatchUp(ctx context.Context) error
	Topology() topology.Topology
	Standing() topology.Standing
	Records() []link.Record
	Record(id keychain.LinkID) (link.Record, bool)
	Reports(id keychain.LinkID) []keychain.Report
	Present(nodes []keychain.NodeID) []keychain.NodeID
	Campaigns() []campaign.Record
	Denials(name string) []campaign.Denial
	Broken() []error
}

// screens is the tui.Source over the view. All counts are exact; only links that
// are late are explained, and of those not more than a few, so that a screen of
// ten thousand links costs a few milliseconds.
type screens struct {
	view     fleetView
	batches  func(ctx context.Context, name string, first, count int) ([]campaign.Batch, error)
	explain  func(keychain.LinkID) link.Explanation
	tell     func(keychain.LinkID) string
	campaign string // the one that is asked for; empty: the one that runs
	now      func() time.Time
	// next is what is scheduled next, as in tui.Fleet; it must not block.
	next func(now time.Time) (string, time.Time)

	planned string // the campaign whose links are in links, by batch
	links   [][]keychain.LinkID
	drift   int
	drifted time.Time // when drift was counted
}

func newScreens(f fleetView, batches func(ctx context.Context, name string, first, count int) ([]campaign.Batch, error)) *screens {
	return &screens{view: f, batches: batches, now: time.Now}
}

// Why implements tui.Source.
func (s *screens) Why(_ context.Context, id string) (string, error) {
	return s.tell(keychain.LinkID(id)), nil
}

// Screen implements tui.Source. Faults: Unavailable while etcd is away.
func (s *screens) Screen(ctx context.Context) (tui.Screen, error) {
	ctx, cancel := context.WithTimeout(ctx, etcdTime)
	defer cancel()
	if err := s.view.CatchUp(ctx); err != nil {
		return tui.Screen{}, err
	}
	l := s.look()
	screen := tui.Screen{
		Now: l.now, Phases: l.phases(), Absent: l.absent(s.view),
		Fleet: tui.Fleet{Links: l.total, Nodes: len(l.topology.Nodes), Held: l.held, Drift: s.drifting(l)},
	}
	wanted := l.late
	c, ok := l.watched(s.campaign)
	if ok {
		screen.Campaign, screen.Waves = campaignOf(c), s.waves(ctx, l, c)
		wanted = l.lateIn(s.view, c.Name)
	}
	if !ok && s.next != nil {
		screen.Fleet.NextCampaign, screen.Fleet.NextAt = s.next(l.now)
	}
	screen.Messages = l.messages(s.view, c.Name)
	if i := slices.IndexFunc(l.campaigns, func(c campaign.Record) bool { return c.State == campaign.Ended }); i >= 0 {
		c := l.campaigns[i]
		screen.Fleet.LastCampaign, screen.Fleet.LastEnd, screen.Fleet.LastAt = c.Name, "ended: "+c.Tally.String(), c.Ended
	}
	screen.HeldTotal = len(wanted)
	for _, w := range wanted[:min(explained, len(wanted))] {
		screen.Held = append(screen.Held, s.row(w))
	}
	return screen, nil
}

// late is a link to list: one that waits, or one whose end is known.
type late struct {
	id    keychain.LinkID
	since time.Time
	// state and reason are what is said instead of an explanation.
	state, reason string
}

// row explains a link.
func (s *screens) row(l late) tui.Held {
	if l.state != "" {
		return tui.Held{Link: string(l.id), Phase: l.state, Reason: l.reason, Since: l.since}
	}
	x := s.explain(l.id)
	h := tui.Held{Link: string(l.id), Phase: x.Phase.String(), Reason: cmp.Or(x.Reason, x.Next, x.Summary), Since: l.since}
	node := x.Gate.Node
	if len(x.Awaiting) > 0 {
		i := slices.IndexFunc(x.Awaiting, func(w link.Wait) bool { return w.Fault != "" })
		node = x.Awaiting[max(0, i)].Node
	}
	h.Node = string(node)
	return h
}

// drifting counts the links that differ from what their record asks, now and then.
func (s *screens) drifting(l *look) int {
	if l.now.Sub(s.drifted) < driftEvery {
		return s.drift
	}
	s.drift, s.drifted = 0, l.now
	for _, r := range l.records {
		if len(link.Drift(r.State, s.view.Reports(r.Link))) > 0 {
			s.drift++
		}
	}
	return s.drift
}

// waves is how the waves stand: counted anew while the campaign is the latest,
// else as it was written down.
func (s *screens) waves(ctx context.Context, l *look, c campaign.Record) []tui.Wave {
	out := make([]tui.Wave, 0, len(c.Waves))
	live := l.campaigns[0].Name == c.Name && s.plan(ctx, c)
	denied := map[keychain.LinkID]*campaign.Denial{}
	if live {
		for _, d := range s.view.Denials(c.Name) {
			denied[d.Link] = &d
		}
	}
	for i, w := range c.Waves {
		t := w.Tally
		if live && !w.Begun.IsZero() {
			t = s.count(l.now, c, w, denied)
		}
		state, until := waveState(c, i, l.now)
		out = append(out, tui.Wave{Name: w.Name, State: state, SoakUntil: until, Tally: tui.Tally{
			Total: t.Links, Rotated: t.Rotated, InFlight: t.InFlight, Held: t.Held, Failed: t.Aborted + t.Refused, Skipped: t.Skipped + t.Superseded,
		}})
	}
	return out
}

// plan reads once which links are in which batch.
func (s *screens) plan(ctx context.Context, c campaign.Record) bool {
	if s.planned == c.Name {
		return true
	}
	total := 0
	for _, w := range c.Waves {
		total = max(total, w.First+w.Count)
	}
	batches, err := s.batches(ctx, c.Name, 0, total)
	if err != nil || len(batches) < total {
		return false
	}
	s.planned, s.links = c.Name, nil
	for _, b := range batches {
		s.links = append(s.links, b.Links)
	}
	return true
}

func (s *screens) count(now time.Time, c campaign.Record, w campaign.WaveStatus, denied map[keychain.LinkID]*campaign.Denial) campaign.Tally {
	var standings []campaign.Standing
	for _, ids := range s.links[w.First:min(w.First+w.Count, len(s.links))] {
		for _, id := range ids {
			r, _ := s.view.Record(id)
			r.Link = id
			standings = append(standings, campaign.Stand(r, c.Name, w.Begun, now, c.Wait, denied[id]))
		}
	}
	return campaign.Count(standings)
}

// waveState is what a wave does, and until when it soaks.
func waveState(c campaign.Record, i int, now time.Time) (tui.WaveState, time.Time) {
	w := c.Waves[i]
	until := w.Ended.Add(w.Soak)
	switch {
	case w.Begun.IsZero():
		return tui.Waiting, time.Time{}
	case w.Ended.IsZero() && c.State != campaign.Ended:
		return tui.Running, time.Time{}
	case c.State != campaign.Ended && i == c.Wave && i < len(c.Waves)-1 && !w.Promoted && now.Before(until):
		return tui.Soaking, until
	}
	return tui.Ended, time.Time{}
}

func campaignOf(c campaign.Record) *tui.Campaign {
	return &tui.Campaign{
		Name: c.Name, Kind: string(c.Kind), State: string(c.State), Reason: c.Reason, Policy: c.Policy, Wave: c.Wave,
		Begun: c.Begun, Expected: c.Expected, Ended: c.Ended,
	}
}
