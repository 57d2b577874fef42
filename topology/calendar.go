package topology

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// horizon is how far Closed looks for the next opening: windows repeat weekly,
// so that only freezes can close more of them than this.
const horizon = 5 * 7 * 24 * time.Hour

// Closure is why links may not be rotated at some moment. The zero Closure is
// none: they may.
type Closure struct {
	// Reason names the freeze, or the windows that now is outside of.
	Reason string
	// Until is when it opens again; zero if not within five weeks.
	Until time.Time
}

// Open reports whether links may be rotated.
func (c Closure) Open() bool { return c.Reason == "" }

// Location is the zone of the policy's windows, freezes and schedule. A zone that
// this machine does not know is UTC; Parse refuses policies with one.
//
// It looks the zone up each time: ask once for a policy, not once for a link.
func (p Policy) Location() *time.Location {
	loc, err := time.LoadLocation(p.TimeZone)
	if err != nil {
		return time.UTC
	}
	return loc
}

// Closed is what forbids to rotate links by p at now: a freeze, or that now is in
// none of the windows.
//
// Windows are times on the clock of the zone. One that the clock skips in spring
// is the moment of the skip; one that it shows twice in autumn is the first, and
// for the end of a freeze the second.
func (p Policy) Closed(now time.Time) Closure {
	if len(p.Windows) == 0 && len(p.Freezes) == 0 {
		return Closure{}
	}
	loc := p.Location()
	freezes := p.spans(loc)
	reason := p.frozen(freezes, now)
	if reason == "" && !p.inWindow(loc, now) {
		reason = p.outside()
	}
	if reason == "" {
		return Closure{}
	}
	// From one edge to the next until neither a freeze nor a window forbids it.
	t := now
	for limit := now.Add(horizon); !t.After(limit); {
		if until := thawed(freezes, t); until.After(t) {
			t = until
			continue
		}
		if p.inWindow(loc, t) {
			return Closure{Reason: reason, Until: t.In(loc)}
		}
		next := p.nextWindow(loc, t)
		if next.IsZero() {
			break
		}
		t = next
	}
	return Closure{Reason: reason}
}

// span is a stretch of time without its end.
type span struct{ from, to time.Time }

func (s span) holds(t time.Time) bool { return !t.Before(s.from) && t.Before(s.to) }

// spans are the freezes as moments, in their order.
func (p Policy) spans(loc *time.Location) []span {
	out := make([]span, len(p.Freezes))
	for i, f := range p.Freezes {
		from, okFrom := parseLocal(f.From)
		to, okTo := parseLocal(f.To)
		if okFrom && okTo {
			first, _ := moments(from, loc)
			_, last := moments(to, loc)
			out[i] = span{first, last}
		}
	}
	return out
}

// frozen is the reason of the freeze in which t is, or empty.
func (p Policy) frozen(freezes []span, t time.Time) string {
	for i, s := range freezes {
		if !s.holds(t) {
			continue
		}
		f := p.Freezes[i]
		reason := fmt.Sprintf("frozen from %s to %s (%s)", f.From, f.To, p.zone())
		if f.Reason != "" {
			reason += ": " + f.Reason
		}
		return reason
	}
	return ""
}

// thawed is the end of the freeze in which t is, the last if there are several.
func thawed(freezes []span, t time.Time) time.Time {
	var until time.Time
	for _, s := range freezes {
		if s.holds(t) && s.to.After(until) {
			until = s.to
		}
	}
	return until
}

// inWindow reports whether t is in a window. Without windows it always is. A
// window is at most a day long, so it began today or on the day before.
func (p Policy) inWindow(loc *time.Location, t time.Time) bool {
	if len(p.Windows) == 0 {
		return true
	}
	today := dayOf(t, loc)
	for back := range 3 { // two days back: a zone that skips a whole day
		for _, w := range p.Windows {
			if s, ok := w.on(today.AddDate(0, 0, -back), loc); ok && s.holds(t) {
				return true
			}
		}
	}
	return false
}

// nextWindow is when the first window after t begins, or zero.
func (p Policy) nextWindow(loc *time.Location, t time.Time) time.Time {
	var next time.Time
	for day, last := dayOf(t, loc), t.Add(horizon); next.IsZero() && !day.After(last); day = day.AddDate(0, 0, 1) {
		for _, w := range p.Windows {
			s, ok := w.on(day, loc)
			if ok && s.from.After(t) && s.from.Before(s.to) && (next.IsZero() || s.from.Before(next)) {
				next = s.from
			}
		}
	}
	return next
}

// outside says that no window is open.
func (p Policy) outside() string {
	said := make([]string, len(p.Windows))
	for i, w := range p.Windows {
		said[i] = w.String()
	}
	return fmt.Sprintf("outside of the windows %s (%s)", strings.Join(said, ", "), p.zone())
}

func (p Policy) zone() string { return cmp.Or(p.TimeZone, "UTC") }

// String is the window as a person says it: "mon tue 22:00-04:00".
func (w Window) String() string {
	var b strings.Builder
	for _, d := range w.Days {
		b.WriteString(dayName(d) + " ")
	}
	return b.String() + w.From + "-" + w.To
}

// dayNames are the days as documents write them, by time.Weekday.
var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func dayName(d time.Weekday) string {
	if d < 0 || int(d) >= len(dayNames) {
		return d.String()
	}
	return dayNames[d]
}

// on is the window that begins on day, if one does. day is as dayOf gives it.
func (w Window) on(day time.Time, loc *time.Location) (span, bool) {
	if len(w.Days) > 0 && !slices.Contains(w.Days, day.Weekday()) {
		return span{}, false
	}
	from, okFrom := minutes(w.From)
	to, okTo := minutes(w.To)
	if !okFrom || !okTo {
		return span{}, false
	}
	if to <= from {
		to += 24 * 60
	}
	begin, _ := moments(day.Add(time.Duration(from)*time.Minute), loc)
	end, _ := moments(day.Add(time.Duration(to)*time.Minute), loc)
	return span{begin, end}, true
}

// dayOf is the date that the clock of loc shows at t, as midnight in UTC, where
// every day has 24 hours.
func dayOf(t time.Time, loc *time.Location) time.Time {
	y, m, d := t.In(loc).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// minutes is a time of day, "22:00", in minutes since midnight; "24:00" is its end.
func minutes(s string) (int, bool) {
	if s == "24:00" {
		return 24 * 60, true
	}
	t, err := time.Parse("15:04", s)
	return t.Hour()*60 + t.Minute(), err == nil && len(s) == len("15:04")
}

// parseLocal reads "2026-12-20" or "2026-12-20T18:00" as if it were UTC.
func parseLocal(s string) (time.Time, bool) {
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04"} {
		if t, err := time.Parse(layout, s); err == nil && len(s) == len(layout) {
			return t, true
		}
	}
	return time.Time{}, false
}

// moments are when the clock of loc shows what wall, read as UTC, shows: the
// first and the last time. When the clock never does, because it was put
// forward, both are the moment at which it was.
func moments(wall time.Time, loc *time.Location) (first, last time.Time) {
	y, m, d := wall.Date()
	t := time.Date(y, m, d, wall.Hour(), wall.Minute(), 0, 0, loc) // in a gap it does not say on which side
	start, end := t.ZoneBounds()
	found := []time.Time{t}
	if !start.IsZero() {
		_, offset := start.Add(-time.Second).Zone()
		found = append(found, wall.Add(-time.Duration(offset)*time.Second).In(loc))
	}
	if !end.IsZero() {
		_, offset := end.Zone()
		found = append(found, wall.Add(-time.Duration(offset)*time.Second).In(loc))
	}
	found = slices.DeleteFunc(found, func(t time.Time) bool { return !shown(t).Equal(wall) })
	if len(found) == 0 {
		if shown(t).After(wall) {
			return start, start
		}
		return end, end
	}
	return slices.MinFunc(found, time.Time.Compare), slices.MaxFunc(found, time.Time.Compare)
}

// shown is what the clock shows at t, as if it were UTC.
func shown(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

// Next is the next n times after now at which the schedule of p fires, in its
// zone and without the jitter. There are fewer, or none, when it has no schedule
// or does not fire within five years. Whether a window is open then is not asked.
func (p Policy) Next(now time.Time, n int) []time.Time {
	schedule, err := parseCron(p.Schedule.Cron)
	if err != nil {
		return nil
	}
	var out []time.Time
	for t := now.In(p.Location()); len(out) < n; {
		if t = schedule.Next(t); t.IsZero() {
			break
		}
		out = append(out, t)
	}
	return out
}

// parseCron reads the five fields of a cron expression: minute, hour, day of the
// month, month, day of the week.
func parseCron(text string) (*cron.SpecSchedule, error) {
	fields := strings.Fields(text)
	if len(fields) != 5 {
		return nil, fmt.Errorf("it has %d fields, not five", len(fields))
	}
	for i, f := range fields {
		// The library takes an empty item for no time at all, and reads a zone.
		if strings.ContainsAny(f, "=?") || slices.Contains(strings.Split(f, ","), "") {
			return nil, fmt.Errorf("the field %q is not one of a cron", fields[i])
		}
	}
	// Readers differ in whether one of the two is enough or both must hold.
	if fields[2] != "*" && fields[4] != "*" {
		return nil, errors.New("it names days of the month and days of the week")
	}
	parsed, err := cron.ParseStandard(strings.Join(fields, " "))
	if err != nil {
		return nil, err
	}
	schedule, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, errors.New("it has no five fields")
	}
	return schedule, nil
}
