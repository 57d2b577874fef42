package link_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// drifts is what Drift finds in all worlds of a model check, where every node has
// reported last what it said last in the present Turn, if anything.
func drifts(t *testing.T, c config, drift func(link.State, []keychain.Report) []link.Finding) (found map[link.DriftKind]int, bad []string, worlds int) {
	c.recall = true
	m := newChecker(t, c)
	if unsafe := m.explore(); unsafe != nil {
		t.Fatal(unsafe)
	}
	type look struct {
		v view
		h happening
	}
	found = map[link.DriftKind]int{}
	seen := map[look]bool{}
	for _, w := range m.worlds {
		v := w.view()
		for slot, n := range w.n {
			h := happening{kind: report, slot: uint8(slot), accepts: n.said.accepts, sends: n.said.sends, lost: n.said.lost}
			if !n.said.ever || seen[look{v, h}] {
				continue
			}
			seen[look{v, h}] = true
			s, says := v.state(), h.event(v, c).(link.Reported).Report
			for _, f := range drift(s, []keychain.Report{says}) {
				found[f.Kind]++
				if !f.Repairable {
					bad = append(bad, fmt.Sprintf("%+v in %+v", f, s))
				}
			}
		}
	}
	return found, bad, len(m.worlds)
}

// TestDriftTeeth runs hastier comparisons in the same worlds, which find what is
// none, and Drift where a node unwraps another key than the others.
func TestDriftTeeth(t *testing.T) {
	counted := config{up: []int{0, 1}, down: []int{2}, wrong: -1, counterBound: true, resumes: true}
	restarts := config{up: []int{0}, down: []int{1}, wrong: -1, counterBound: true, reboots: 1}
	other := config{up: []int{0}, down: []int{1, 2}, wrong: 1}
	for _, tooth := range []struct {
		name  string
		c     config
		drift func(link.State, []keychain.Report) []link.Finding
		want  link.DriftKind
	}{
		{"what is awaited counts", counted, func(s link.State, r []keychain.Report) []link.Finding {
			s.Awaiting = nil
			return link.Drift(s, r)
		}, link.OldEpoch},
		{"only the end counts", twoRotations(), func(s link.State, r []keychain.Report) []link.Finding {
			s.Phase, s.From, s.Awaiting = link.Steady, link.Key{}, nil
			return link.Drift(s, r)
		}, link.UnexpectedKey},
		{"losses do not count", restarts, func(s link.State, r []keychain.Report) []link.Finding {
			s.Lost, r[0].Lost = nil, nil
			return link.Drift(s, r)
		}, link.MissingKey},
		{"a node has another key", other, link.Drift, link.WrongKCV},
	} {
		t.Run(tooth.name, func(t *testing.T) {
			found, _, worlds := drifts(t, tooth.c, tooth.drift)
			if found[tooth.want] == 0 {
				t.Errorf("%d worlds, and no %s: %v", worlds, tooth.want, found)
			}
		})
	}
}

// TestDriftScript has every kind of drift shown in the script.
func TestDriftScript(t *testing.T) {
	text, err := os.ReadFile("testdata/drift.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range link.DriftKinds() {
		if !strings.Contains(string(text), string(kind)+" (") {
			t.Errorf("testdata/drift.txt shows no %s", kind)
		}
	}
}

// honest is the configs in which every node unwraps the right keys, those with
// restarts smaller: there are many more worlds when they remember what was said.
func honest() []config {
	one, two := []int{0}, []int{1}
	small := []config{
		{name: "a node restarts", up: one, down: two, wrong: -1, reboots: 2},
		{name: "a counter-bound node restarts", up: one, down: two, wrong: -1, counterBound: true, resumes: true, reboots: 2},
		{name: "a counter-bound node that cannot go back", up: one, down: two, wrong: -1, counterBound: true, reboots: 2},
		{name: "nodes leave and restart", up: one, down: []int{1, 2}, wrong: -1, reboots: 1, moves: 2, movers: two},
	}
	return append(small, slices.DeleteFunc(configs(), func(c config) bool { return c.wrong >= 0 || c.reboots > 0 })...)
}

// TestHonestNodesDoNotDrift runs Drift in every world in which every node unwraps
// the right keys. Agents lose counters, and devices that restart lose keys, which
// is all repaired; there is nothing else to find.
func TestHonestNodesDoNotDrift(t *testing.T) {
	t.Parallel()
	total, lost, missing := 0, 0, 0
	for _, c := range honest() {
		t.Run(c.name, func(t *testing.T) {
			found, bad, worlds := drifts(t, c, link.Drift)
			t.Logf("%d worlds: %v", worlds, found)
			total, lost, missing = total+worlds, lost+found[link.LostCounter], missing+found[link.MissingKey]
			if len(bad) > 0 {
				t.Fatalf("%d findings are not repaired, the first: %s", len(bad), bad[0])
			}
			if c.counterBound {
				delete(found, link.LostCounter)
			}
			if c.reboots > 0 {
				delete(found, link.MissingKey)
			}
			if len(found) > 0 {
				t.Errorf("found: %v", found)
			}
		})
	}
	if lost == 0 || missing == 0 {
		t.Errorf("%d counters lost and %d keys missing: this test shows nothing", lost, missing)
	}
	fmt.Fprintf(os.Stdout, "drift: %d worlds of honest nodes\n", total)
}
