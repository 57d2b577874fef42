package link

import (
	"cmp"
	"slices"

	"github.com/keyorch/keyorch/keychain"
)

// Confirmations is who has done, by reports of the present Turn, what s awaits in
// this phase, sorted by node: downstream nodes with To, which they accept, in
// Staging and Retiring, upstream nodes with To, which they send with, in
// Switching. An upstream node that lost To and is silent counts as done, and its
// Key is zero. Steady and Draining await nobody.
//
// A worker that gathered no report of a node that was struck off earlier leaves
// it out: this is what reports show, not what Awaiting remembers.
func (s State) Confirmations(reports []keychain.Report) []Confirmation {
	var side []keychain.NodeID
	switch s.Phase {
	case Staging, Retiring:
		side = s.Downstream
	case Switching:
		side = s.Upstream
	case Steady, Draining:
	}
	var done []Confirmation
	for _, r := range reports {
		if !slices.Contains(side, r.Node) || !s.confirmedBy(r) {
			continue
		}
		c := Confirmation{Node: r.Node, Turn: r.Turn, Key: r.Accepted(s.To.Epoch), At: r.At, Counters: r.Counters}
		if s.Phase == Switching {
			c.Key, c.Sends = r.Sends, true
		}
		done = append(done, c)
	}
	slices.SortFunc(done, func(a, b Confirmation) int { return cmp.Compare(a.Node, b.Node) })
	return done
}

// confirmedBy reports whether r, of a node that this phase asks, confirms: what
// Step would strike its node off the awaited ones for.
func (s State) confirmedBy(r keychain.Report) bool {
	if r.Turn != s.Asked(r.Node) || r.Fault == wrongKey || s.mismatch(r) != "" {
		return false
	}
	if slices.Contains(s.Upstream, r.Node) {
		s.Lost = s.withLosses(r.Node, r.Lost)
	}
	return s.satisfied(r)
}

// Enter is the history entry of a record whose state before has moved on to a new
// Turn; false when it has not. A record that moved several Turns between two
// writes has one entry, for the last. The entry that ends an attempt, the one
// into Steady, has its Outcome. Confirmed is left to the caller, who has the
// reports: before.Confirmations(reports).
func Enter(r Record, before State) (Entry, bool) {
	s := r.State
	if s.Turn <= before.Turn {
		return Entry{}, false
	}
	e := Entry{
		Link: r.Link, Turn: s.Turn, Phase: s.Phase, From: s.From.Ref, To: s.To.Ref, At: s.Since,
		Campaign: r.Last.Campaign, Reason: s.Reason,
	}
	if s.Phase == Steady && !r.Last.Ended.IsZero() {
		e.Outcome, e.Reason = r.Last.Outcome, r.Last.Reason
	}
	return e, true
}
