package evidence

import (
	"slices"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/entitlement"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// Wish says which rotation of a link is meant: the one with this Turn, the last one of this
// campaign, or the last one that has ended.
type Wish struct {
	Link     keychain.LinkID
	Turn     keychain.Turn
	Campaign string
}

// Numbered is a record with its number in the trail.
type Numbered struct {
	Seq uint64 `json:"seq"`
	audit.Record
}

// Gathering takes the records of a trail and keeps those that may matter for a wish. Make
// one with Gather.
type Gathering struct {
	wish Wish
	kept []Numbered
}

// Gather begins with nothing.
func Gather(w Wish) *Gathering { return &Gathering{wish: w} }

// Take takes the next record.
func (g *Gathering) Take(seq uint64, r audit.Record) {
	about := r.Link == g.wish.Link
	// What is asked of a campaign, and what becomes of it, names no link or one of many.
	of := r.Campaign != "" && (r.Link == "" || about)
	if about || of && (r.Kind == audit.Operator || r.Kind == audit.Campaign || r.Kind == audit.Refusal) || r.Kind == audit.Approval {
		g.kept = append(g.kept, Numbered{seq, r})
	}
}

// Found is a rotation and the records that prove it.
type Found struct {
	Head
	Records []Numbered
}

// Holds reports whether a record is one of those.
func (f Found) Holds(seq uint64) bool {
	_, is := slices.BinarySearchFunc(f.Records, seq, func(n Numbered, seq uint64) int {
		return int(int64(n.Seq - seq)) //nolint:gosec // numbers of records are small
	})
	return is
}

// span is a rotation among the records that were kept: the indices of its first phase and
// of the one that ended it.
type span struct{ from, to int }

// Find is the rotation that is meant. Faults: Invalid when the trail has none such, Refused
// when it has not ended.
func (g *Gathering) Find() (Found, error) {
	all := g.spans()
	var chosen *span
	for i, s := range all {
		if g.fits(s) {
			chosen = &all[i]
		}
	}
	switch {
	case chosen == nil:
		return Found{}, fault.New(fault.Invalid, "find the rotation of %s: the trail has none that is meant: see keyorch audit show --link %s", g.wish.Link, g.wish.Link)
	case chosen.to < 0:
		return Found{}, fault.New(fault.Refused, "find the rotation of %s: it has not ended: see keyorch why %s", g.wish.Link, g.wish.Link)
	}
	return g.found(*chosen), nil
}

// spans are the rotations of the link, the last one maybe without an end.
func (g *Gathering) spans() []span {
	var all []span
	for i, n := range g.kept {
		if n.Kind != audit.Phase || n.Link != g.wish.Link || n.Entered == nil || !entitlement.Believed(n.Record) {
			continue
		}
		open := len(all) > 0 && all[len(all)-1].to < 0
		switch {
		case n.Verb == link.Staging.String() && !open:
			all = append(all, span{i, -1})
		case n.Verb == link.Steady.String() && open:
			all[len(all)-1].to = i
		}
	}
	return all
}

// fits reports whether a rotation may be the one that is meant; of several the last is.
func (g *Gathering) fits(s span) bool {
	first := g.kept[s.from]
	last := len(g.kept) - 1
	if s.to >= 0 {
		last = s.to
	}
	switch {
	case g.wish.Turn > 0:
		return first.Turn <= g.wish.Turn && (s.to < 0 || g.wish.Turn <= g.kept[last].Turn)
	case g.wish.Campaign != "":
		return slices.ContainsFunc(g.kept[s.from:last+1], func(n Numbered) bool {
			return n.Kind == audit.Phase && n.Link == g.wish.Link && n.Campaign == g.wish.Campaign
		})
	}
	staged := first.Entered
	return s.to >= 0 && staged.From.Epoch != staged.To.Epoch // not merely for other nodes
}

// found gathers what belongs to the rotation, from what was asked up to the last receipt.
func (g *Gathering) found(s span) Found {
	first, last := g.kept[s.from], g.kept[s.to]
	f := Found{Head: Head{Link: g.wish.Link, Campaign: last.Campaign, First: first.Turn, Last: last.Turn}}
	campaigns := map[string]bool{}
	approvals := map[string]bool{}
	for _, n := range g.kept[s.from : s.to+1] {
		if n.Link == g.wish.Link && n.Campaign != "" && n.Kind == audit.Phase {
			campaigns[n.Campaign] = true
		}
	}
	for _, n := range g.kept {
		if campaigns[n.Campaign] && n.Approval != "" {
			approvals[n.Approval] = true
		}
	}
	gone := retired(first, last)
	for i, n := range g.kept {
		within := i >= s.from && i <= s.to && n.Link == g.wish.Link
		receipt := n.Kind == audit.Receipt && n.Link == g.wish.Link && n.Epoch == gone && i > s.from
		if within || receipt || n.Kind != audit.Phase && campaigns[n.Campaign] || approvals[n.Approval] {
			f.Records = append(f.Records, n)
		}
	}
	return f
}

// retired is the epoch that the link was rid of: the old one, or the new one when it went
// back. Zero for the first key of a link.
func retired(first, last Numbered) keychain.Epoch {
	on := last.Entered.To.Epoch
	if first.Entered.To.Epoch != on {
		return first.Entered.To.Epoch
	}
	if first.Entered.From.Epoch != on {
		return first.Entered.From.Epoch
	}
	return 0
}

// Approvals are the requests for approvals that stand behind it.
func (f Found) Approvals() []string {
	var ids []string
	for _, n := range f.Records {
		if n.Approval != "" && !slices.Contains(ids, n.Approval) {
			ids = append(ids, n.Approval)
		}
	}
	return ids
}
