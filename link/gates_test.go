package link_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// ready is a snapshot that no gate has anything against.
func ready(s link.State) link.Snapshot {
	snap := link.Snapshot{State: s, Present: s.Nodes(), Now: noon}
	for _, n := range s.Nodes() {
		snap.Reports = append(snap.Reports, obeyed(s, n).(link.Reported).Report)
	}
	return snap
}

// TestClosedWindowsHoldSwitchesForwardOnly walks links through every phase of
// every course, and back from each, with the window closed.
func TestClosedWindowsHoldSwitchesForwardOnly(t *testing.T) {
	held, passed := 0, 0
	look := func(s link.State) {
		snap := ready(s)
		snap.Closed, snap.ClosedUntil = "outside of the windows", noon.Add(time.Hour)
		event, refusal := link.Check(snap)
		forwards := s.Phase == link.Staging && len(s.Awaiting) == 0 && !s.Restaging()
		want := link.Refusal{}
		if forwards {
			held++
			want = link.Refusal{Gate: "inside-window", Reason: "outside of the windows", Until: noon.Add(time.Hour)}
		}
		if refusal != want || forwards && event != nil {
			t.Errorf("%+v: %+v, %+v", s, event, refusal)
		}
		if event != nil {
			passed++
		}
		snap.Closed = ""
		if _, refusal := link.Check(snap); !refusal.OK() {
			t.Errorf("in an open window %+v: %+v", s, refusal)
		}
	}
	walk := func(s link.State) {
		for ; s.Phase != link.Steady; s = must(t, s, forward(s)) {
			look(s)
		}
		look(s)
	}
	for _, c := range courses(t) {
		s := must(t, c.start, c.event)
		walk(s)
		for ; s.Phase != link.Steady; s = must(t, s, forward(s)) {
			if back, err := link.Step(s, link.Abort{}); err == nil {
				walk(back)
			}
		}
	}
	if held == 0 || passed == 0 {
		t.Errorf("%d held and %d let pass: this test shows nothing", held, passed)
	}
}

func TestQuietGate(t *testing.T) {
	ago := func(s int) time.Time { return noon.Add(-time.Duration(s) * time.Second) }
	in := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	counts := func(epoch keychain.Epoch, packets uint64) []keychain.Counter {
		return []keychain.Counter{{Epoch: epoch, Packets: packets}}
	}
	steady := run(t, link.New([]keychain.NodeID{"u"}, []keychain.NodeID{"d1", "d2"}), link.Rotate{Epoch: 1})
	draining := advance(t, must(t, steady, link.Rotate{Epoch: 2}), link.Draining)
	for _, c := range []struct {
		name   string
		change func(s *link.Snapshot, d1, d2 *keychain.Report)
		want   string
	}{
		{"nobody counts", func(*link.Snapshot, *keychain.Report, *keychain.Report) {}, ""},
		{"a node counts other keys only", func(_ *link.Snapshot, d1, _ *keychain.Report) { d1.Counters = counts(2, 5) }, ""},
		{"a node counts and was not watched", func(_ *link.Snapshot, d1, _ *keychain.Report) { d1.Counters = counts(1, 5) },
			"d1 until 12:00:10: packets under epoch 1 that d1 counts have not been watched for 10s yet"},
		{"another key was watched", func(s *link.Snapshot, d1, _ *keychain.Report) {
			d1.Counters = counts(1, 5)
			s.Quieted = []link.Quieted{{Node: "d1", Epoch: 2, Packets: 5, Since: ago(60)}}
		}, "d1 until 12:00:10: packets under epoch 1 that d1 counts have not been watched for 10s yet"},
		{"quiet for exactly as long as asked", func(s *link.Snapshot, d1, _ *keychain.Report) {
			d1.Counters = counts(1, 5)
			s.Quieted = []link.Quieted{{Node: "d1", Epoch: 1, Packets: 5, Since: ago(10)}}
		}, ""},
		{"quiet for less", func(s *link.Snapshot, d1, _ *keychain.Report) {
			d1.Counters = counts(1, 5)
			s.Quieted = []link.Quieted{{Node: "d1", Epoch: 1, Packets: 5, Since: ago(9)}}
		}, "d1 until 12:00:01: packets under epoch 1 still arrive at d1 (the last 9s ago)"},
		{"it moved after it was watched", func(s *link.Snapshot, d1, _ *keychain.Report) {
			d1.Counters = counts(1, 6)
			s.Quieted = []link.Quieted{{Node: "d1", Epoch: 1, Packets: 5, Since: ago(60)}}
		}, "d1 until 12:00:10: packets under epoch 1 still arrive at d1 (the last 0s ago)"},
		{"a clock that runs ahead", func(s *link.Snapshot, d1, _ *keychain.Report) {
			d1.Counters = counts(1, 5)
			s.Quieted = []link.Quieted{{Node: "d1", Epoch: 1, Packets: 5, Since: in(5)}}
		}, "d1 until 12:00:15: packets under epoch 1 still arrive at d1 (the last 0s ago)"},
		{"the node that takes longest is told", func(s *link.Snapshot, d1, d2 *keychain.Report) {
			d1.Counters, d2.Counters = counts(1, 5), counts(1, 7)
			s.Quieted = []link.Quieted{{Node: "d1", Epoch: 1, Packets: 5, Since: ago(8)}, {Node: "d2", Epoch: 1, Packets: 7, Since: ago(3)}}
		}, "d2 until 12:00:07: packets under epoch 1 still arrive at d2 (the last 3s ago)"},
		{"the counter is gone, and was watched", func(s *link.Snapshot, _, _ *keychain.Report) {
			s.Quieted = []link.Quieted{{Node: "d1", Epoch: 1, Packets: 5, Since: ago(3)}}
		}, "d1 until 12:00:07: packets under epoch 1 still arrive at d1 (the last 3s ago)"},
		{"its agent is away", func(s *link.Snapshot, d1, _ *keychain.Report) {
			d1.Counters = counts(1, 5)
			s.Quieted = []link.Quieted{{Node: "d1", Epoch: 1, Packets: 5, Since: ago(60)}}
			s.Present = []keychain.NodeID{"d2", "u"}
		}, "d1: no agent reads the packet counters of d1"},
		{"it was not read in this Turn", func(s *link.Snapshot, d1, _ *keychain.Report) {
			d1.Counters, d1.Turn = counts(1, 5), d1.Turn-1
			s.Quieted = []link.Quieted{{Node: "d1", Epoch: 1, Packets: 5, Since: ago(60)}}
		}, "d1: d1 has not read its packet counters since upstream switched"},
		{"it could not be read", func(s *link.Snapshot, d1, _ *keychain.Report) {
			d1.Counters, d1.Fault, d1.Message = counts(1, 5), "unavailable", "no route to host"
			s.Quieted = []link.Quieted{{Node: "d1", Epoch: 1, Packets: 5, Since: ago(60)}}
		}, "d1: d1 may not have read its packet counters: no route to host"},
		{"an upstream node counts what it sent", func(s *link.Snapshot, _, _ *keychain.Report) {
			s.Reports[slices.IndexFunc(s.Reports, func(r keychain.Report) bool { return r.Node == "u" })].Counters = counts(1, 5)
		}, ""},
		{"the policy does not ask", func(s *link.Snapshot, d1, _ *keychain.Report) {
			d1.Counters, s.Quiet = counts(1, 5), 0
		}, ""},
		{"the drain time comes first", func(s *link.Snapshot, d1, _ *keychain.Report) {
			d1.Counters, s.Drain, s.State.Since = counts(1, 5), time.Minute, noon
		}, " until 12:01:00: packets keyed with epoch 1 may be in flight for 1m0s"},
	} {
		s := ready(draining)
		s.Quiet = 10 * time.Second
		report := func(n keychain.NodeID) *keychain.Report {
			return &s.Reports[slices.IndexFunc(s.Reports, func(r keychain.Report) bool { return r.Node == n })]
		}
		c.change(&s, report("d1"), report("d2"))
		event, r := link.Check(s)
		got := ""
		if !r.OK() {
			got = string(r.Node)
			if !r.Until.IsZero() {
				got += " until " + r.Until.Format(time.TimeOnly)
			}
			got = fmt.Sprintf("%s: %s", got, r.Reason)
		}
		if got != c.want || (event == nil) != (c.want != "") {
			t.Errorf("%s: %q, want %q (event %+v)", c.name, got, c.want, event)
		}
	}
}

func TestQuorum(t *testing.T) {
	state := func(up, down, awaiting []keychain.NodeID) link.State {
		key := func(e keychain.Epoch) link.Key {
			return link.Key{Ref: keychain.Ref{Epoch: e}, Serial: keychain.Serial(e)}
		}
		return link.State{Phase: link.Staging, From: key(1), To: key(2), Highest: 2, Turn: 4, Upstream: up, Downstream: down, Awaiting: awaiting}
	}
	ids := func(ids ...keychain.NodeID) []keychain.NodeID { return ids }
	forwards := state(ids("u"), ids("a", "b", "c"), ids("b", "c"))
	with := func(change func(*link.State)) link.State {
		s := forwards
		change(&s)
		return s
	}
	for _, c := range []struct {
		name string
		s    link.State
		need int
		want []keychain.NodeID
	}{
		{"one of three is enough", forwards, 1, ids("b", "c")},
		{"two of three are not there yet", forwards, 2, nil},
		{"none is never enough", state(ids("u"), ids("a", "b"), ids("a", "b")), 0, nil},
		{"less than none neither", state(ids("u"), ids("a", "b"), ids("a", "b")), -3, nil},
		{"all have confirmed", state(ids("u"), ids("a", "b"), nil), 1, nil},
		{"the missing one sends as well", state(ids("b"), ids("a", "b"), ids("b")), 1, nil},
		{"one of the missing sends as well", state(ids("b"), ids("a", "b", "c"), ids("b", "c")), 1, nil},
		{"the one that sends has confirmed", state(ids("a"), ids("a", "b"), ids("b")), 1, ids("b")},
		{"the first key of a link", with(func(s *link.State) { s.From = link.Key{} }), 1, ids("b", "c")},
		{"staging again", with(func(s *link.State) { s.From = s.To }), 1, nil},
		{"going back", with(func(s *link.State) { s.Reverting = true }), 1, nil},
		{"switching", with(func(s *link.State) { s.Phase = link.Switching }), 1, nil},
		{"retiring", with(func(s *link.State) { s.Phase = link.Retiring }), 1, nil},
		{"steady", with(func(s *link.State) { s.Phase, s.Awaiting = link.Steady, nil }), 0, nil},
	} {
		missing, ok := link.Quorum(c.s, c.need)
		if !slices.Equal(missing, c.want) || ok != (c.want != nil) {
			t.Errorf("%s: %v, %v, want %v", c.name, missing, ok, c.want)
		}
	}
	missing, _ := link.Quorum(forwards, 1)
	missing[0] = "somebody else"
	if forwards.Awaiting[0] != "b" {
		t.Error("the answer is a part of the State")
	}
}
