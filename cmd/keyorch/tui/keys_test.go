package tui

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
)

// fakeSource gives one screen, or one error.
type fakeSource struct {
	screen Screen
	err    error
	asked  int
}

func (f *fakeSource) Screen(context.Context) (Screen, error) {
	f.asked++
	return f.screen, f.err
}

func (f *fakeSource) Why(_ context.Context, link string) (string, error) { return "why " + link, f.err }

// fakeActions writes down what it was asked for.
type fakeActions struct {
	did []string
	err error
}

func (f *fakeActions) do(what ...string) error {
	f.did = append(f.did, strings.Join(what, " "))
	return f.err
}

func (f *fakeActions) Pause(_ context.Context, c, reason string) error {
	return f.do("pause", c, reason)
}
func (f *fakeActions) Resume(_ context.Context, c string) error  { return f.do("resume", c) }
func (f *fakeActions) Promote(_ context.Context, c string) error { return f.do("promote", c) }

// press is a key by its name, or the text that it types.
func press(key string) tea.KeyPressMsg {
	named := map[string]rune{
		"enter": tea.KeyEnter, "esc": tea.KeyEscape, "up": tea.KeyUp, "down": tea.KeyDown, "pgup": tea.KeyPgUp,
		"pgdown": tea.KeyPgDown, "home": tea.KeyHome, "end": tea.KeyEnd, "backspace": tea.KeyBackspace,
	}
	if code, ok := named[key]; ok {
		return tea.KeyPressMsg{Code: code}
	}
	if key == "space" {
		return tea.KeyPressMsg{Code: ' ', Text: " "}
	}
	if letter, ok := strings.CutPrefix(key, "ctrl+"); ok {
		return tea.KeyPressMsg{Code: rune(letter[0]), Mod: tea.ModCtrl}
	}
	return tea.KeyPressMsg{Code: []rune(key)[0], Text: key}
}

// operate presses keys and runs what the model asks for, as the library would.
func operate(m model, keys ...string) model {
	for _, k := range keys {
		next, cmd := m.Update(press(k))
		m = next.(model)
		if cmd != nil {
			m = feed(m, cmd())
		}
	}
	return m
}

func TestActions(t *testing.T) {
	for _, c := range []struct {
		name string
		keys []string
		did  []string
		says string
	}{
		{"a pause has a reason", []string{"p", "b", "g", "p", "space", "d", "o", "w", "n", "enter"}, []string{"pause nightly-20260412 bgp down"}, "paused nightly-20260412: bgp down"},
		{"a pause without a reason is not sent", []string{"p", "enter", "enter"}, nil, "A pause needs a reason"},
		{"blanks are no reason", []string{"p", "space", "space", "enter"}, nil, "A pause needs a reason"},
		{"a reason can be given after all", []string{"p", "enter", "x", "enter"}, []string{"pause nightly-20260412 x"}, "paused"},
		{"a pause can be left", []string{"p", "x", "esc"}, nil, "p pause"},
		{"a reason can be corrected", []string{"p", "x", "ø", "backspace", "y", "enter"}, []string{"pause nightly-20260412 xy"}, "paused"},
		{"a reason can be begun anew", []string{"p", "x", "ctrl+u", "z", "enter"}, []string{"pause nightly-20260412 z"}, "paused"},
		{"letters of a reason are no commands", []string{"p", "q", "r", "P", "enter"}, []string{"pause nightly-20260412 qrP"}, "paused"},
		{"resume", []string{"r"}, []string{"resume nightly-20260412"}, "resumed nightly-20260412"},
		{"promote is a capital letter", []string{"P"}, []string{"promote nightly-20260412"}, "promoted nightly-20260412"},
		{"twice is twice", []string{"r", "r"}, []string{"resume nightly-20260412", "resume nightly-20260412"}, "resumed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &fakeActions{}
			m := operate(at(t, 100, 24, runningScreen(), &fakeSource{}, a), c.keys...)
			if !slices.Equal(a.did, c.did) {
				t.Errorf("it did %q, not %q", a.did, c.did)
			}
			if got := picture(m); !strings.Contains(got, c.says) {
				t.Errorf("it does not say %q:\n%s", c.says, got)
			}
		})
	}
}

func TestAnActionRunsOnce(t *testing.T) {
	a := &fakeActions{}
	m := at(t, 80, 24, runningScreen(), &fakeSource{}, a)
	next, first := m.Update(press("r"))
	m = next.(model)
	next, second := m.Update(press("P")) // before the first was answered
	m = next.(model)
	if second != nil {
		t.Fatal("a second action was begun")
	}
	if got := picture(m); !strings.Contains(got, "resuming nightly-20260412") {
		t.Errorf("it does not say what is on its way:\n%s", got)
	}
	m = feed(m, first())
	for range 5 { // new screens do not repeat it
		m = feed(m, screenMsg{screen: runningScreen(), at: noon}, tickMsg(noon))
	}
	if want := []string{"resume nightly-20260412"}; !slices.Equal(a.did, want) {
		t.Errorf("it did %q", a.did)
	}
}

func TestAPauseIsOfTheCampaignThatWasShown(t *testing.T) {
	a := &fakeActions{}
	m := operate(at(t, 80, 24, runningScreen(), &fakeSource{}, a), "p", "x")
	other := runningScreen()
	other.Campaign.Name = "another"
	operate(feed(m, screenMsg{screen: other, at: noon}), "enter")
	if want := []string{"pause nightly-20260412 x"}; !slices.Equal(a.did, want) {
		t.Errorf("it did %q", a.did)
	}
}

func TestARefusedActionIsShownUntilAKey(t *testing.T) {
	a := &fakeActions{err: errors.New("pause nightly: it has ended")}
	m := operate(at(t, 80, 24, runningScreen(), &fakeSource{}, a), "r")
	m = feed(m, screenMsg{screen: runningScreen(), at: noon.Add(time.Hour)}, tickMsg(noon.Add(time.Hour)))
	if got := picture(m); !strings.Contains(got, "pause nightly: it has ended") {
		t.Errorf("the refusal is gone:\n%s", got)
	}
	if got := picture(operate(m, "j")); strings.Contains(got, "it has ended") {
		t.Errorf("the refusal stays:\n%s", got)
	}
}

func TestWithoutCampaignOrActions(t *testing.T) {
	a := &fakeActions{}
	for _, k := range []string{"p", "r", "P"} {
		m := operate(at(t, 80, 24, fleetScreen(), &fakeSource{}, a), k)
		if got := picture(m); !strings.Contains(got, "no campaign runs") || len(a.did) > 0 {
			t.Errorf("%s did %q:\n%s", k, a.did, got)
		}
		m = operate(at(t, 80, 24, runningScreen(), &fakeSource{}, nil), k)
		if got := picture(m); !strings.Contains(got, "this screen only shows") {
			t.Errorf("%s without actions:\n%s", k, got)
		}
	}
}

func TestSelection(t *testing.T) {
	s := endedScreen()
	m := at(t, 80, 24, s, &fakeSource{}, nil)
	for _, c := range []struct {
		keys []string
		link string
	}{
		{nil, "bergen-oslo-001"},
		{[]string{"up"}, "bergen-oslo-001"},
		{[]string{"down", "j", "j", "k"}, "bergen-oslo-003"},
		{[]string{"pgdown"}, "bergen-oslo-011"},
		{[]string{"end"}, "bergen-oslo-200"},
		{[]string{"down"}, "bergen-oslo-200"},
		{[]string{"g"}, "bergen-oslo-001"},
		{[]string{"G", "pgup"}, "bergen-oslo-192"},
	} {
		m = operate(m, c.keys...)
		if m.selected != c.link {
			t.Errorf("%q selects %s, not %s", c.keys, m.selected, c.link)
		}
		if got := picture(m); !strings.Contains(got, "› "+c.link) {
			t.Errorf("%s is not in sight:\n%s", c.link, got)
		}
	}
	// The link stays selected where it goes, and its neighbour is when it is gone.
	s.Held = s.Held[100:]
	m = feed(m, screenMsg{screen: s, at: noon})
	if m.selected != "bergen-oslo-192" || m.row != 91 {
		t.Errorf("after the list moved: %s, row %d", m.selected, m.row)
	}
	s.Held = s.Held[:50]
	if m = feed(m, screenMsg{screen: s, at: noon}); m.selected != "bergen-oslo-150" {
		t.Errorf("after it was gone: %s", m.selected)
	}
	s.Held = nil
	if m = operate(feed(m, screenMsg{screen: s, at: noon}), "down", "enter"); m.selected != "" || m.pane.open() {
		t.Errorf("nothing to select: %q, %v", m.selected, m.pane)
	}
}

func TestThePane(t *testing.T) {
	source := &fakeSource{}
	m := operate(at(t, 80, 24, runningScreen(), source, nil), "j", "enter")
	if got := picture(m); !strings.Contains(got, "Why bergen-oslo-002") || !strings.Contains(got, "why bergen-oslo-002") {
		t.Errorf("enter shows:\n%s", got)
	}
	source.err = errors.New("etcd is away")
	m = feed(m, m.why("bergen-oslo-002")())
	if got := picture(m); !strings.Contains(got, "etcd is away") || !strings.Contains(got, "why bergen-oslo-002") {
		t.Errorf("an answer that does not come takes the old one away:\n%s", got)
	}
	m = feed(m, whyMsg{link: "bergen-oslo-001", text: "late"})
	if got := picture(m); strings.Contains(got, "late") {
		t.Errorf("a late answer about another link is shown:\n%s", got)
	}
	m = feed(m, whyMsg{link: "bergen-oslo-002", text: strings.Repeat("line\n", 50) + "the last"})
	if got := picture(operate(m, "G")); !strings.Contains(got, "the last") {
		t.Errorf("the end cannot be reached:\n%s", got)
	}
	if got := picture(operate(m, "esc")); strings.Contains(got, "Why") || !strings.Contains(got, "Held or late: 3") {
		t.Errorf("esc shows:\n%s", got)
	}
	if got := picture(operate(m, "?", "?")); strings.Contains(got, "Why") {
		t.Errorf("? twice shows:\n%s", got)
	}
}

func TestQuit(t *testing.T) {
	for _, keys := range [][]string{{"q"}, {"ctrl+c"}, {"enter", "q"}, {"p", "ctrl+c"}} {
		m := at(t, 80, 24, runningScreen(), &fakeSource{}, &fakeActions{})
		m = operate(m, keys[:len(keys)-1]...)
		_, cmd := m.Update(press(keys[len(keys)-1]))
		if cmd == nil {
			t.Fatal(keys, "does nothing")
		}
		if _, ok := cmd().(tea.QuitMsg); !ok {
			t.Error(keys, "does not quit")
		}
	}
}

// TestTheSourceIsNotAskedTwiceAtOnce ticks while a question is open.
func TestTheSourceIsNotAskedTwiceAtOnce(t *testing.T) {
	m := newModel(t.Context(), &fakeSource{}, nil)
	for i := range 4 {
		m = feed(m, tickMsg(noon.Add(time.Duration(i)*every)))
		if !m.asking {
			t.Fatal("nobody was asked")
		}
	}
	m = feed(m, screenMsg{screen: runningScreen(), at: noon})
	if m.asking {
		t.Error("the answer did not close the question")
	}
	// A source that hangs makes an old screen.
	m = feed(m, tea.WindowSizeMsg{Width: 80, Height: 24}, tickMsg(noon.Add(10*time.Second)))
	if got := picture(m); !strings.Contains(got, "OLD: 10s") {
		t.Errorf("a screen of ten seconds ago is not old:\n%s", got)
	}
}
