package tui

import (
	"fmt"

	"charm.land/lipgloss/v2"
)

// heldTable is the held links, with the selected one in sight.
func (m model) heldTable(st styles) block {
	n := len(m.screen.Held)
	if n == 0 {
		return lines(rankHeld, 1, cut("No link is held or late.", m.width))
	}
	return block{
		rank: rankHeld, least: max(2, min(m.height/3, 6, n+2)), want: n + 2,
		draw: func(h int) []string { return m.drawHeld(st, h) },
	}
}

func (m model) drawHeld(st styles, h int) []string {
	held, w := m.screen.Held, m.width
	cols := m.columns()
	out := make([]string, 0, h)
	rows := h - 2
	if rows < 2 { // rather a link than the names of the columns
		rows = h - 1
	}
	from, to := sight(len(held), m.row, rows)
	title := fmt.Sprintf("Held or late: %d", m.screen.held())
	if n := m.screen.held(); n > len(held) {
		title = fmt.Sprintf("Held or late: %d, the first %d listed", n, len(held))
	}
	position := ""
	if to-from < len(held) {
		position = fmt.Sprintf("%d-%d", from+1, to)
	}
	out = append(out, st.title.Render(ends(title, position, w)))
	if rows == h-2 {
		out = append(out, st.faint.Render(cols.row("  ", "LINK", "PHASE", "NODE", "SINCE", "REASON")))
	}
	for i := from; i < to; i++ {
		l := held[i]
		mark, look := "  ", st.plain
		if i == m.row {
			mark, look = "› ", st.chosen
		}
		text := cols.row(mark, l.Link, l.Phase, l.Node, since(m.screen.Now, l.Since), l.Reason)
		out = append(out, look.Render(text))
	}
	return out
}

// sight is which of n rows are shown when there is room for some: the chosen one
// in the middle, without empty rows at the end.
func sight(n, chosen, room int) (from, to int) {
	room = max(0, min(room, n))
	from = max(0, min(chosen-room/2, n-room))
	return from, from + room
}

// columns are the widths of the table; a column of width zero is left out.
type columns struct{ link, phase, node, since, reason int }

// columns gives every column what its longest text needs, up to a share of the
// width, and the reason what is left.
func (m model) columns() columns {
	c := columns{link: 4, phase: 5, node: 4, since: 5}
	for _, h := range m.screen.Held {
		c.link = max(c.link, lipgloss.Width(h.Link))
		c.phase = max(c.phase, lipgloss.Width(h.Phase))
		c.node = max(c.node, lipgloss.Width(h.Node))
	}
	w := m.width
	c.link, c.phase, c.node = min(c.link, max(8, w*3/10)), min(c.phase, 10), min(c.node, max(8, w/5))
	switch {
	case w < 30:
		c.phase, c.node, c.since = 0, 0, 0
	case w < 60:
		c.phase, c.node = 0, 0
	case w < 76:
		c.node = 0
	}
	used := 2 + c.link
	for _, other := range []int{c.phase, c.node, c.since} {
		if other > 0 {
			used += 2 + other
		}
	}
	c.reason = max(0, w-used-2)
	return c
}

func (c columns) row(mark, link, phase, node, since, reason string) string {
	row := mark + fill(link, c.link)
	for _, cell := range []struct {
		text  string
		width int
	}{{phase, c.phase}, {node, c.node}, {since, c.since}, {reason, c.reason}} {
		if cell.width > 0 {
			row += "  " + fill(cell.text, cell.width)
		}
	}
	return row
}
