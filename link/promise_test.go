package link_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// unsafe says how w breaks the promise, or is empty. The promise speaks of the
// nodes of the link. A sender that a quorum left out would be one still, since
// nobody decided that it should go.
func (c config) unsafe(w *world) string {
	accept := w.issued[w.turn].accept
	for slot, u := range w.n {
		if !u.up && (c.quorum == 0 || !slices.Contains(c.up, slot)) {
			continue
		}
		if c.counterBound && u.gone.has(u.sends) {
			return fmt.Sprintf("clause 3: %s sends again with epoch %d, whose counter it lost", slotNames[slot], u.sends)
		}
		if u.dark {
			continue
		}
		if accept != 0 && u.sends != 0 && !accept.has(u.sends) {
			return fmt.Sprintf("clause 2: downstream is ordered to forget epoch %d, and %s sends with it", u.sends, slotNames[slot])
		}
		for i := u.journal; i <= w.turn; i++ {
			if e := w.issued[i].send; e != 0 && accept != 0 && !accept.has(e) && !u.marked.has(e) && c.broken == none {
				return fmt.Sprintf("clause 2: downstream is ordered to forget epoch %d, and %s may still obey Turn %d and send with it", e, slotNames[slot], i)
			}
		}
		for d, down := range w.n {
			if e := u.sends; e != 0 && down.down && !down.dark &&
				(!down.accepts.has(e) || c.holds(uint8(slot), e) != c.holds(uint8(d), e)) {
				return fmt.Sprintf("clause 1: %s sends with epoch %d, which %s does not accept", slotNames[slot], e, slotNames[d])
			}
		}
	}
	for e := range uint8(epochs + 1) {
		for d, down := range w.n {
			if w.flying.has(e) && down.down && !down.dark && (!down.accepts.has(e) || c.holds(uint8(d), e) != right) {
				return fmt.Sprintf("clause 1: a packet keyed with epoch %d is in flight, and %s does not accept it", e, slotNames[d])
			}
		}
	}
	return ""
}

// invariants checks those of link.State, as numbered there, on what Step made of
// old.
func invariants(old, s link.State) string {
	switch {
	case s.To.Epoch > s.Highest || s.From.Epoch > s.Highest || s.Highest < old.Highest:
		return "invariant 1: epochs"
	case s.AcceptTurn > s.Turn || s.SendTurn > s.Turn || s.AcceptTurn < old.AcceptTurn || s.SendTurn < old.SendTurn:
		return "invariant 7: the Turns of the sides"
	case s.Turn < old.Turn || s.Phase != old.Phase && s.Turn == old.Turn:
		return "invariant 2: the Turn"
	case s.Phase == link.Steady && !s.From.IsZero(), s.Phase != link.Steady && s.To.IsZero():
		return "invariant 3: From and To"
	case s.Phase == link.Retiring && s.From.Epoch == s.To.Epoch:
		return "invariant 3: retiring the key that is used"
	}
	if !s.From.IsZero() && !s.Restaging() && s.From.Serial.Next() != s.To.Serial && s.To.Serial.Next() != s.From.Serial {
		return "Serials of From and To are not neighbours"
	}
	for _, ids := range [][]keychain.NodeID{s.Upstream, s.Downstream, s.Awaiting} {
		if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
			return "invariant 4: not sorted, or with repeats"
		}
	}
	for i, l := range s.Lost {
		if l.Epoch == 0 || l.Epoch != s.From.Epoch && l.Epoch != s.To.Epoch || !slices.Contains(s.Upstream, l.Node) {
			return "a loss that does not matter"
		}
		if i > 0 && (s.Lost[i-1].Node > l.Node || s.Lost[i-1].Node == l.Node && s.Lost[i-1].Epoch >= l.Epoch) {
			return "invariant 4: Lost is not sorted, or has repeats"
		}
	}
	var from []keychain.NodeID
	switch s.Phase {
	case link.Staging, link.Retiring:
		from = s.Downstream
	case link.Switching:
		from = s.Upstream
	}
	for _, n := range s.Awaiting {
		if !slices.Contains(from, n) {
			return "invariant 5: awaits a node that is not asked"
		}
	}
	if s.Phase != link.Staging && (s.Phase == link.Retiring || s.Phase == link.Switching) != (len(s.Awaiting) > 0) {
		return "invariant 5: awaits nobody, and stays"
	}
	for _, was := range []link.Key{old.From, old.To} {
		for _, is := range []link.Key{s.From, s.To} {
			if was.Epoch == is.Epoch && was.KCV != "" && was.KCV != is.KCV {
				return "invariant 6: a KCV was replaced"
			}
		}
	}
	return ""
}

// TestInvariants shows that invariants can fail, one case for each.
func TestInvariants(t *testing.T) {
	key := func(e keychain.Epoch) link.Key {
		return link.Key{Ref: keychain.Ref{Epoch: e, KCV: "0000000001"}, Serial: keychain.Serial(e)}
	}
	good := link.State{
		Phase: link.Switching, From: key(1), To: key(2), Highest: 2, Turn: 5, Upstream: []keychain.NodeID{"a", "b"},
		Downstream: []keychain.NodeID{"c"}, Awaiting: []keychain.NodeID{"a", "b"}, Lost: []link.Loss{{Node: "a", Epoch: 1}},
	}
	if problem := invariants(good, good); problem != "" {
		t.Fatal(problem)
	}
	for want, spoil := range map[string]func(*link.State){
		"invariant 1: epochs":                             func(s *link.State) { s.Highest = 1 },
		"invariant 7: the Turns of the sides":             func(s *link.State) { s.SendTurn = s.Turn + 1 },
		"invariant 2: the Turn":                           func(s *link.State) { s.Turn = 4 },
		"invariant 3: From and To":                        func(s *link.State) { s.Phase, s.Turn = link.Steady, 6 },
		"invariant 3: retiring the key that is used":      func(s *link.State) { s.Phase, s.Turn, s.From = link.Retiring, 6, s.To },
		"Serials of From and To are not neighbours":       func(s *link.State) { s.From.Serial = 0 },
		"invariant 4: not sorted, or with repeats":        func(s *link.State) { s.Awaiting = []keychain.NodeID{"b", "a"} },
		"a loss that does not matter":                     func(s *link.State) { s.Lost[0].Epoch = 7 },
		"invariant 4: Lost is not sorted, or has repeats": func(s *link.State) { s.Lost = append(s.Lost, s.Lost[0]) },
		"invariant 5: awaits a node that is not asked":    func(s *link.State) { s.Awaiting = []keychain.NodeID{"c"} },
		"invariant 5: awaits nobody, and stays":           func(s *link.State) { s.Awaiting = nil },
		"invariant 6: a KCV was replaced":                 func(s *link.State) { s.To.KCV = "0000000002" },
	} {
		bad := good
		bad.Lost = slices.Clone(good.Lost)
		spoil(&bad)
		if got := invariants(good, bad); got != want {
			t.Errorf("%+v: %q, want %q", bad, got, want)
		}
	}
}
