package workflows

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// declared is a link as it counts now: without the nodes that are excluded.
func (a *Activities) declared(t topology.Topology, id keychain.LinkID) (topology.Link, bool) {
	l, ok := t.Link(id)
	standing := a.view.Standing()
	if !ok || len(standing.Exclusions) == 0 {
		return l, ok
	}
	out := func(n keychain.NodeID) bool { _, is := standing.Excludes(t, n); return is }
	l.Upstream = slices.DeleteFunc(slices.Clone(l.Upstream), out)
	l.Downstream = slices.DeleteFunc(slices.Clone(l.Downstream), out)
	return l, true
}

// older is why nobody may drive a link before a recovery, or empty: its nodes know
// of more than the record. Reports come first, so that the record is not the older
// one for having been looked at earlier.
func (a *Activities) older(id keychain.LinkID) string {
	reports := a.view.Reports(id)
	r, _ := a.view.Record(id)
	_, why := r.State.Behind(reports)
	return why
}

// emergencyTime is how long a link waits for the campaign of an emergency to take it
// over, before it takes back by itself what was staged for an excluded node.
const emergencyTime = time.Minute

// shutOut is why the key that s is staging must not be put to use, or empty: it
// was made for a node that is excluded by now, and since when. The node need not be
// waited for any more, which must not be what lets the others switch to a key that
// it has.
func (a *Activities) shutOut(t topology.Topology, s link.State) (why string, since time.Time) {
	if s.Phase != link.Staging || s.Restaging() || s.Reverting {
		return "", since
	}
	standing := a.view.Standing()
	for _, n := range s.Nodes() {
		if e, out := standing.Excludes(t, n); out {
			return fmt.Sprintf("its key was made for %s too, which is excluded since %s", n, e.Since.UTC().Format(time.RFC3339)), e.Since
		}
	}
	return "", since
}

// leftBehind reports whether r may be taken from the workflow that has it, though
// that may still run: its campaign has ended and it is part of the tail, or the
// request is urgent. The store lets only one of the two write from then on.
func (a *Activities) leftBehind(q BeginRequest, r link.Record) bool {
	switch {
	case q.Intent == ToMend, q.Intent == ToRejoin:
		return false // they are in no hurry with a link that somebody has
	case q.Urgent && q.Intent == ToRotate, q.Intent == ToRenew && r.Last.Campaign == q.Campaign:
		return true
	}
	c, ok := a.view.Campaign(r.Last.Campaign)
	return ok && c.State == campaign.Ended && c.Name != q.Campaign
}

// renewal is why the rotation that r is in is not the one that was asked for, or
// empty. A key that nobody sends with yet is worth going on with while it is
// young; in an emergency it is the key that somebody else could open.
func renewal(q BeginRequest, r link.Record, tail time.Duration, now time.Time) string {
	ours := r.Owner == q.Owner && r.Last.Minted.Equal(r.Last.Begun)
	switch {
	case ours, q.Intent == ToAbort, r.State.Restaging():
		return ""
	case q.Urgent && q.Intent == ToRotate:
		return "an emergency asks for a newer key"
	case q.Intent == ToRenew:
		return "it is tried again with a newer key"
	}
	why, _ := expired(r, r.State, max(tail, 1), now, time.Time{})
	return why
}

// expired is why a key that is staged and that nobody sends with is too old to go
// on with, or empty; then until is no later than when it will be. What came with
// an emergency, or replaces a key that cannot be used, does not grow old.
func expired(r link.Record, s link.State, tail time.Duration, now, until time.Time) (string, time.Time) {
	if s.Phase != link.Staging || s.Restaging() || s.Since.IsZero() || r.Last.Brief || tail <= 0 {
		return "", until
	}
	due := s.Since.Add(tail)
	if now.Before(due) {
		if until.IsZero() || due.Before(until) {
			until = due
		}
		return "", until
	}
	return fmt.Sprintf("its key has been staged for %v, and the policy gives it %v", now.Sub(s.Since).Round(time.Second), tail), until
}

// notNow is why a Steady link is not given a new key now, as far as it is denied.
func (a *Activities) notNow(q BeginRequest, t topology.Topology, declared topology.Link, r link.Record, now time.Time) Begun {
	switch {
	case q.Intent == ToAbort:
		return Begun{Denied: fmt.Sprintf("there is nothing to abort: it is Steady on epoch %d", r.State.To.Epoch)}
	case len(declared.Upstream) == 0 || len(declared.Downstream) == 0:
		return Begun{Denied: "it has an empty side: nobody is declared there, or all are excluded"}
	case q.Intent == ToMend && r.Owner != q.Owner && !r.State.NeedsEpoch() && r.State.Bereft(a.view.Reports(r.Link)) == "":
		return Begun{Denied: fmt.Sprintf("no sender of it needs another epoch than %d", r.State.To.Epoch)}
	case q.Intent == ToRejoin && r.Owner != q.Owner && len(back(a.view, r)) == 0:
		return Begun{Denied: "no quarantined node of it is back"}
	case q.Urgent:
		return Begun{}
	}
	if c := t.PolicyOf(declared).Closed(now); !c.Open() && !q.IgnoreWindows {
		return Begun{Denied: c.Reason, Closed: true}
	}
	standing := a.view.Standing()
	if len(standing.Maintenance) == 0 {
		return Begun{}
	}
	for _, s := range t.SitesOf(slices.Concat(declared.Upstream, declared.Downstream)) {
		if m, ok := standing.Maintained(s, now); ok {
			why := fmt.Sprintf("site %s is in maintenance until %s: %s", s, m.Until.UTC().Format(time.RFC3339), m.Reason)
			return Begun{Denied: why, Site: s}
		}
	}
	return Begun{}
}

// noteDenials writes down which links a campaign did not begin, and takes it back
// for those that it did begin after all.
func (a *Activities) noteDenials(ctx context.Context, name string, begun []Begun) error {
	if _, ok := a.view.Campaign(name); !ok {
		return nil
	}
	var denials []campaign.Denial
	for _, b := range begun {
		if b.Denied != "" {
			denials = append(denials, campaign.Denial{
				Link: b.Record.Link, Reason: b.Denied, At: time.Now().UTC(), Site: b.Site, Closed: b.Closed,
			})
		}
	}
	if len(denials) == 0 {
		return nil
	}
	return a.store.Deny(ctx, name, denials)
}

// back is the quarantined nodes of r that an agent serves again, and that are to
// be part of the link still.
func back(view View, r link.Record) []keychain.NodeID {
	if len(r.Quarantined) == 0 {
		return nil
	}
	t, standing := view.Topology(), view.Standing()
	l, _ := t.Link(r.Link)
	var nodes []keychain.NodeID
	for _, q := range r.Quarantined {
		if _, out := standing.Excludes(t, q.Node); !out && slices.Contains(l.Downstream, q.Node) {
			nodes = append(nodes, q.Node)
		}
	}
	return view.Present(nodes)
}

// stillDeclared is those of q that are to be part of the link.
func stillDeclared(q []link.Quarantine, l topology.Link) []link.Quarantine {
	return slices.DeleteFunc(slices.Clone(q), func(q link.Quarantine) bool { return !slices.Contains(l.Downstream, q.Node) })
}

// withoutAbsent is declared without the quarantined nodes that are not back: they
// would hold the link as soon as they were to join it.
func (a *Activities) withoutAbsent(r link.Record, declared topology.Link) topology.Link {
	present := back(a.view, r)
	declared.Downstream = slices.DeleteFunc(slices.Clone(declared.Downstream), func(n keychain.NodeID) bool {
		return slices.ContainsFunc(r.Quarantined, func(q link.Quarantine) bool { return q.Node == n }) && !slices.Contains(present, n)
	})
	return declared
}

// stillOut is the quarantined nodes that are no part of s.
func stillOut(q []link.Quarantine, s link.State) []link.Quarantine {
	return slices.DeleteFunc(slices.Clone(q), func(q link.Quarantine) bool { return slices.Contains(s.Downstream, q.Node) })
}

// leaveBehind goes on without the nodes that the others are enough without.
func (r *rotation) leaveBehind(d *driven, n News) {
	if len(n.Missing) == 0 {
		return
	}
	before := d.State
	kept := link.Members{Upstream: before.Upstream, At: n.At}
	kept.Downstream = slices.DeleteFunc(slices.Clone(before.Downstream), func(id keychain.NodeID) bool { return slices.Contains(n.Missing, id) })
	if r.apply(d, kept) != nil {
		return
	}
	for _, id := range n.Missing {
		d.Quarantined = slices.DeleteFunc(d.Quarantined, func(q link.Quarantine) bool { return q.Node == id })
		d.Quarantined = append(d.Quarantined, link.Quarantine{
			Node: id, Epoch: before.To.Epoch, Since: n.At, Reason: fmt.Sprintf("it did not confirm epoch %d, and the others were enough", before.To.Epoch),
		})
	}
}
