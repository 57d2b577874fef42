package link_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// TestConfirmationsAreWhatStepTakes walks a link through a rotation and asks after
// every report of every node whether Step and Confirmations say the same.
func TestConfirmationsAreWhatStepTakes(t *testing.T) {
	both := link.New([]keychain.NodeID{"a", "b"}, []keychain.NodeID{"b", "c"})
	s := must(t, run(t, both, link.Rotate{Epoch: 1}), link.Rotate{Epoch: 2})
	seen := 0
	for ; s.Phase != link.Steady; s = must(t, s, forward(s)) {
		for _, n := range s.Nodes() {
			for _, r := range variants(obeyed(s, n).(link.Reported).Report) {
				after, err := link.Step(s, link.Reported{Report: r})
				struck := err == nil && slices.Contains(s.Awaiting, n) &&
					(after.Turn != s.Turn || !slices.Contains(after.Awaiting, n))
				got := s.Confirmations([]keychain.Report{r})
				if slices.Contains(s.Awaiting, n) && struck != (len(got) == 1) {
					t.Errorf("%v: %+v is taken: %v, confirmations %+v", s.Phase, r, struck, got)
				}
				if len(got) == 1 {
					seen++
				}
			}
		}
	}
	if seen == 0 {
		t.Error("nobody confirmed anything: this test shows nothing")
	}
}

// variants is r and reports that differ from it in one thing.
func variants(r keychain.Report) []keychain.Report {
	all := []keychain.Report{r}
	alter := func(change func(*keychain.Report)) {
		v := r
		v.Accepts = slices.Clone(r.Accepts)
		change(&v)
		all = append(all, v)
	}
	alter(func(v *keychain.Report) { v.Turn-- })
	alter(func(v *keychain.Report) { v.Turn++ })
	alter(func(v *keychain.Report) { v.Fault = "mismatch" })
	alter(func(v *keychain.Report) { v.Fault = "unavailable" })
	alter(func(v *keychain.Report) { v.Sends = keychain.Ref{} })
	alter(func(v *keychain.Report) { v.Sends, v.Lost = keychain.Ref{}, []keychain.Epoch{v.Sends.Epoch} })
	alter(func(v *keychain.Report) { v.Sends.KCV = "" })
	alter(func(v *keychain.Report) { v.Accepts = append(v.Accepts, keychain.Ref{Epoch: 1, KCV: "0000000001"}) })
	for i := range r.Accepts {
		alter(func(v *keychain.Report) { v.Accepts = slices.Delete(v.Accepts, i, i+1) })
		alter(func(v *keychain.Report) { v.Accepts[i].KCV = "" })
		alter(func(v *keychain.Report) { v.Accepts[i].KCV = "0badbadbad" })
	}
	return all
}

func TestConfirmations(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	one, two := keychain.Ref{Epoch: 1, KCV: "0000000001"}, keychain.Ref{Epoch: 2, KCV: "0000000002"}
	both := []keychain.Ref{one, two}
	counted := []keychain.Counter{{Epoch: 1, Packets: 70}}
	s := link.State{
		From: link.Key{Ref: one}, To: link.Key{Ref: two}, Highest: 2, Turn: 7,
		Upstream: []keychain.NodeID{"u1", "u2"}, Downstream: []keychain.NodeID{"d1", "d2"},
	}
	reports := []keychain.Report{
		{Node: "u2", Turn: 7, Lost: []keychain.Epoch{1, 2}, At: at},
		{Node: "u1", Turn: 7, Sends: two, At: at},
		{Node: "d2", Turn: 6, Accepts: both, At: at},
		{Node: "d1", Turn: 7, Accepts: both, At: at, Counters: counted},
		{Node: "elsewhere", Turn: 7, Accepts: both, Sends: two, At: at},
	}
	forgot := slices.Clone(reports)
	forgot[3].Accepts = []keychain.Ref{two}
	for _, c := range []struct {
		phase   link.Phase
		reports []keychain.Report
		want    []link.Confirmation
	}{
		{link.Steady, reports, nil},
		{link.Staging, reports, []link.Confirmation{{Node: "d1", Turn: 7, Key: two, At: at, Counters: counted}}},
		{link.Switching, reports, []link.Confirmation{
			{Node: "u1", Turn: 7, Key: two, Sends: true, At: at}, {Node: "u2", Turn: 7, Sends: true, At: at}}},
		{link.Draining, reports, nil},
		{link.Retiring, reports, nil},
		{link.Retiring, forgot, []link.Confirmation{{Node: "d1", Turn: 7, Key: two, At: at, Counters: counted}}},
	} {
		s.Phase = c.phase
		if got := s.Confirmations(c.reports); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %+v, want %+v", c.phase, got, c.want)
		}
	}
}

func TestEnter(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	steady := run(t, link.New([]keychain.NodeID{"u"}, []keychain.NodeID{"d"}), link.Rotate{Epoch: 1})
	staging := must(t, steady, link.Rotate{Epoch: 2, At: at})
	retiring := must(t, staging, link.Abort{Reason: "not tonight", At: at})
	back := run(t, staging, link.Abort{Reason: "not tonight", At: at})
	last := link.Attempt{Campaign: "c1", Outcome: link.Held}
	ended := link.Attempt{Campaign: "c1", Outcome: link.Aborted, Reason: "not tonight", Ended: at}
	for _, c := range []struct {
		name          string
		before, after link.State
		last          link.Attempt
		want          string
	}{
		{"nothing moved", steady, steady, ended, "none"},
		{"a confirmation is no phase", staging, must(t, staging, forward(staging)), last, "none"},
		{"an older state is no phase", staging, steady, last, "none"},
		{"a rotation begins", steady, staging, last, "turn 4 Staging from 1 to 2, c1, reason \"\", outcome \"\""},
		{"it goes back", staging, retiring, last, "turn 5 Retiring from 2 to 1, c1, reason \"not tonight\", outcome \"\""},
		{"it is Steady, and its attempt goes on", retiring, back, last, "turn 6 Steady from 0 to 1, c1, reason \"\", outcome \"\""},
		{"it ends", retiring, back, ended, "turn 6 Steady from 0 to 1, c1, reason \"not tonight\", outcome \"aborted\""},
		{"a record is new", link.State{}, staging, last, "turn 4 Staging from 1 to 2, c1, reason \"\", outcome \"\""},
	} {
		e, ok := link.Enter(link.Record{Link: "l", State: c.after, Last: c.last}, c.before)
		got := "none"
		if ok {
			got = fmt.Sprintf("turn %d %v from %d to %d, %s, reason %q, outcome %q",
				e.Turn, e.Phase, e.From.Epoch, e.To.Epoch, e.Campaign, e.Reason, e.Outcome)
		}
		if got != c.want || ok && (e.Link != "l" || !e.At.Equal(c.after.Since)) {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
