package tui

import "strings"

// pane is the lower part of the screen when it shows text: why a link waits, or
// the keys.
type pane struct {
	link string // whose why it is
	keys bool   // the keys
	text string
	err  string
	top  int // the first line that is shown
}

func (p pane) open() bool { return p.keys || p.link != "" }

func (p pane) help() pane {
	if p.keys {
		return pane{}
	}
	return pane{keys: true, text: strings.Join([]string{
		"↑ ↓ j k      select a held link; PgUp PgDn g G by more",
		"enter        why the selected link waits, and what unblocks it",
		"esc          close this",
		"p            pause the campaign: asks for the reason",
		"r            resume it",
		"P            promote: do not wait for the rest of the soak",
		"q            leave; what runs goes on",
		"ctrl+z       suspend",
		"",
		"bars         " + signRotated + " rotated  " + signInFlight + " in flight  " + signHeld + " held  " + signFailed +
			" refused or aborted  " + signSkipped + " skipped  " + signWaiting + " waiting",
	}, "\n")}
}

// told takes an answer in, if it is still wanted. An old answer stays when there
// is no new one.
func (p pane) told(msg whyMsg) pane {
	if msg.link != p.link || p.keys {
		return p
	}
	if p.err = ""; msg.err != nil {
		p.err = msg.err.Error()
		return p
	}
	p.text = msg.text
	return p
}

func (p pane) content(width int) []string {
	lines := paragraph(p.text, width)
	switch {
	case p.err != "":
		lines = append(paragraph(p.err, width), lines...)
	case p.text == "":
		lines = []string{"…"}
	}
	return lines
}

func (p pane) lines(width int) int { return len(p.content(width)) }

// draw is the pane in h lines: a title, and what there is room for.
func (p pane) draw(st styles, width, h int) []string {
	title := "Why " + clean(p.link)
	if p.keys {
		title = "Keys"
	}
	content := p.content(width)
	top := max(0, min(p.top, len(content)-(h-1)))
	shown := content[top:min(len(content), top+max(0, h-1))]
	more := ""
	if below := len(content) - top - len(shown); below > 0 {
		more = "↓"
	}
	if top > 0 {
		more = "↑" + more
	}
	lines := []string{st.title.Render(ends(title, join(" ", more, "esc closes"), width))}
	for _, l := range shown {
		lines = append(lines, cut(l, width))
	}
	return lines
}
