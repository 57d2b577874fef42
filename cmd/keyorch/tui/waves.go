package tui

import (
	"fmt"
	"time"

	"charm.land/lipgloss/v2"
)

// waves is a bar for the campaign and one for each wave, those around the
// running one when there is no room for all.
func (m model) waves(st styles) block {
	ws := m.screen.Waves
	if len(ws) == 0 {
		return lines(rankBars, 1, "no wave has begun")
	}
	want := len(ws)
	if want > 1 {
		want++
	}
	return block{
		rank: rankBars, least: 1, want: min(want, max(3, m.height/3)),
		draw: func(h int) []string { return m.drawWaves(st, h) },
	}
}

func (m model) drawWaves(st styles, h int) []string {
	ws := m.screen.Waves
	if len(ws) == 1 {
		return m.drawBars(st, []Wave{m.named(ws[0], 0)})
	}
	current := 0
	if c := m.screen.Campaign; c != nil {
		current = max(0, min(c.Wave, len(ws)-1))
	}
	room := min(h-1, len(ws))
	from := max(0, min(current-room/2, len(ws)-room))
	all := Wave{Name: "all", Tally: m.screen.total()}
	if room < len(ws) && m.width >= 60 {
		all.Name = fmt.Sprintf("all %d waves", len(ws))
	}
	rows := []Wave{all}
	for i := range room {
		rows = append(rows, m.named(ws[from+i], from+i))
	}
	return m.drawBars(st, rows)
}

// named gives a wave without a name its number.
func (m model) named(w Wave, i int) Wave {
	if w.Name == "" {
		w.Name = fmt.Sprintf("wave %d", i+1)
	}
	return w
}

// drawBars draws name, bar and numbers of each wave, in columns. The numbers are
// as long as the terminal is wide.
func (m model) drawBars(st styles, ws []Wave) []string {
	name, done := 0, 0
	for _, w := range ws {
		name, done = max(name, lipgloss.Width(w.Name)), max(done, len(progress(w.Tally)))
	}
	name = min(name, max(4, m.width/5))
	least := max(4, min(20, m.width/4))
	var numbers []string
	room := 0
	for level := range 4 {
		numbers = numbers[:0]
		longest := 0
		for _, w := range ws {
			numbers = append(numbers, fmt.Sprintf("%*s%s", done, progress(w.Tally), m.rest(w, level)))
			longest = max(longest, lipgloss.Width(numbers[len(numbers)-1]))
		}
		if room = m.width - name - longest - 2; room >= least {
			break
		}
	}
	room = max(0, min(room, 60))
	var rows []string
	for i, w := range ws {
		row := fill(w.Name, name) + " " + st.bar(w.Tally, room) + " " + numbers[i]
		rows = append(rows, row)
	}
	return rows
}

// progress is how many of how many are rotated.
func progress(t Tally) string { return fmt.Sprintf("%d/%d", t.Rotated, t.Total) }

// rest is what there is to say beside the progress: all of it at level 0, nothing
// at level 3.
func (m model) rest(w Wave, level int) string {
	state := ""
	switch w.State {
	case Soaking:
		state = "soaks"
		if !w.SoakUntil.IsZero() && level < 2 {
			left := w.SoakUntil.Sub(m.screen.Now)
			state = fmt.Sprintf("soaks %s until %s", span(left), clock(m.screen.Now, w.SoakUntil.Round(time.Second)))
			if level == 1 {
				state = "soaks " + span(left)
			}
		}
	case Waiting, Running, Ended:
		state = string(w.State)
	}
	var parts []string
	for _, p := range []struct {
		count       int
		words, sign string
	}{
		{w.InFlight, "in flight", signInFlight}, {w.Held, "held", signHeld}, {w.Failed, "failed", signFailed}, {w.Skipped, "skipped", signSkipped},
	} {
		switch {
		case p.count == 0 || level == 3:
		case level == 0:
			parts = append(parts, fmt.Sprintf("%d %s", p.count, p.words))
		case level == 1 || p.sign == signHeld || p.sign == signFailed:
			parts = append(parts, fmt.Sprintf("%s%d", p.sign, p.count))
		}
	}
	if level < 3 {
		parts = append(parts, state)
	}
	if text := join("  ", parts...); text != "" {
		return "  " + text
	}
	return ""
}
