package link_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/recovery"
)

// The recovery check walks at random into a world, forgets the record or takes an
// older one, rebuilds it from what the nodes hold (recovery.Rebuild), and then visits
// every world that may follow: the promise has to hold in all of them, and Steady to
// stay within reach.
//
// After a recovery a node may still obey, in place of the rebuilt order, any order
// that some node has noted in its journal, and what stands in the older copy of etcd.
// Those that nobody noted went with etcd.

// disaster is what is left when the record is lost.
type disaster struct {
	old      *world // what etcd was put back to; nil: it is empty
	supplied bool   // somebody has the wrapped keys
}

const (
	walks    = 100 // of each configuration and disaster
	longWalk = 60
)

// stroll walks n steps at random, and gives the worlds that it came through. All
// Turns are counted from the first.
func (c config) stroll(t testing.TB, r *rand.Rand, n int) []world {
	c.plain = true
	m := newChecker(t, c)
	trace := []world{c.start(t)}
	for range n {
		w := trace[len(trace)-1]
		var next []world
		m.next(&w, func(_ func() string, after world, _ who) { next = append(next, after) })
		if len(next) == 0 || w.turn > turns-8 {
			break
		}
		trace = append(trace, next[r.IntN(len(next))])
	}
	return trace
}

// testimony is what slot says of itself.
func (c config) testimony(w *world, slot uint8) recovery.Testimony {
	n := w.n[slot]
	t := recovery.Testimony{Node: slotNames[slot], Turn: keychain.Turn(n.journal) + 1, Started: n.started.list(), Lost: n.marked.list()}
	ref := func(e uint8) keychain.Ref {
		return keychain.Ref{Epoch: keychain.Epoch(e), KCV: kcvOf(e, c.holds(slot, e))}
	}
	for _, e := range n.accepts.list() {
		t.Accepts = append(t.Accepts, ref(uint8(e)))
	}
	if n.sends != 0 {
		t.Sends = ref(n.sends)
	}
	noted := w.issued[n.journal]
	t.Noted = true
	if !c.counterBound {
		t.Started = nil // nobody asks
	}
	key := func(e uint8) link.Key {
		k := link.Key{Ref: keychain.Ref{Epoch: keychain.Epoch(e)}, Serial: keychain.Serial(e)}
		if !noted.fresh.has(e) {
			k.KCV = kcvOf(e, right)
		}
		return k
	}
	if !n.up && !n.down && n.accepts == 0 && n.sends == 0 && n.started == 0 {
		return recovery.Testimony{Node: t.Node} // it never was one of the link's
	}
	if slices.Contains(c.down, int(slot)) {
		for _, e := range noted.accept.list() {
			t.Accept = append(t.Accept, key(uint8(e)))
		}
	}
	if slices.Contains(c.up, int(slot)) && noted.send != 0 {
		t.Send = key(noted.send)
	}
	return t
}

// serials has neighbouring Serials for the keys of a record, which in the model are
// not those of the epochs: an aborted rotation gives its Serial back.
func (c config) casus(w *world, d disaster) recovery.Case {
	q := recovery.Case{Link: "a-b", Upstream: names(c.up), Downstream: names(c.down)}
	if d.old != nil {
		v := d.old.view()
		s := v.state()
		s.Turn, s.AcceptTurn, s.SendTurn = keychain.Turn(d.old.turn)+1, keychain.Turn(d.old.accepting)+1, keychain.Turn(d.old.sending)+1
		q.Record = link.Record{Link: "a-b", State: s, Revision: 1}
	}
	for slot := range uint8(slots) {
		if slices.Contains(c.up, int(slot)) || slices.Contains(c.down, int(slot)) {
			q.Told = append(q.Told, c.testimony(w, slot))
		}
	}
	if d.supplied {
		for e := range keychain.Epoch(epochs + 1) {
			q.Supplied = append(q.Supplied, e)
		}
	}
	return q
}

// rebuilt is w with the machine that s describes.
func (c config) rebuilt(t testing.TB, w world, s link.State, d disaster) world {
	old, supplied := d.old, d.supplied
	noted := map[uint8]bool{}
	for i := range w.n {
		noted[w.n[i].journal] = true
	}
	if old != nil {
		noted[old.turn] = true
	}
	var issued [turns]wish
	at := map[uint8]uint8{}
	last := uint8(0)
	for i := range w.issued {
		if noted[uint8(i)] {
			issued[last], at[uint8(i)] = w.issued[i], last
			if !supplied { // nor has the agent that still has the order
				issued[last].bare = w.issued[i].accept | one(w.issued[i].send)
			}
			last++
		}
	}
	issued[last] = asked(t, s)
	before := w
	w.m = view{m: machine{kcv: w.m.kcv}}.after(s).m
	w.m.highest = max(w.m.highest, before.m.highest) // so that no epoch means two keys here
	known := view{}.after(s).known
	w.issued, w.turn, w.accepting, w.sending = issued, last, last, last
	for i := range w.n {
		n := &w.n[i]
		was := n.up || n.down
		n.journal, n.known, n.reports, n.said = at[n.journal], known[i], 0, said{}
		if n.needs > 0 || !was && (n.up || n.down) {
			n.dark, n.needs = true, last
		}
	}
	return w
}

// evidence is the highest epoch that anything shows.
func (w *world) evidence() keychain.Epoch {
	var all keys
	for _, n := range w.n {
		all |= n.accepts | n.started | n.marked | n.held | one(n.sends)
	}
	list := append((all | w.flying).list(), 0)
	return slices.Max(list)
}

// recoveries is a checker with the worlds after disasters as its roots.
type recoveries struct {
	*checker
	held, kept, rebuilt, flying int
	stories                     []story
}

// story is what a root came from.
type story struct {
	root int32
	w    world
	d    disaster
}

// before tells of the disaster that id came from.
func (m *recoveries) before(id int32) string {
	for m.parent[id] >= 0 {
		id = m.parent[id]
	}
	for _, s := range m.stories {
		if s.root == id {
			text := fmt.Sprintf("%+v\nbefore: %+v\nsupplied %v", m.worlds[id], s.w, s.d.supplied)
			if s.d.old != nil {
				text += fmt.Sprintf("\nrecord: %+v", s.d.old)
			}
			return strings.ReplaceAll(text, "{accept:0 fresh:0 bare:0 send:0}", "")
		}
	}
	return ""
}

func (c config) recoverAll(t testing.TB, seed uint64, supplied bool, spoil func(*link.State)) *recoveries {
	r := rand.New(rand.NewPCG(seed, 1))
	all := &recoveries{checker: newChecker(t, c)}
	for range walks {
		trace := c.stroll(t, r, 1+r.IntN(longWalk))
		w := trace[len(trace)-1]
		older := trace[r.IntN(len(trace))]
		for _, d := range []disaster{{supplied: supplied}, {supplied: supplied, old: &older}} {
			v := recovery.Rebuild(c.casus(&w, d))
			switch v.Outcome {
			case recovery.Held, recovery.Unused:
				all.held++
				continue
			case recovery.Kept:
				all.kept++
				continue
			case recovery.Rebuilt:
				all.rebuilt++
			case recovery.InFlight:
				all.flying++
			}
			s := v.Record.State
			if s.Highest < w.evidence() || s.Turn <= keychain.Turn(w.turn)+1 {
				t.Fatalf("%+v goes back behind %+v", s, w)
			}
			if spoil != nil {
				spoil(&s)
			}
			if problem := invariants(link.State{}, s); problem != "" && spoil == nil {
				t.Fatalf("%+v: %s", s, problem)
			}
			before := len(all.worlds)
			all.add(-1, c.rebuilt(t, w, s, d), itself)
			if len(all.worlds) > before {
				all.stories = append(all.stories, story{int32(before), w, d})
			}
		}
	}
	return all
}

func TestRecovery(t *testing.T) {
	t.Parallel()
	var total recoveries
	worlds := 0
	for _, c := range configs() {
		for _, supplied := range []bool{true, false} {
			if !supplied && c.wrong >= 0 {
				continue // a wrong key and no way back: that takes more than an operator's patience
			}
			t.Run(fmt.Sprintf("%s, supplied %v", c.name, supplied), func(t *testing.T) {
				m := c.recoverAll(t, 7, supplied, nil)
				problem := m.problem(supplied)
				t.Logf("rebuilt %d, in flight %d, kept %d, held %d; worlds explored: %d", m.rebuilt, m.flying, m.kept, m.held, len(m.worlds))
				total.rebuilt, total.flying, total.kept, total.held = total.rebuilt+m.rebuilt, total.flying+m.flying, total.kept+m.kept, total.held+m.held
				worlds += len(m.worlds)
				if problem != "" {
					t.Fatal(problem)
				}
			})
		}
	}
	fmt.Fprintf(os.Stdout, "recoveries: %d rebuilt, %d in flight, %d kept, %d held, %d worlds after them\n",
		total.rebuilt, total.flying, total.kept, total.held, worlds)
}

// problem explores, and says what is wrong; empty for nothing. Where nobody has the
// wrapped keys, an agent that was killed at the wrong moment needs an operator.
func (m *recoveries) problem(supplied bool) string {
	if unsafe := m.exploreFrom(0); unsafe != nil {
		return fmt.Sprintf("unsafe:\n  %s\n%s", strings.Join(unsafe, "\n  "), m.before(m.at))
	}
	help := itself
	if m.c.helped || !supplied {
		help = operator
	}
	if id := m.stuck(help); id >= 0 {
		return fmt.Sprintf("no way back to Steady:\n  %s\n%s", strings.Join(m.path(id), "\n  "), m.before(id))
	}
	return ""
}

// TestRecoveryTeeth spoils what Rebuild makes, one rule at a time.
func TestRecoveryTeeth(t *testing.T) {
	t.Parallel()
	for _, tooth := range []struct {
		name, config string
		spoil        func(*link.State)
	}{
		{"the second key is forgotten at once", "two rotations", func(s *link.State) {
			if s.Phase == link.Switching {
				s.Phase, s.From, s.Awaiting, s.Reverting, s.Reason = link.Steady, link.Key{}, nil, false, ""
			}
		}},
		{"the link goes on to a key that nobody sends with", "two rotations", func(s *link.State) {
			if s.Phase == link.Switching && s.Reverting {
				s.From, s.To, s.Reverting, s.Reason = s.To, s.From, false, ""
			}
		}},
		{"senders are not awaited", "two rotations", func(s *link.State) {
			if s.Phase == link.Switching {
				s.Phase, s.Awaiting = link.Retiring, s.Downstream
			}
		}},
	} {
		t.Run(tooth.name, func(t *testing.T) {
			for _, c := range configs() {
				if c.name != tooth.config {
					continue
				}
				m := c.recoverAll(t, 7, true, tooth.spoil)
				problem := m.problem(true)
				if problem == "" {
					t.Fatalf("%d worlds, and all is well", len(m.worlds))
				}
				t.Log(problem[:min(len(problem), 600)])
			}
		})
	}
}
