package tui

import (
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
)

// paragraph cleans every line of s and wraps it at width.
func paragraph(s string, width int) []string {
	var lines []string
	for line := range strings.Lines(s) {
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		line = indent[:min(len(indent), width/2)] + spaced(line)
		lines = append(lines, strings.Split(lipgloss.Wrap(line, max(1, width), " "), "\n")...)
	}
	return lines
}

// spaced is clean, but keeps runs of spaces inside the line: columns.
func spaced(line string) string {
	words := strings.Split(strings.TrimSpace(line), " ")
	for i := range words {
		words[i] = clean(words[i])
	}
	return strings.Join(words, " ")
}

// cut makes s at most width cells wide; an ellipsis says that something is gone.
func cut(s string, width int) string {
	switch {
	case width <= 0:
		return ""
	case lipgloss.Width(s) <= width:
		return s
	case width == 1:
		return "…"
	}
	return lipgloss.NewStyle().Inline(true).MaxWidth(width-1).Render(s) + "…"
}

// clip is cut without a sign, for what is styled already.
func clip(s string, width int) string {
	switch {
	case width <= 0:
		return ""
	case lipgloss.Width(s) <= width:
		return s
	}
	return lipgloss.NewStyle().Inline(true).MaxWidth(width).Render(s)
}

// tail is the end of s, at most width cells wide.
func tail(s string, width int) string {
	for r := []rune(s); len(r) > 0; r = r[1:] {
		if lipgloss.Width(string(r)) <= width {
			return string(r)
		}
	}
	return ""
}

// fill makes s exactly width cells wide.
func fill(s string, width int) string {
	s = cut(s, width)
	return s + strings.Repeat(" ", max(0, width-lipgloss.Width(s)))
}

// ends puts left and right at the two ends of a line; the left one gives way.
func ends(left, right string, width int) string {
	if right == "" {
		return cut(left, width)
	}
	room := width - lipgloss.Width(right) - 1
	if room < 8 {
		return cut(left, width)
	}
	return fill(left, room) + " " + right
}

// first is the first of the candidates that fits, or the last one cut.
func first(width int, candidates ...string) string {
	for _, c := range candidates {
		if lipgloss.Width(c) <= width {
			return c
		}
	}
	return cut(candidates[len(candidates)-1], width)
}

// join puts the parts that are not empty into one line.
func join(separator string, parts ...string) string {
	var some []string
	for _, p := range parts {
		if p != "" {
			some = append(some, p)
		}
	}
	return strings.Join(some, separator)
}

// span is a time that passes, in at most two units.
func span(d time.Duration) string {
	d = max(0, d)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// since is how long t is ago, shortly.
func since(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	switch d := max(0, now.Sub(t)); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// clock is a time of day in the zone of now, with the day when it is another one.
func clock(now, t time.Time) string {
	t = t.In(now.Location())
	switch d := t.Sub(now).Abs(); {
	case now.Format(time.DateOnly) == t.Format(time.DateOnly) && d < time.Hour:
		return t.Format("15:04:05")
	case now.Format(time.DateOnly) == t.Format(time.DateOnly):
		return t.Format("15:04")
	case d < 6*24*time.Hour:
		return t.Format("Mon 15:04")
	}
	return t.Format("2006-01-02 15:04")
}
