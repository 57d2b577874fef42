package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"charm.land/lipgloss/v2"
)

// View draws the whole screen. No line is wider than the terminal, and there are
// not more of them than it has.
func (m model) View() tea.View {
	v := tea.NewView("")
	v.AltScreen = true
	if m.width < 1 || m.height < 1 {
		return v
	}
	out := m.draw()
	for i := range out {
		out[i] = clip(out[i], m.width)
	}
	v.SetContent(strings.Join(out, "\n"))
	if m.prompt != nil && len(out) > 0 {
		v.Cursor = tea.NewCursor(min(lipgloss.Width(out[len(out)-1]), m.width-1), len(out)-1)
	}
	return v
}

// The ranks say what stays when there is little room.
const (
	rankNow = iota // what the operator must read or is typing
	rankTitle
	rankPane
	rankBars
	rankHeld
	rankReason
	rankFooter
	rankPace
	rankPhases
	rankFacts
	rankMessages
	rankStatus
	rankBlank
	rankFiller
)

func (m model) draw() []string {
	st, w := stylesFor(m.aged() > 0), m.width
	footer, status := m.footer(st), m.status(st)
	filler := block{rank: rankFiller, want: m.height, draw: func(h int) []string { return make([]string, h) }}
	if !m.have {
		return stack(m.height, lines(rankTitle, 1, st.title.Render(cut("keyorch", w))), blank(), lines(rankHeld, 1, cut("reading …", w)),
			filler, status, footer)
	}
	head := m.fleetHead(st)
	if m.screen.Campaign != nil {
		head = m.campaignHead(st)
	}
	blocks := append([]block{lines(rankTitle, 1, m.title(st))}, head...)
	blocks = append(blocks, blank())
	if m.pane.open() {
		blocks = append(blocks, block{
			rank: rankPane, least: max(2, min(m.height/2, m.pane.lines(w)+1)), want: m.pane.lines(w) + 1,
			draw: func(h int) []string { return m.pane.draw(st, w, h) },
		})
	} else {
		blocks = append(blocks, m.heldTable(st))
	}
	blocks = append(blocks, filler, m.messages(st), status, footer)
	return stack(m.height, blocks...)
}

func blank() block { return lines(rankBlank, 1, "") }

// title is the first line: what is watched, and when this was true.
func (m model) title(st styles) string {
	right := m.screen.Now.Format("15:04:05")
	if old := m.aged(); old > 0 {
		right = "OLD: " + span(old)
	}
	c := m.screen.Campaign
	if c == nil {
		return ends(st.title.Render("keyorch")+"  fleet", right, m.width)
	}
	state := map[string]style{"running": st.busy, "paused": st.held, "aborting": st.bad, "ended": st.good}
	word, ok := state[c.State]
	if !ok {
		word = st.plain
	}
	// The state is what must stay when the line is short.
	room := m.width - len(right) - 1 - lipgloss.Width(c.State) - 2
	name := cut(c.Name, room)
	if long := "keyorch  " + c.Name; lipgloss.Width(long) <= room {
		name = long
	}
	return ends(join("  ", st.title.Render(name), word.Render(c.State)), right, m.width)
}

// campaignHead is what is known of a campaign: dates, reason, bars, pace, phases.
func (m model) campaignHead(st styles) []block {
	c, now, w := m.screen.Campaign, m.screen.Now, m.width
	policy, begun, end := "default policy", "", ""
	if c.Policy != "" {
		policy = "policy " + c.Policy
	}
	if !c.Begun.IsZero() {
		begun = fmt.Sprintf("begun %s", clock(now, c.Begun))
	}
	switch {
	case !c.Ended.IsZero():
		end = fmt.Sprintf("ended %s, after %s", clock(now, c.Ended), span(c.Ended.Sub(c.Begun)))
	case !c.Expected.IsZero():
		end = "expected to end " + clock(now, c.Expected)
	}
	facts := first(w, join(" · ", c.Kind, policy, begun, end), join(" · ", policy, begun, end), join(" · ", begun, end), end)
	reason := block{}
	if c.Reason != "" {
		reason = block{rank: rankReason, least: 1, want: min(3, len(paragraph(c.Reason, w))), draw: func(h int) []string {
			return st.short(paragraph(c.Reason, w), w, h)
		}}
	}
	speed := lines(rankPace, 1, cut(m.pace(), w))
	if !c.Ended.IsZero() {
		speed = block{}
	}
	return []block{
		lines(rankFacts, 1, st.faint.Render(facts)), reason, blank(), m.waves(st),
		speed, lines(rankPhases, 1, cut(m.phases(), w)),
	}
}

// pace is the line that says how fast it goes; "-" is what nobody can know.
func (m model) pace() string {
	all := m.screen.total()
	rate, left, known := pace(m.samples, all.Open())
	speed, rest := "-", "-"
	if known {
		speed, rest = fmt.Sprintf("%.1f links/s", rate), span(left)
		if rate < 0.1 {
			speed = fmt.Sprintf("%.1f links/min", rate*60)
		}
		if c := m.screen.Campaign; c != nil && c.Wave < len(m.screen.Waves)-1 {
			rest = "at least " + rest // soaks come on top
		}
	}
	if all.Open() == 0 {
		rest = "nothing"
	}
	return fmt.Sprintf("rate %s   left %s", speed, rest)
}

// short is the first h lines of a text; an ellipsis says that there are more.
func (st styles) short(text []string, width, h int) []string {
	if h < len(text) {
		text[h-1] = cut(text[h-1]+" "+text[h], width)
	}
	text = text[:min(h, len(text))]
	for i := range text {
		text[i] = st.held.Render(cut(text[i], width))
	}
	return text
}

func (m model) phases() string {
	var parts []string
	for _, p := range m.screen.Phases {
		parts = append(parts, fmt.Sprintf("%s %d", p.Name, p.Count))
	}
	return join("   ", parts...)
}

// fleetHead is what there is to say when no campaign runs.
func (m model) fleetHead(st styles) []block {
	f, now, w := m.screen.Fleet, m.screen.Now, m.width
	facts := fmt.Sprintf("%d links · %d nodes · %d held · %d drifted", f.Links, f.Nodes, f.Held, f.Drift)
	last, next := "no campaign yet", f.NextCampaign
	if f.LastCampaign != "" {
		last = join(" ", f.LastCampaign, f.LastEnd)
		if !f.LastAt.IsZero() {
			last = fmt.Sprintf("%s (%s)", last, clock(now, f.LastAt))
		}
	}
	if !f.NextAt.IsZero() {
		next = fmt.Sprintf("%s %s, in %s", f.NextCampaign, clock(now, f.NextAt), span(f.NextAt.Sub(now)))
	}
	both := []string{cut("last  "+last, w)}
	if next != "" {
		both = append(both, cut("next  "+next, w))
	}
	return []block{
		lines(rankFacts, 1, cut(facts, w)), blank(),
		lines(rankBars, 1, both...), blank(), m.phaseBars(st),
	}
}

// phaseBars is the fleet by phase, a bar each.
func (m model) phaseBars(st styles) block {
	name, count, total := 0, 0, 0
	for _, p := range m.screen.Phases {
		name, count = max(name, lipgloss.Width(p.Name)), max(count, len(fmt.Sprint(p.Count)))
		total += p.Count
	}
	room := m.width - name - count - 2
	var rows []string
	for _, p := range m.screen.Phases {
		row := fmt.Sprintf("%s %*d", fill(p.Name, name), count, p.Count)
		if full := cells(min(room, 50), p.Count, total-p.Count)[0]; room >= 8 {
			row += " " + st.busy.Render(strings.Repeat(signRotated, full))
		}
		rows = append(rows, row)
	}
	return lines(rankPhases, 1, rows...)
}

// messages are the absent nodes, drift, and what the source has to say.
func (m model) messages(st styles) block {
	var text []string
	if n := len(m.screen.Absent); n > 0 {
		text = append(text, cut(fmt.Sprintf("without agent (%d): %s", n, strings.Join(m.screen.Absent[:min(n, 20)], ", ")), m.width))
	}
	if n := m.screen.Fleet.Drift; n > 0 && m.screen.Campaign != nil {
		text = append(text, cut(fmt.Sprintf("drifted links: %d", n), m.width))
	}
	for _, msg := range m.screen.Messages {
		text = append(text, cut(msg, m.width))
	}
	if len(text) > 5 {
		text = append(text[:4], fmt.Sprintf("and %d more messages", len(text)-4))
	}
	for i := range text {
		text[i] = st.held.Render(text[i])
	}
	return lines(rankMessages, 1, text...)
}

// status is the line for what was done, and for what is wrong.
func (m model) status(st styles) block {
	text, rank := "", rankNow
	switch {
	case m.acting != "":
		text = cut(m.acting+" …", m.width)
	case m.notice.text != "" && m.notice.bad:
		text = st.bad.Render(cut(m.notice.text, m.width))
	case m.notice.text != "":
		text = cut(m.notice.text, m.width)
	case m.failure != nil:
		text = stylesFor(false).bad.Render(cut(clean(m.failure.Error()), m.width))
	default:
		rank = rankStatus
	}
	return lines(rank, 1, text)
}

// footer is the keys, or the prompt.
func (m model) footer(st styles) block {
	if p := m.prompt; p != nil {
		ask := first(m.width*2/3, "Reason for the pause of "+p.campaign+": ", "Reason for the pause: ", "Reason: ", "? ")
		if p.missing {
			ask = first(m.width*2/3, "A pause needs a reason (esc: no pause): ", "A pause needs a reason: ", "Reason! ", "! ")
		}
		return lines(rankNow, 1, st.title.Render(ask)+tail(p.text, m.width-lipgloss.Width(ask)-1))
	}
	keys := first(m.width, "p pause   r resume   P promote   enter why   ? keys   q quit", "p pause  r resume  P promote  ? keys  q quit",
		"p pause  r resume  ? keys  q quit", "? keys  q quit", "?")
	if c := m.screen.Campaign; c == nil || !c.Ended.IsZero() {
		keys = first(m.width, "enter why   ? keys   q quit", "? keys  q quit", "?")
	}
	return lines(rankFooter, 1, st.faint.Render(keys))
}
