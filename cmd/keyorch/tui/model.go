package tui

import (
	"context"
	"time"

	tea "charm.land/bubbletea/v2"
)

const (
	// every is how often the source is asked.
	every = 500 * time.Millisecond
	// patience is how long it may take to answer, and actionTime an action.
	patience   = 5 * time.Second
	actionTime = 15 * time.Second
	// said is how long the result of an action stays on the screen.
	said = 15 * time.Second
	// agedAfter is from when on a screen counts as old.
	agedAfter = 3 * time.Second
)

// The messages of the model beside those of the terminal. All times come in with
// them: the model itself has no clock.
type (
	tickMsg   time.Time
	screenMsg struct {
		screen Screen
		err    error
		at     time.Time
	}
	whyMsg struct {
		link, text string
		err        error
	}
	actedMsg struct {
		done string // what was done, when err is nil
		err  error
		at   time.Time
	}
)

// model is everything that the view is made from.
type model struct {
	ctx     context.Context
	source  Source
	actions Actions

	width, height int

	screen  Screen
	have    bool      // there is a screen
	got     time.Time // when it came
	now     time.Time
	failure error // of the source, until it answers again
	asking  bool  // the source is asked now
	samples []sample

	selected string // a held link
	row      int    // where it was

	pane   pane
	prompt *prompt
	acting string // what is being done
	notice notice
}

// notice is one line about what the operator did.
type notice struct {
	text  string
	bad   bool
	until time.Time // zero: until the next key
}

func newModel(ctx context.Context, s Source, a Actions) model {
	return model{ctx: ctx, source: s, actions: a}
}

// Init is the first question and the first tick.
func (m model) Init() tea.Cmd { return func() tea.Msg { return tickMsg(time.Now()) } }

// Update takes one message in.
func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tickMsg:
		return m.tick(time.Time(msg))
	case screenMsg:
		m.take(msg)
	case whyMsg:
		m.pane = m.pane.told(msg)
	case actedMsg:
		m.acting = ""
		m.now = later(m.now, msg.at)
		m.notice = notice{text: msg.done, until: m.now.Add(said)}
		if msg.err != nil {
			m.notice = notice{text: clean(msg.err.Error()), bad: true}
		}
	case tea.PasteMsg:
		if m.prompt != nil {
			m.prompt = m.prompt.typed(msg.Content)
		}
	case tea.KeyPressMsg:
		return m.key(msg)
	}
	return m, nil
}

// tick asks for a new screen, unless the last question is still open.
func (m model) tick(now time.Time) (tea.Model, tea.Cmd) {
	m.now = later(m.now, now)
	if !m.notice.until.IsZero() && m.now.After(m.notice.until) {
		m.notice = notice{}
	}
	next := tea.Tick(every, func(t time.Time) tea.Msg { return tickMsg(t) })
	if m.asking {
		return m, next
	}
	m.asking = true
	ask := func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, patience)
		defer cancel()
		s, err := m.source.Screen(ctx)
		return screenMsg{screen: s, err: err, at: time.Now()}
	}
	if link := m.pane.link; link != "" {
		return m, tea.Batch(next, ask, m.why(link))
	}
	return m, tea.Batch(next, ask)
}

func (m *model) take(msg screenMsg) {
	m.asking = false
	m.now = later(m.now, msg.at)
	m.failure = msg.err
	if msg.err != nil {
		return
	}
	m.screen, m.have, m.got = cleaned(msg.screen), true, msg.at
	if s, ok := sampleOf(m.screen); ok {
		m.samples = sampled(m.samples, s)
	} else {
		m.samples = nil
	}
	m.reselect()
}

// aged is how old the screen is; zero while it is fresh.
func (m model) aged() time.Duration {
	if !m.have {
		return 0
	}
	if old := m.now.Sub(m.got); old >= agedAfter || m.failure != nil {
		return max(old, 1)
	}
	return 0
}

func (m model) why(link string) tea.Cmd {
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, patience)
		defer cancel()
		text, err := m.source.Why(ctx, link)
		return whyMsg{link: link, text: text, err: err}
	}
}

// reselect finds the selected link again after the list has changed.
func (m *model) reselect() {
	for i, h := range m.screen.Held {
		if h.Link == m.selected {
			m.row = i
			return
		}
	}
	m.move(0)
}

// move selects the link that is by further down.
func (m *model) move(by int) {
	n := len(m.screen.Held)
	m.row = max(0, min(m.row+by, n-1))
	m.selected = ""
	if n > 0 {
		m.selected = m.screen.Held[m.row].Link
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
