package link_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// FuzzStep feeds Step what nobody would: any events in any order, with nodes,
// epochs, Turns and KCVs that fit or do not. The invariants of State hold all the
// same, an error changes nothing, and a State survives JSON.
func FuzzStep(f *testing.F) {
	f.Add([]byte{0, 1, 1, 0, 1, 9, 1, 2, 1, 9, 2, 0})
	f.Add([]byte{0, 1, 1, 2, 9, 200, 4, 0, 5, 7, 3, 0, 1, 0, 255, 17})
	f.Fuzz(func(t *testing.T, script []byte) {
		s := link.New([]keychain.NodeID{"a", "b"}, []keychain.NodeID{"b", "c"})
		in := script[:min(len(script), 1000)]
		next := func() uint64 {
			if len(in) == 0 {
				return 0
			}
			x := in[0]
			in = in[1:]
			return uint64(x)
		}
		for at := time.Unix(1, 0).UTC(); len(in) > 0; at = at.Add(time.Second) {
			e := anyEvent(s, next, at)
			was := clone(t, s)
			got, err := link.Step(s, e)
			if !reflect.DeepEqual(s, was) {
				t.Fatalf("Step(%+v, %+v) wrote to its argument: %+v", was, e, s)
			}
			if err != nil && !reflect.DeepEqual(got, was) {
				t.Fatalf("Step(%+v, %+v) failed (%v) and changed the state: %+v", was, e, err, got)
			}
			if problem := invariants(was, got); problem != "" {
				t.Fatalf("Step(%+v, %+v) = %+v: %s", was, e, got, problem)
			}
			if !reflect.DeepEqual(clone(t, got), got) {
				t.Fatalf("%+v is another one after JSON: %+v", got, clone(t, got))
			}
			if x := link.Explain("l", link.Snapshot{State: got, Now: at}); x.Summary == "" {
				t.Fatalf("nothing to say of %+v", got)
			}
			lookAround(t, got, e)
			s = got
		}
	})
}

// lookAround asks of s what may be asked of any State.
func lookAround(t *testing.T, s link.State, e link.Event) {
	var reports []keychain.Report
	if r, ok := e.(link.Reported); ok {
		reports = append(reports, r.Report)
	}
	was := clone(t, s)
	link.Drift(s, reports)
	for _, c := range s.Confirmations(reports) {
		if c.Turn != s.Turn || s.Phase == link.Steady || s.Phase == link.Draining {
			t.Fatalf("%+v confirms %+v", c, s)
		}
	}
	missing, ok := link.Quorum(s, 1)
	stay := slices.DeleteFunc(slices.Clone(s.Downstream), func(n keychain.NodeID) bool { return slices.Contains(missing, n) })
	if after, err := link.Step(s, link.Members{Upstream: s.Upstream, Downstream: stay}); ok &&
		(err != nil || after.Turn != s.Turn || len(after.Awaiting) > 0 || !slices.Equal(after.Upstream, s.Upstream)) {
		t.Fatalf("without %v, %+v is %+v (%v)", missing, s, after, err)
	}
	if !reflect.DeepEqual(s, was) {
		t.Fatalf("%+v became %+v by being looked at", was, s)
	}
}

// anyEvent makes an event of a few bytes.
func anyEvent(s link.State, next func() uint64, at time.Time) link.Event {
	names := []keychain.NodeID{"a", "b", "c", "d", ""}
	turn := func() keychain.Turn {
		if x := next(); x > 9 {
			return s.Turn
		} else {
			return s.Turn - 5 + keychain.Turn(x) // may be below zero, and so huge
		}
	}
	epoch := func() keychain.Epoch {
		return []keychain.Epoch{0, s.From.Epoch, s.To.Epoch, s.Highest, s.Highest + 1, s.Highest + 3}[next()%6]
	}
	ref := func() keychain.Ref {
		return keychain.Ref{Epoch: epoch(), KCV: []keychain.KCV{"0000000001", "0000000001", "0000000002", ""}[next()%4]}
	}
	some := func() (ids []keychain.NodeID) {
		for range next() % 5 {
			ids = append(ids, names[next()%5])
		}
		return ids
	}
	switch next() % 10 {
	case 0:
		return link.Rotate{Epoch: epoch(), At: at}
	case 1:
		return link.Cleared{Turn: turn(), At: at}
	case 2:
		return link.Drained{Turn: turn(), At: at}
	case 3:
		return link.Abort{Reason: "fuzz", At: at}
	case 4:
		return link.Members{Upstream: some(), Downstream: some(), At: at}
	case 5:
		return nil
	}
	r := keychain.Report{Node: names[next()%5], Turn: turn(), Sends: ref()}
	for range next() % 4 {
		r.Accepts = append(r.Accepts, ref())
	}
	for range next() % 3 {
		r.Lost = append(r.Lost, epoch())
	}
	return link.Reported{Report: r, At: at}
}

func clone(t *testing.T, s link.State) (out link.State) {
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
