package cli

import (
	"fmt"
	"slices"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/cmd/keyorch/tui"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// look is one look at all links, from which a screen is made.
type look struct {
	now       time.Time
	topology  topology.Topology
	records   []link.Record // sorted by link
	campaigns []campaign.Record
	total     int    // links, declared or not
	keyless   int    // those without a key
	held      int    // in flight for longer than their policy's Wait
	late      []late // in flight, and a step is overdue: the oldest first
}

func (s *screens) look() *look {
	l := &look{now: s.now(), topology: s.view.Topology(), records: s.view.Records(), campaigns: s.view.Campaigns()}
	l.total = len(l.records)
	for _, d := range l.topology.Links {
		if _, ok := slices.BinarySearchFunc(l.records, d.Name, byLink); !ok {
			l.total++
			l.keyless++
		}
	}
	for _, r := range l.records {
		if r.State.Phase == link.Steady {
			if r.State.To.IsZero() {
				l.keyless++
			}
			continue
		}
		declared, _ := l.topology.Link(r.Link)
		policy := l.topology.PolicyOf(declared)
		due, begun := r.State.Since, r.Last.Begun
		if begun.IsZero() {
			begun = due
		}
		if !l.now.Before(begun.Add(policy.Wait)) {
			l.held++
		}
		if r.State.Phase == link.Draining {
			due = due.Add(max(policy.Drain, policy.Quiet))
		}
		if l.now.Sub(due) >= lateAfter {
			l.late = append(l.late, late{id: r.Link, since: r.State.Since})
		}
	}
	slices.SortStableFunc(l.late, func(a, b late) int { return a.since.Compare(b.since) })
	return l
}

func byLink(r link.Record, id keychain.LinkID) int {
	switch {
	case r.Link < id:
		return -1
	case r.Link > id:
		return 1
	}
	return 0
}

// watched is the campaign to show: the one asked for, or of those that have not
// ended the one that began last.
func (l *look) watched(name string) (campaign.Record, bool) {
	i := slices.IndexFunc(l.campaigns, func(c campaign.Record) bool {
		return c.Name == name || name == "" && c.State != campaign.Ended
	})
	if i < 0 {
		return campaign.Record{}, false
	}
	return l.campaigns[i], true
}

// lateIn is the late links of a campaign, then those that it took back, then
// those that it did not begin.
func (l *look) lateIn(f fleetView, name string) []late {
	var waits, back, denied []late
	for _, w := range l.late {
		i, _ := slices.BinarySearchFunc(l.records, w.id, byLink)
		if l.records[i].Last.Campaign == name {
			waits = append(waits, w)
		}
	}
	for _, r := range l.records {
		if a := r.Last; a.Campaign == name && !a.Ended.IsZero() && a.Outcome == link.Aborted {
			back = append(back, late{id: r.Link, since: a.Ended, state: string(a.Outcome), reason: a.Reason})
		}
	}
	for _, d := range f.Denials(name) {
		state := string(link.Denied)
		if d.Site != "" {
			state = campaign.Skipped
		}
		denied = append(denied, late{id: d.Link, since: d.At, state: state, reason: d.Reason})
	}
	return slices.Concat(waits, back, denied)
}

func (l *look) phases() []tui.Phase {
	count := map[link.Phase]int{}
	for _, r := range l.records {
		count[r.State.Phase]++
	}
	count[link.Steady] -= l.keyless - (l.total - len(l.records)) // records without a key
	var out []tui.Phase
	for _, p := range link.Phases() {
		out = append(out, tui.Phase{Name: p.String(), Count: count[p]})
	}
	if l.keyless > 0 {
		out = append(out, tui.Phase{Name: "no key", Count: l.keyless})
	}
	return out
}

// absent is the declared nodes that no agent serves.
func (l *look) absent(f fleetView) []string {
	var nodes []keychain.NodeID
	for _, n := range l.topology.Nodes {
		nodes = append(nodes, n.Name)
	}
	slices.Sort(nodes)
	present := f.Present(nodes)
	var out []string
	for _, n := range nodes {
		if _, ok := slices.BinarySearch(present, n); !ok {
			out = append(out, string(n))
		}
	}
	return out
}

// messages are other campaigns that run, maintenance, exclusions, and documents
// that cannot be read.
func (l *look) messages(f fleetView, shown string) []string {
	var out []string
	for _, c := range l.campaigns {
		if c.State != campaign.Ended && c.Name != shown {
			out = append(out, fmt.Sprintf("campaign %s is %s, too: keyorch status --watch %s", c.Name, c.State, c.Name))
		}
	}
	standing := f.Standing()
	for _, m := range standing.Maintenance {
		if m.Until.After(l.now) {
			out = append(out, fmt.Sprintf("site %s in maintenance until %s: %s", m.Site, m.Until.In(l.now.Location()).Format("Mon 15:04"), m.Reason))
		}
	}
	for _, e := range standing.Exclusions {
		who := "node " + string(e.Node)
		if e.Site != "" {
			who = "site " + string(e.Site)
		}
		out = append(out, fmt.Sprintf("%s is excluded: %s", who, e.Reason))
	}
	for _, err := range f.Broken() {
		out = append(out, err.Error())
	}
	return out
}
