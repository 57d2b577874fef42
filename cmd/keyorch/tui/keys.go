package tui

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
)

// longestReason is how many bytes of a reason are taken.
const longestReason = 200

// prompt asks for the reason of a pause.
type prompt struct {
	campaign string
	text     string
	missing  bool // enter was pressed without a reason
}

func (p prompt) typed(s string) *prompt {
	for _, r := range strings.TrimRight(s, "\r\n") {
		if r == '\n' || r == '\r' || r == '\t' {
			r = ' '
		}
		if len(p.text)+utf8.RuneLen(r) <= longestReason && (r == ' ' || clean(string(r)) != "") {
			p.text += string(r)
		}
	}
	p.missing = false
	return &p
}

func (p prompt) erased() *prompt {
	_, size := utf8.DecodeLastRuneInString(p.text)
	p.text = p.text[:len(p.text)-size]
	return &p
}

// key does what a key asks for.
func (m model) key(k tea.KeyPressMsg) (tea.Model, tea.Cmd) {
	switch k.String() {
	case "ctrl+c":
		return m, tea.Quit
	case "ctrl+z":
		return m, tea.Suspend
	}
	if m.prompt != nil {
		return m.promptKey(k)
	}
	m.notice = notice{}
	switch k.String() {
	case "q":
		return m, tea.Quit
	case "esc":
		m.pane = pane{}
	case "?", "h":
		m.pane = m.pane.help()
	case "enter":
		if m.selected == "" {
			m.notice = notice{text: "no link is held or late", bad: true}
			return m, nil
		}
		m.pane = pane{link: m.selected}
		return m, m.why(m.selected)
	case "p", "r", "P":
		return m.ask(k.String())
	default:
		m.scroll(k.String())
	}
	return m, nil
}

// scroll moves the selection, or the text of an open pane.
func (m *model) scroll(key string) {
	page := max(1, m.height/3)
	by, ok := map[string]int{
		"up": -1, "k": -1, "down": 1, "j": 1, "pgup": -page, "pgdown": page, "space": page,
		"home": -1 << 30, "g": -1 << 30, "end": 1 << 30, "G": 1 << 30,
	}[key]
	switch {
	case !ok:
	case m.pane.open():
		m.pane.top = max(0, min(m.pane.top+by, m.pane.lines(m.width)-1))
	default:
		m.move(by)
	}
}

// ask begins one of the actions, unless another one is on its way.
func (m model) ask(key string) (tea.Model, tea.Cmd) {
	switch {
	case m.actions == nil:
		m.notice = notice{text: "this screen only shows", bad: true}
		return m, nil
	case m.acting != "":
		m.notice = notice{text: "wait: " + m.acting, bad: true}
		return m, nil
	case m.screen.Campaign == nil:
		m.notice = notice{text: "no campaign runs", bad: true}
		return m, nil
	}
	name := m.screen.Campaign.Name
	switch key {
	case "p":
		m.prompt = &prompt{campaign: name}
		return m, nil
	case "r":
		return m.act("resuming "+name, "resumed "+name, func(ctx context.Context) error { return m.actions.Resume(ctx, name) })
	}
	return m.act("promoting "+name, "promoted "+name, func(ctx context.Context) error { return m.actions.Promote(ctx, name) })
}

func (m model) act(doing, done string, do func(context.Context) error) (tea.Model, tea.Cmd) {
	m.acting = doing
	return m, func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, actionTime)
		defer cancel()
		return actedMsg{done: done, err: do(ctx), at: time.Now()}
	}
}

// promptKey edits the reason. A pause without one is not sent.
func (m model) promptKey(k tea.KeyPressMsg) (tea.Model, tea.Cmd) {
	p := m.prompt
	switch k.String() {
	case "esc":
		m.prompt = nil
	case "enter":
		reason := clean(p.text)
		if reason == "" {
			m.prompt = &prompt{campaign: p.campaign, missing: true}
			return m, nil
		}
		m.prompt = nil
		return m.act("pausing "+p.campaign, fmt.Sprintf("paused %s: %s", p.campaign, reason), func(ctx context.Context) error {
			return m.actions.Pause(ctx, p.campaign, reason)
		})
	case "backspace", "ctrl+h":
		m.prompt = p.erased()
	case "ctrl+u":
		m.prompt = &prompt{campaign: p.campaign}
	default:
		m.prompt = p.typed(k.Text)
	}
	return m, nil
}
