package topology

import (
	"fmt"
	"time"
)

// CheckSchedule says what is wrong with the schedule of p, its zone and its jitter,
// by the rules for documents: a policy that Parse accepted passes if it has a
// schedule. The error is of kind Invalid, with a line for every field that is wrong
// and what to do.
func CheckSchedule(p Policy) error {
	c := policyChecker{policy: p}
	at := path{"schedule"}
	c.zoned(path{"timeZone"})
	if p.Schedule.Cron == "" {
		c.say(at.with("cron"), "there is none, so it never fires", `write one, as in "0 2 * * *"`)
	}
	c.schedule(at.with("cron"))
	if text := p.Schedule.Jitter.String(); p.Schedule.Jitter != 0 {
		if _, message, hint := parseTime("jitter", text); message != "" {
			c.say(at.with("jitter"), message, hint)
		}
	}
	var problems Problems
	for _, f := range c.found {
		problems = append(problems, Problem{Field: f.at.String(), Message: f.message, Hint: f.hint})
	}
	return problems.fault()
}

// zoned refuses a time zone that does not exist.
func (c *policyChecker) zoned(at path) {
	if _, err := time.LoadLocation(c.policy.TimeZone); err != nil || c.policy.TimeZone == "Local" {
		c.say(at, fmt.Sprintf("there is no time zone %q", c.policy.TimeZone), "write an IANA name, as in Europe/Berlin or UTC")
	}
}

// Calendar is a schedule as the numbers that each of its five fields stands for,
// sorted. Whoever fires it takes these, and cannot read the text in another way:
// one reader of "1/2" counts Sunday as the seventh day, another does not.
type Calendar struct {
	Minutes, Hours, Days, Months []int
	Weekdays                     []int // Sunday is 0
}

// Calendar reads the schedule. The error is of kind Invalid; CheckSchedule words it
// better.
func (s Schedule) Calendar() (Calendar, error) {
	parsed, err := parseCron(s.Cron)
	if err != nil {
		return Calendar{}, Problems{{Field: "schedule.cron", Message: fmt.Sprintf("%q is not a schedule: %s", s.Cron, oneLine(err.Error()))}}.fault()
	}
	return Calendar{
		Minutes: numbers(parsed.Minute, 0, 59), Hours: numbers(parsed.Hour, 0, 23), Days: numbers(parsed.Dom, 1, 31),
		Months: numbers(parsed.Month, 1, 12), Weekdays: numbers(parsed.Dow, 0, 6),
	}, nil
}

// numbers is which of first to last are set in bits.
func numbers(bits uint64, first, last int) []int {
	var out []int
	for n := first; n <= last; n++ {
		if bits>>n&1 == 1 {
			out = append(out, n)
		}
	}
	return out
}
