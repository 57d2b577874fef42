package topology

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// bound is how long a time of a policy may be, and how messages call it.
type bound struct {
	what    string
	least   time.Duration
	most    time.Duration
	longest string // most, in words
	forAny  string // what it is too short for, below least; empty: a confirmation
	zero    string // what to write instead of less than nothing
}

// bounds are those of the fields of a policy, by name.
var bounds = map[string]bound{
	"drain":         {what: "a drain time", most: MaxDrain, longest: "a day", zero: "write 0s to wait for nothing but confirmations"},
	"quiet":         {what: "a quiet time", most: MaxDrain, longest: "a day", zero: "write 0s to ask for no counters"},
	"soak":          {what: "a soak time", most: 30 * day, longest: "30 days", zero: "write 0s to go on at once"},
	"wait":          {what: "a wait", least: time.Second, most: 30 * day, longest: "30 days", zero: "write at least 1s"},
	"tail":          {what: "a tail", most: 365 * day, longest: "a year", zero: "write 0s to keep no staged key"},
	"max":           {what: "a key age", most: 3650 * day, longest: "ten years", zero: "write 0s for no limit"},
	"warn":          {what: "a key age", most: 3650 * day, longest: "ten years", zero: "write 0s for no warning"},
	"giveUp":        {what: "a time to give up", least: time.Minute, forAny: "trouble to pass", most: 7 * day, longest: "a week", zero: "write at least 1m"},
	"jitter":        {what: "a jitter", most: day, longest: "a day", zero: "write 0s to start on time"},
	"deadline":      {what: "a deadline", least: time.Minute, forAny: "person to sign", most: 30 * day, longest: "30 days", zero: "write at least 1m"},
	"remindAfter":   {what: "the time until a reminder", most: 30 * day, longest: "30 days", zero: "write 0s for no reminders"},
	"escalateAfter": {what: "the time until one more is asked", most: 30 * day, longest: "30 days", zero: "write 0s to ask no others"},
}

const day = 24 * time.Hour

// parseTime reads the time of the field named, or says why it is none.
func parseTime(field, text string) (d time.Duration, message, hint string) {
	b, ok := bounds[field]
	if !ok {
		b = bound{what: "a time", most: day, longest: "a day", zero: "write 0s or more"}
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, fmt.Sprintf("%q is not a time", text), "write a time with its unit, as in 5s or 1m30s"
	case d < 0:
		return 0, fmt.Sprintf("%s cannot be negative: %s", b.what, text), b.zero
	case d < b.least:
		return 0, fmt.Sprintf("%s of %s is too short for any %s", b.what, text, cmp.Or(b.forAny, "confirmation")), b.zero
	case d > b.most:
		return 0, fmt.Sprintf("%s of %s is longer than %s", b.what, text, b.longest), "write at most " + writeTime(b.most)
	}
	return d, "", ""
}

// policyReader makes a Policy out of a spec that the schema accepts.
type policyReader struct {
	found []finding
}

func buildPolicy(name string, labels Labels, spec map[string]any) (Policy, []finding) {
	p := DefaultPolicy()
	p.Name, p.Labels = name, labels
	var r policyReader
	at := path{"spec"}
	r.time(spec, at, "drain", &p.Drain)
	r.time(spec, at, "quiet", &p.Quiet)
	r.time(spec, at, "wait", &p.Wait)
	r.time(spec, at, "tail", &p.Tail)
	p.Waves = r.waves(spec, at.with("waves"))
	r.budget(fieldsOf(spec, "budget"), at.with("budget"), &p.Budget)
	keyAge := fieldsOf(spec, "keyAge")
	r.time(keyAge, at.with("keyAge"), "max", &p.KeyAge.Max)
	r.time(keyAge, at.with("keyAge"), "warn", &p.KeyAge.Warn)
	p.TimeZone = text(spec, "timeZone")
	for _, w := range mappings(spec, "windows") {
		p.Windows = append(p.Windows, Window{Days: weekdays(w), From: text(w, "from"), To: text(w, "to")})
	}
	for _, f := range mappings(spec, "freezes") {
		p.Freezes = append(p.Freezes, Freeze{From: text(f, "from"), To: text(f, "to"), Reason: text(f, "reason")})
	}
	r.amount(spec, at, "quorum", &p.Quorum)
	schedule := fieldsOf(spec, "schedule")
	p.Schedule.Cron = text(schedule, "cron")
	r.time(schedule, at.with("schedule"), "jitter", &p.Schedule.Jitter)
	return p, append(r.found, checkPolicy(p, spec)...)
}

func (r *policyReader) say(at path, message, hint string) {
	r.found = append(r.found, finding{at: at, message: message, hint: hint})
}

// time reads the field named of m, if it is there, into d.
func (r *policyReader) time(m map[string]any, at path, field string, d *time.Duration) {
	written, ok := m[field].(string)
	if !ok {
		return
	}
	read, message, hint := parseTime(field, written)
	if message != "" {
		r.say(at.with(field), message, hint)
		return
	}
	*d = read
}

// amount reads the field named of m, if it is there, into a.
func (r *policyReader) amount(m map[string]any, at path, field string, a *Amount) {
	switch v := m[field].(type) {
	case int64:
		*a = Amount{Number: int(v)}
	case string:
		read, message, hint := parseAmount(v)
		if message != "" {
			r.say(at.with(field), message, hint)
			return
		}
		*a = read
	}
}

func (r *policyReader) waves(spec map[string]any, at path) []Wave {
	var waves []Wave
	for i, m := range mappings(spec, "waves") {
		w := Wave{Name: text(m, "name"), Selector: text(m, "selector")}
		if n, ok := m["links"].(int64); ok {
			w.Size.Number = int(n)
		}
		switch percent := m["percent"].(type) {
		case int64:
			w.Size.Percent = float64(percent)
		case float64:
			w.Size.Percent = percent
		}
		r.time(m, at.with(i), "soak", &w.Soak)
		waves = append(waves, w)
	}
	return waves
}

func (r *policyReader) budget(m map[string]any, at path, b *Budget) {
	r.amount(m, at, "campaign", &b.Campaign)
	r.amount(m, at, "wave", &b.Wave)
	if v, ok := m["onSpent"].(string); ok {
		b.OnSpent = OnSpent(v)
	}
}

// mappings is a list of mappings.
func mappings(m map[string]any, key string) []map[string]any {
	list, _ := m[key].([]any)
	out := make([]map[string]any, len(list))
	for i, v := range list {
		out[i], _ = v.(map[string]any)
	}
	return out
}

func weekdays(window map[string]any) []time.Weekday {
	list, _ := window["days"].([]any)
	var days []time.Weekday
	for _, v := range list {
		name, _ := v.(string)
		days = append(days, time.Weekday(slices.Index(dayNames, name)))
	}
	return days
}
