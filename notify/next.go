package notify

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/keyorch/keyorch/topology"
)

// Told is an event that was told, and to whom.
type Told struct {
	Event Event `json:"event"`
	// First is when it was told first: its ID comes from that.
	First time.Time `json:"first"`
	// To are the webhooks for which it was put into the outbox, and that have not been
	// told yet that it is over. Sorted.
	To []string `json:"to,omitempty"`
	// Over is when it was seen to have ended; zero while it holds.
	Over time.Time `json:"over,omitzero"`
}

// Memory is what was told before.
type Memory struct {
	Told map[string]Told // by Key
	// Since is when each webhook was first seen: nothing momentary from before is told
	// to it.
	Since map[string]time.Time
}

// Notice is an event on its way to one webhook.
type Notice struct {
	Webhook string
	// Number rises with each notice of a webhook: they are sent in its order.
	Number uint64
	Event  Event
	// Queued is when it was put into the outbox.
	Queued time.Time
}

// Decision is what Next changes.
type Decision struct {
	Put    []Told   // to be kept under their Key
	Forget []string // Keys
	// Queue is what is to be sent, in this order. Their numbers are not given yet.
	Queue []Notice
	// Since is the new Memory.Since; nil when it stays as it is.
	Since map[string]time.Time
}

// Empty reports whether nothing changes.
func (d Decision) Empty() bool {
	return len(d.Put) == 0 && len(d.Forget) == 0 && len(d.Queue) == 0 && d.Since == nil
}

// Next decides what is told: from the conditions that hold now, each with a Key of its
// own, what was told before, the webhooks that are declared, and how many more notices
// each of them has room for. Asked again with what it decided and nothing new, it decides
// nothing.
//
//   - A condition that is due is told to every webhook that selects it and has not heard
//     of it, also to one that is declared later. The momentary ones are told to those that
//     were there when they happened.
//   - A condition that was told and does not hold any more is told as resolved to those
//     who heard of it.
//   - What finds no room waits: it is told when there is, if it still holds.
func Next(now time.Time, conditions []Condition, before Memory, hooks []topology.Webhook, room map[string]int) Decision {
	m := mind{now: now, before: before, room: maps.Clone(room), hooks: map[string]topology.Webhook{}}
	for _, h := range hooks {
		if !h.Disabled {
			m.hooks[h.Name] = h
		}
	}
	m.meet()
	holds := map[string]Condition{}
	for _, c := range crowded(conditions, before.Told, now) {
		holds[c.Key] = c
	}
	for _, key := range slices.Sorted(maps.Keys(before.Told)) {
		if _, still := holds[key]; !still {
			m.over(before.Told[key])
		}
	}
	for _, c := range slices.SortedFunc(maps.Values(holds), func(a, b Condition) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Key, b.Key))
	}) {
		m.holds(c)
	}
	return m.Decision
}

// mind is a decision that is being made.
type mind struct {
	Decision
	now    time.Time
	before Memory
	hooks  map[string]topology.Webhook
	room   map[string]int
}

// meet notes which webhooks there are.
func (m *mind) meet() {
	since := map[string]time.Time{}
	for name := range m.hooks {
		since[name] = m.now
		if at, known := m.before.Since[name]; known {
			since[name] = at
		}
	}
	if !maps.Equal(since, m.before.Since) {
		m.Since = since
	}
	if m.Since == nil {
		since = m.before.Since
	}
	m.before.Since = since
}

// over tells that what was told has ended.
func (m *mind) over(t Told) {
	if t.Event.Momentary {
		m.Forget = append(m.Forget, t.Event.Key)
		return
	}
	was := t
	if t.Over.IsZero() {
		t.Over = m.now
	}
	e := t.Event
	e.Ended = t.Over
	e = e.named(t.First)
	t.To = slices.DeleteFunc(slices.Clone(t.To), func(name string) bool {
		_, there := m.hooks[name]
		return !there || m.queue(name, e)
	})
	switch {
	case len(t.To) == 0:
		m.Forget = append(m.Forget, t.Event.Key)
	case len(t.To) != len(was.To) || was.Over.IsZero():
		m.Put = append(m.Put, t)
	}
}

// holds tells of a condition.
func (m *mind) holds(c Condition) {
	t, told := m.before.Told[c.Key]
	if !told && c.Due.After(m.now) {
		return
	}
	to := slices.DeleteFunc(slices.Clone(t.To), func(name string) bool { _, there := m.hooks[name]; return !there })
	changed := !told || len(to) != len(t.To)
	if !told {
		t = Told{Event: c.Event, First: m.now}
	}
	if !t.Over.IsZero() { // it is back before everybody has heard that it was gone
		t.First, t.Over, changed = m.now, time.Time{}, true
	}
	for _, name := range slices.Sorted(maps.Keys(m.hooks)) {
		late := c.Momentary && c.At.Before(m.before.Since[name])
		if !m.hooks[name].Selects(c.Kind, t.Event.Severity) || late || slices.Contains(to, name) || m.room[name] <= 0 {
			continue
		}
		if t.Event.Words == "" && c.Say != nil {
			t.Event.Words = c.Say()
		}
		m.queue(name, t.Event.named(t.First))
		to, changed = append(to, name), true
	}
	if t.To = to; !changed {
		return
	}
	slices.Sort(t.To)
	switch {
	case len(t.To) > 0:
		m.Put = append(m.Put, t)
	case told:
		m.Forget = append(m.Forget, c.Key)
	}
}

// queue puts an event into the outbox, if there is room.
func (m *mind) queue(name string, e Event) bool {
	if m.room[name] <= 0 {
		return false
	}
	m.room[name]--
	m.Queue = append(m.Queue, Notice{Webhook: name, Event: e, Queued: m.now})
	return true
}
