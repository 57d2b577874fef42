package tui

import "charm.land/lipgloss/v2"

type style = lipgloss.Style

// styles are the sixteen colours of every terminal, so that its owner's palette
// holds. The terminal's profile takes away what it cannot do, or NO_COLOR forbids.
type styles struct {
	title, good, busy, held, bad, faint, chosen, plain style
}

// stylesFor gives the styles of a fresh screen, or of an old one: all grey.
func stylesFor(old bool) styles {
	s := lipgloss.NewStyle()
	if old {
		grey := s.Faint(true)
		return styles{title: grey, good: grey, busy: grey, held: grey, bad: grey, faint: grey, chosen: grey.Reverse(true), plain: grey}
	}
	return styles{
		title: s.Bold(true), good: s.Foreground(lipgloss.Green), busy: s.Foreground(lipgloss.Cyan),
		held: s.Foreground(lipgloss.Yellow), bad: s.Foreground(lipgloss.Red).Bold(true), faint: s.Faint(true),
		chosen: s.Reverse(true), plain: s,
	}
}
