package topology

import (
	"fmt"
	"strings"
	"time"
)

// policySpec is the spec of a policy on its way out. What a document could leave
// out and the defaults would not put back is always written.
type policySpec struct {
	Drain    string        `json:"drain"`
	Quiet    string        `json:"quiet,omitempty"`
	Waves    []waveSpec    `json:"waves,omitempty"`
	Budget   budgetSpec    `json:"budget"`
	Wait     string        `json:"wait,omitempty"`
	Tail     string        `json:"tail"`
	KeyAge   *keyAgeSpec   `json:"keyAge,omitempty"`
	TimeZone string        `json:"timeZone,omitempty"`
	Windows  []windowSpec  `json:"windows,omitempty"`
	Freezes  []Freeze      `json:"freezes,omitempty"`
	Quorum   any           `json:"quorum,omitempty"`
	Schedule *scheduleSpec `json:"schedule,omitempty"`
}

type waveSpec struct {
	Name     string  `json:"name,omitempty"`
	Links    int     `json:"links,omitempty"`
	Percent  float64 `json:"percent,omitempty"`
	Selector string  `json:"selector,omitempty"`
	Soak     string  `json:"soak,omitempty"`
}

type budgetSpec struct {
	Campaign any    `json:"campaign"`
	Wave     any    `json:"wave"`
	OnSpent  string `json:"onSpent,omitempty"`
}

type keyAgeSpec struct {
	Max  string `json:"max,omitempty"`
	Warn string `json:"warn,omitempty"`
}

type windowSpec struct {
	Days []string `json:"days,omitempty"`
	From string   `json:"from"`
	To   string   `json:"to"`
}

type scheduleSpec struct {
	Cron   string `json:"cron"`
	Jitter string `json:"jitter,omitempty"`
}

func (p Policy) spec() policySpec {
	s := policySpec{
		Drain: writeTime(p.Drain), Quiet: unlessZero(p.Quiet), Wait: unlessZero(p.Wait), Tail: writeTime(p.Tail),
		Budget:   budgetSpec{Campaign: p.Budget.Campaign.plain(), Wave: p.Budget.Wave.plain(), OnSpent: string(p.Budget.OnSpent)},
		TimeZone: p.TimeZone, Freezes: p.Freezes,
	}
	for _, w := range p.Waves {
		s.Waves = append(s.Waves, waveSpec{Name: w.Name, Links: w.Size.Number, Percent: w.Size.Percent, Selector: w.Selector, Soak: unlessZero(w.Soak)})
	}
	for _, w := range p.Windows {
		out := windowSpec{From: w.From, To: w.To}
		for _, d := range w.Days {
			out.Days = append(out.Days, dayName(d))
		}
		s.Windows = append(s.Windows, out)
	}
	if p.KeyAge != (KeyAge{}) {
		s.KeyAge = &keyAgeSpec{Max: unlessZero(p.KeyAge.Max), Warn: unlessZero(p.KeyAge.Warn)}
	}
	if !p.Quorum.IsZero() {
		s.Quorum = p.Quorum.plain()
	}
	if p.Schedule != (Schedule{}) {
		s.Schedule = &scheduleSpec{Cron: p.Schedule.Cron, Jitter: unlessZero(p.Schedule.Jitter)}
	}
	return s
}

// plain is an amount as a document has it. One that is two things at once comes
// out as neither, so that reading it back is refused.
func (a Amount) plain() any {
	switch {
	case a.Percent != 0 && a.Number != 0:
		return fmt.Sprintf("%d and %s", a.Number, a)
	case a.Percent != 0:
		return a.String()
	}
	return a.Number
}

func unlessZero(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return writeTime(d)
}

// writeTime is d without the zeros that a person would not write: 10m, not 10m0s.
func writeTime(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
