package tui

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"charm.land/lipgloss/v2"
)

var update = flag.Bool("update", false, "rewrite testdata")

var noon = time.Date(2026, 4, 12, 12, 0, 0, 0, time.UTC)

var escapes = regexp.MustCompile("\x1b\\[[0-9;]*m")

// golden compares got with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	want, err := os.ReadFile(file)
	if string(want) == got {
		return
	}
	if !*update {
		t.Fatalf("%s is not what is shown (rewrite it with -update, and read the diff); this is, %v:\n%s", file, err, got)
	}
	if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
		t.Fatal(err)
	}
}

func heldLinks(n int) []Held {
	reasons := []string{
		"waiting for oslo-gw1 to accept epoch 8: no agent serves it",
		"oslo-gw2 refused: the device has room for two keys and holds a third, 17, that keyorch never gave it",
		"outside of the window Mon-Fri 22:00-04:00 Europe/Oslo",
	}
	var all []Held
	for i := range n {
		all = append(all, Held{
			Link: fmt.Sprintf("bergen-oslo-%03d", i+1), Phase: []string{"Staging", "Switching", "Draining"}[i%3],
			Node: fmt.Sprintf("oslo-gw%d", i%4+1), Reason: reasons[i%3], Since: noon.Add(-time.Duration(i*i+40) * time.Second),
		})
	}
	return all
}

func runningScreen() Screen {
	return Screen{
		Now: noon,
		Campaign: &Campaign{
			Name: "nightly-20260412", Kind: "rotate", State: "running", Policy: "backbone", Wave: 1,
			Begun: noon.Add(-4 * time.Minute), Expected: noon.Add(21 * time.Minute),
		},
		Waves: []Wave{
			{Name: "canary", Tally: Tally{Total: 1, Rotated: 1}, State: Ended},
			{Name: "ten percent", Tally: Tally{Total: 99, Rotated: 40, InFlight: 30, Held: 3, Failed: 1}, State: Running},
			{Name: "", Tally: Tally{Total: 900, Skipped: 20}, State: Waiting},
		},
		Phases: []Phase{{"Steady", 967}, {"Staging", 21}, {"Switching", 3}, {"Draining", 7}, {"Retiring", 2}},
		Held:   heldLinks(3),
		Fleet:  Fleet{Links: 1000, Nodes: 240, Held: 3, Drift: 1},
		Absent: []string{"oslo-gw1", "tromsø-gw4"},
	}
}

func soakingScreen() Screen {
	s := runningScreen()
	s.Waves[1] = Wave{Name: "ten percent", Tally: Tally{Total: 99, Rotated: 99}, State: Soaking, SoakUntil: noon.Add(4*time.Minute + 10*time.Second)}
	s.Held, s.Absent = nil, nil
	s.Phases = []Phase{{"Steady", 1000}, {"Staging", 0}, {"Switching", 0}, {"Draining", 0}, {"Retiring", 0}}
	return s
}

func pausedScreen() Screen {
	s := runningScreen()
	s.Campaign.State = "paused"
	s.Campaign.Reason = "budget spent: 11 of 99 links of wave \"ten percent\" failed, 9 may"
	s.Campaign.Expected = time.Time{}
	s.Waves[1].Tally = Tally{Total: 99, Rotated: 70, Held: 10, Failed: 1}
	s.Held = heldLinks(10)
	return s
}

func endedScreen() Screen {
	s := runningScreen()
	s.Campaign.State, s.Campaign.Wave, s.Campaign.Ended = "ended", 2, noon.Add(-30*time.Second)
	s.Campaign.Reason = "every wave has ended; 500 held links go on by themselves"
	s.Waves[1] = Wave{Name: "ten percent", Tally: Tally{Total: 99, Rotated: 99}, State: Ended}
	s.Waves[2] = Wave{Name: "rest", Tally: Tally{Total: 900, Rotated: 400, Held: 500}, State: Ended}
	s.Held, s.HeldTotal = heldLinks(200), 500
	return s
}

func fleetScreen() Screen {
	return Screen{
		Now:    noon,
		Phases: []Phase{{"Steady", 985}, {"Staging", 2}, {"Switching", 0}, {"Draining", 13}, {"Retiring", 0}},
		Held:   heldLinks(2),
		Fleet: Fleet{
			Links: 1000, Nodes: 240, Held: 2, Drift: 1,
			LastCampaign: "nightly-20260412", LastEnd: "ended: 998 rotated, 2 held", LastAt: noon.Add(-10 * time.Hour),
			NextCampaign: "nightly-20260413", NextAt: noon.Add(14 * time.Hour),
		},
		Absent: []string{"oslo-gw1"},
	}
}

// hostile is a screen of everything that could break the layout.
func hostile() Screen {
	s := runningScreen()
	evil := "\x1b[2J\x1b]0;owned\x07\t日本語のとても長い理由\u200d\u202e👩‍👩‍👧‍👦 " + strings.Repeat("no-spaces-at-all", 40) + "\r\nsecond\x00line\xff"
	s.Campaign.Name, s.Campaign.Reason, s.Campaign.Kind, s.Campaign.Policy = evil, evil, evil, evil
	for i := range 40 {
		s.Waves = append(s.Waves, Wave{Name: evil, Tally: Tally{Total: i, Rotated: i * 2, Held: -1}, State: WaveState(evil)})
	}
	s.Campaign.Wave = 99
	for i := range 500 {
		s.Held = append(s.Held, Held{Link: fmt.Sprint(evil, i), Phase: evil, Node: evil, Reason: evil})
	}
	s.Absent = append(s.Absent, evil, evil)
	s.Messages = []string{evil, evil, evil, evil, evil, evil, ""}
	s.Fleet.LastCampaign, s.Fleet.NextCampaign, s.Fleet.NextAt = evil, evil, noon
	s.Phases = append(s.Phases, Phase{evil, 1 << 40})
	return s
}

// at is a model of the size that has shown s for ten seconds.
func at(t *testing.T, w, h int, s Screen, source Source, a Actions) model {
	t.Helper()
	m := newModel(t.Context(), source, a)
	m = feed(m, tea.WindowSizeMsg{Width: w, Height: h})
	if s.Campaign != nil && s.Campaign.State == "running" && len(s.Waves) > 1 {
		before := s
		before.Waves = append([]Wave{}, s.Waves...)
		before.Waves[1].Rotated = max(0, before.Waves[1].Rotated-25)
		before.Now = s.Now.Add(-10 * time.Second)
		m = feed(m, screenMsg{screen: before, at: noon.Add(-10 * time.Second)})
	}
	return feed(m, screenMsg{screen: s, at: noon})
}

// feed gives the model messages, and forgets what it asks for.
func feed(m model, msgs ...tea.Msg) model {
	for _, msg := range msgs {
		next, _ := m.Update(msg)
		m = next.(model)
	}
	return m
}

func picture(m model) string { return escapes.ReplaceAllString(m.View().Content, "") }

const whyText = `Link       bergen-oslo-001
Phase      Staging, for 40s (turn 31)
Why        oslo-gw1 has not confirmed that it accepts epoch 8, so bergen-gw1 goes on with epoch 7: that is safe for as long as it lasts
Awaited    oslo-gw1 to accept epoch 8 (no agent serves it)
Next       upstream sends with epoch 8 when every awaited node has confirmed
Unblock    kubectl -n keyorch get pods -l site=oslo`

func TestScreens(t *testing.T) {
	away := errors.New("read everything from etcd: connection refused")
	cases := []struct {
		name   string
		screen Screen
		after  []tea.Msg
	}{
		{name: "running", screen: runningScreen()},
		{name: "soaking", screen: soakingScreen()},
		{name: "paused", screen: pausedScreen()},
		{name: "ended", screen: endedScreen()},
		{name: "fleet", screen: fleetScreen()},
		{name: "away", screen: runningScreen(), after: []tea.Msg{screenMsg{err: away, at: noon.Add(12 * time.Second)}}},
		{name: "why", screen: runningScreen(), after: []tea.Msg{press("enter"), whyMsg{link: "bergen-oslo-001", text: whyText}}},
		{name: "keys", screen: runningScreen(), after: []tea.Msg{press("?")}},
		{name: "prompt", screen: runningScreen(), after: []tea.Msg{press("p"), press("o"), press("r"), press("ø")}},
	}
	for _, c := range cases {
		for _, size := range [][2]int{{120, 40}, {80, 24}, {40, 10}} {
			w, h := size[0], size[1]
			t.Run(fmt.Sprintf("%s-%dx%d", c.name, w, h), func(t *testing.T) {
				m := feed(at(t, w, h, c.screen, &fakeSource{}, &fakeActions{}), c.after...)
				got := picture(m)
				if n := strings.Count(got, "\n") + 1; n != h {
					t.Errorf("%d lines, not %d", n, h)
				}
				var b strings.Builder
				for line := range strings.Lines(got) {
					b.WriteString(strings.TrimRight(line, " \n") + "\n")
				}
				golden(t, fmt.Sprintf("%s-%dx%d.txt", c.name, w, h), b.String())
			})
		}
	}
}

func TestBeforeTheFirstScreen(t *testing.T) {
	m := feed(newModel(t.Context(), &fakeSource{}, nil), tea.WindowSizeMsg{Width: 60, Height: 8})
	if got := picture(m); !strings.Contains(got, "reading …") {
		t.Errorf("an operator sees:\n%s", got)
	}
	m = feed(m, screenMsg{err: errors.New("etcd is away"), at: noon})
	if got := picture(m); !strings.Contains(got, "etcd is away") {
		t.Errorf("the error is not shown:\n%s", got)
	}
}

// broken lists what is wrong with a picture of a terminal of w times h.
func broken(content string, w, h int) []string {
	var bad []string
	plain := escapes.ReplaceAllString(content, "")
	rows := strings.Split(plain, "\n")
	if len(rows) > h {
		bad = append(bad, fmt.Sprintf("%d lines on %d", len(rows), h))
	}
	for _, row := range rows {
		if lipgloss.Width(row) > w {
			bad = append(bad, fmt.Sprintf("%d cells on %d: %q", lipgloss.Width(row), w, row))
		}
		if row != clean(row) && strings.ContainsAny(row, "\x1b\r\t\x00\x07\u200d\u202e") {
			bad = append(bad, fmt.Sprintf("it holds what it should not: %q", row))
		}
	}
	return bad
}

func TestNothingBreaksTheScreen(t *testing.T) {
	bare := hostile()
	bare.Campaign = nil
	empty := Screen{Campaign: &Campaign{}}
	opened := [][]tea.Msg{
		nil,
		{press("enter"), whyMsg{link: clean(hostile().Held[0].Link), text: hostile().Campaign.Name}},
		{press("down"), press("enter"), whyMsg{link: clean(hostile().Held[1].Link), err: errors.New(hostile().Campaign.Name)}},
		{press("?"), press("G")},
		{press("p"), tea.PasteMsg{Content: hostile().Campaign.Name}},
		{press("G"), actedMsg{err: errors.New(hostile().Campaign.Name)}},
		{press("pgdown"), press("pgup"), screenMsg{err: errors.New(hostile().Campaign.Name), at: noon.Add(time.Hour)}},
	}
	sizes := [][2]int{{0, 0}, {1, 1}, {2, 3}, {5, 2}, {9, 30}, {13, 5}, {20, 20}, {29, 4}, {40, 10}, {59, 7}, {61, 12}, {80, 24}, {200, 60}}
	for _, s := range []Screen{runningScreen(), hostile(), bare, empty, {}, endedScreen()} {
		for i, msgs := range opened {
			m := feed(at(t, 80, 24, s, &fakeSource{}, &fakeActions{}), msgs...)
			for _, size := range sizes { // one model, resized again and again
				m = feed(m, tea.WindowSizeMsg{Width: size[0], Height: size[1]})
				for _, bad := range broken(m.View().Content, size[0], max(1, size[1])) {
					t.Errorf("%dx%d, opened %d: %s", size[0], size[1], i, bad)
				}
			}
		}
	}
	if len(broken("日本語\n\x1b[2Jx", 5, 1)) < 3 {
		t.Error("the check cannot fail")
	}
}
