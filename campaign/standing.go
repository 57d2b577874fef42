package campaign

import (
	"time"

	"github.com/keyorch/keyorch/link"
)

// Stand is where a link stands in the campaign name, from facts: its record, when
// its wave began (zero: not yet), how long a link may take before it counts as
// held (to the instant: begun + wait is held), and the campaign's denial of it if
// there is one.
//
// A rotation of this campaign decides first: how it ended, or that it is in
// flight, or held. Then the last completed rotation, if another campaign has come
// since; then the denial: refused, or skipped (Denial.Skips); then whether
// another campaign has begun the link since the wave began, which is superseded.
// Otherwise the link is not begun.
func Stand(r link.Record, name string, begun, now time.Time, wait time.Duration, denied *Denial) Standing {
	s := Standing{Link: r.Link, Phase: r.State.Phase, Epoch: r.State.Sends().Epoch}
	last := r.Last
	switch {
	case last.Campaign == name && !last.Ended.IsZero():
		s.Outcome, s.Reason = string(last.Outcome), last.Reason
	case last.Campaign == name && name != "":
		s.Outcome, s.Reason = InFlight, last.Reason
		if from := latest(begun, last.Begun); !from.IsZero() && !now.Before(from.Add(wait)) {
			s.Outcome = string(link.Held)
		}
	case r.Completed.Campaign == name && !r.Completed.Ended.IsZero():
		s.Outcome = string(link.Rotated)
	case denied != nil:
		s.Link, s.Outcome, s.Reason = denied.Link, string(link.Denied), denied.Reason
		if denied.Skips() {
			s.Outcome = Skipped
		}
	case !begun.IsZero() && last.Begun.After(begun):
		s.Outcome, s.Reason = Superseded, "campaign "+last.Campaign+" has it"
	default:
		s.Outcome = NotBegun
	}
	return s
}

// latest is the later of two times.
func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Count counts standings by outcome.
func Count(standings []Standing) Tally {
	t := Tally{Links: len(standings)}
	for _, s := range standings {
		switch s.Outcome {
		case InFlight:
			t.InFlight++
		case string(link.Rotated):
			t.Rotated++
		case string(link.Held):
			t.Held++
		case string(link.Aborted):
			t.Aborted++
		case string(link.Denied):
			t.Refused++
		case Skipped:
			t.Skipped++
		case Superseded:
			t.Superseded++
		}
	}
	return t
}
