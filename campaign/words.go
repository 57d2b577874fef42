package campaign

import (
	"fmt"
	"strings"
	"time"
)

// String is what became of the links, for people: "17 of 20 links rotated, 2
// held, 1 refused".
func (t Tally) String() string {
	switch {
	case t.Links == 0:
		return "no links"
	case t.Rotated == t.Links && t.Links == 1:
		return "the link is rotated"
	case t.Rotated == t.Links:
		return fmt.Sprintf("all %d links rotated", t.Links)
	}
	// In workflows fmt.Sprintf is known to be deterministic, and fmt.Fprintf is not.
	parts := []string{fmt.Sprintf("%d of %s rotated", t.Rotated, links(t.Links))}
	for _, p := range []struct {
		n    int
		what string
	}{
		{t.InFlight, "in flight"}, {t.Held, "held"}, {t.Aborted, "aborted"}, {t.Refused, "refused"},
		{t.Skipped, "skipped"}, {t.Superseded, "superseded"}, {t.NotBegun(), "not begun"},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	return strings.Join(parts, ", ")
}

// ahead is what happens next with nobody doing anything.
func (c *course) ahead() string {
	r := c.Record
	switch r.State {
	case Paused:
		return "nothing more begins until an operator resumes it; what has begun goes on"
	case Aborting:
		return fmt.Sprintf("it ends when %s have gone back or are done, at the latest at %s", links(c.unsettled()), stamp(c.Wake))
	case Ended:
		if n := r.Tally.Held + r.Tally.InFlight; n > 0 {
			return fmt.Sprintf("%s that it began go on by themselves when their nodes answer", links(n))
		}
		return ""
	case Running:
	}
	w := r.Waves[r.Wave]
	after := "the campaign ends"
	if r.Wave+1 < len(r.Waves) {
		after = fmt.Sprintf("wave %s begins", r.Waves[r.Wave+1].Name)
		if w.Soak > 0 && !w.Promoted && w.Ended.IsZero() {
			after = fmt.Sprintf("it soaks for %v, and then wave %s begins", w.Soak, r.Waves[r.Wave+1].Name)
		}
	}
	switch {
	case !w.Ended.IsZero():
		return fmt.Sprintf("%s at %s", after, stamp(c.Wake))
	case w.Launched < w.Count:
		return fmt.Sprintf("more links of wave %s begin as others of it are done", w.Name)
	}
	return fmt.Sprintf("when %s of wave %s are done, at the latest at %s, %s", links(w.open()), w.Name, stamp(c.Wake), after)
}

func stamp(t time.Time) string { return t.Format(time.RFC3339) }

// because appends a reason, if there is one.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// listed names what a sentence is about, at most three and how many more.
func listed[N ~string](names []N) string {
	const most = 3
	var b strings.Builder
	for i, n := range names {
		switch {
		case i == most:
			fmt.Fprintf(&b, " and %d more", len(names)-most)
			return b.String()
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(string(n))
	}
	return b.String()
}

// days writes an age: in days from two days on.
func days(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.Round(time.Second).String()
}
