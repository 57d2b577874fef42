package topology

import (
	"fmt"
	"slices"
	"time"
)

// policyChecker looks at what the schema cannot: whether the parts of a policy
// make sense together. None of it depends on the time at which it is asked, for
// a policy that was accepted once must stay readable.
type policyChecker struct {
	policyReader
	policy Policy
}

// checkPolicy gives what is wrong with p. spec is where it came from.
func checkPolicy(p Policy, spec map[string]any) []finding {
	c := policyChecker{policy: p}
	at := path{"spec"}
	c.waves(at.with("waves"))
	if age := p.KeyAge; age.Max > 0 && age.Warn > age.Max {
		c.say(at.with("keyAge").with("warn"), fmt.Sprintf("the warning at %s comes after the maximum of %s", writeTime(age.Warn), writeTime(age.Max)),
			"warn earlier than that")
	}
	c.zoned(at.with("timeZone"))
	for i, w := range p.Windows {
		if w.From == w.To {
			c.say(at.with("windows").with(i).with("to"), fmt.Sprintf("the window is empty: it ends when it begins, at %s", w.From),
				`write another time; a whole day is from "00:00" to "24:00"`)
		}
	}
	c.freezes(at.with("freezes"))
	if _, written := spec["quorum"]; written && p.Quorum.IsZero() {
		c.say(at.with("quorum"), "a quorum of no node at all would switch without anyone", `write at least 1, or leave the field out to wait for all`)
	}
	c.schedule(at.with("schedule").with("cron"))
	return c.found
}

// waves checks that the waves rise to the whole, each by something.
func (c *policyChecker) waves(at path) {
	var share Wave // the last wave before that counts by share, or by number
	var number Wave
	for i, w := range c.policy.Waves {
		at, last := at.with(i), i == len(c.policy.Waves)-1
		if _, err := ParseSelector(w.Selector); err != nil {
			c.say(at.with("selector"), err.Error(), "")
		}
		takesAll := w.Selector == "" && (w.Size.IsZero() || w.Size.Percent == 100)
		switch {
		case takesAll && !last:
			c.say(at, "this wave takes every link, so that nothing is left for the waves after it", "give it a smaller size, or remove the others")
		case !takesAll && last:
			c.say(at, "the last wave does not reach 100 %: "+shortfall(w), "end with a wave {percent: 100}")
		}
		if w.Selector != "" {
			continue
		}
		switch {
		case w.Size.Percent > 0:
			if w.Size.Percent < share.Size.Percent {
				c.say(at.with("percent"), fmt.Sprintf("%s is less than the %s of a wave before it", w.Size, share.Size),
					"the percentage counts the waves before as well: let it rise")
			}
			share = w
		case w.Size.Number > 0:
			if w.Size.Number < number.Size.Number {
				c.say(at.with("links"), fmt.Sprintf("%s links are less than the %s of a wave before it", w.Size, number.Size),
					"the number counts the waves before as well: let it rise")
			}
			number = w
		}
	}
}

// shortfall is why a wave does not take what is left.
func shortfall(w Wave) string {
	if w.Selector != "" {
		return "links that its selector does not match are never rotated"
	}
	if w.Size.Percent > 0 {
		return "it ends at " + w.Size.String()
	}
	return fmt.Sprintf("it ends at %s links, and there may be more", w.Size)
}

func (c *policyChecker) freezes(at path) {
	for i, f := range c.policy.Freezes {
		from, okFrom := parseLocal(f.From)
		to, okTo := parseLocal(f.To)
		for _, d := range []struct {
			field, text string
			ok          bool
		}{{"from", f.From, okFrom}, {"to", f.To, okTo}} {
			if !d.ok {
				c.say(at.with(i).with(d.field), fmt.Sprintf("there is no date %s", d.text), "write a date as in 2026-12-20 or 2026-12-20T18:00")
			}
		}
		if okFrom && okTo && !to.After(from) {
			c.say(at.with(i).with("to"), fmt.Sprintf("the freeze ends at %s, which is not after its start at %s", f.To, f.From),
				"write the first day, or time, that is not frozen any more")
		}
	}
}

// A schedule is tried from this day on, by a calendar without summer time.
const tryFrom, tryYears = 2024, 28 // after 28 years dates and weekdays repeat

func (c *policyChecker) schedule(at path) {
	text := c.policy.Schedule.Cron
	if text == "" {
		return
	}
	schedule, err := parseCron(text)
	if err != nil {
		c.say(at, fmt.Sprintf("%q is not a schedule: %s", text, oneLine(err.Error())),
			`write minute, hour, day of the month, month and day of the week, one of the two days as *, as in "0 2 * * *"`)
		return
	}
	begin := time.Date(tryFrom, time.January, 1, 0, 0, 0, 0, time.UTC)
	if schedule.Next(begin.Add(-time.Second)).IsZero() {
		c.say(at, fmt.Sprintf("the schedule %q never fires: there is no such day", text), "write a day that every such month has")
		return
	}
	if len(c.policy.Windows) == 0 {
		return
	}
	// The weekdays on which it fires, and then the minutes of those days.
	days := *schedule
	days.Hour, days.Minute = 1, 1
	var fires [7]bool
	for t := begin.Add(-time.Second); t.Year() < tryFrom+tryYears && slices.Contains(fires[:], false); {
		if t = days.Next(t); t.IsZero() {
			break
		}
		fires[t.Weekday()] = true
	}
	for weekday, on := range fires {
		for minute := range 24 * 60 {
			if on && schedule.Hour>>(minute/60)&1 == 1 && schedule.Minute>>(minute%60)&1 == 1 &&
				slices.ContainsFunc(c.policy.Windows, func(w Window) bool { return w.covers(time.Weekday(weekday), minute) }) {
				return
			}
		}
	}
	c.say(at, fmt.Sprintf("the schedule %q fires only when the windows are closed", text), "move it into a window, or widen the windows")
}

// covers reports whether the window is open on a weekday at a minute of the day.
func (w Window) covers(weekday time.Weekday, minute int) bool {
	from, _ := minutes(w.From)
	to, _ := minutes(w.To)
	if to <= from {
		to += 24 * 60
	}
	begins := func(d time.Weekday) bool { return len(w.Days) == 0 || slices.Contains(w.Days, d) }
	return begins(weekday) && from <= minute && minute < to ||
		begins((weekday+6)%7) && minute+24*60 < to
}
