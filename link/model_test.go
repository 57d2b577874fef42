package link_test

import (
	"cmp"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// The model check visits every world that a link can get into, breadth first,
// and drives the shipped Step and Orders to do so. A world is the machine, the
// nodes with their devices, and a network that is as bad as can be:
//
//   - an order that was ever issued may reach its node at any time, again and
//     again, or never; a report likewise reaches the machine;
//   - an agent may be killed after each thing that it does (model_node_test.go);
//   - a node may restart with all device keys gone, at most config.reboots times
//     in all, so that the search ends;
//   - an operator may abort at any time, and nodes may leave and join;
//   - packets stay in flight for as long as they like.
//
// Gates are wisdom and not safety, so Cleared may come at any time. Drained is
// evidence, so it comes only when nothing keyed with From is in flight.
//
// Four reductions keep the search small. Each joins worlds from which the same
// can happen: Turns are counted from the oldest that a node may still obey, and
// two of them that ask the same are one; nodes that stand on the same side are
// not told apart; an epoch that can come back in no way is forgotten; and what is
// in flight under an epoch that somebody sends with now is not written down,
// since it is some packets or none at any moment. TestTeeth looks for every bite
// with these and without (config.plain).
type config struct {
	name         string
	fresh        bool // the link has no key yet
	up, down     []int
	movers       []int // slots that may leave and join
	away         []int // movers that are not in the link at first
	reboots      uint8
	counterBound bool
	resumes      bool // a counter-bound device can go back to an older key
	wrong        int  // the slot that unwraps another key as epoch 2; -1 for none
	moves        uint8
	quorum       int  // so many downstream nodes are enough; movers leave in no other way
	recall       bool // worlds remember what every node said last, for Drift
	helped       bool // it takes an operator to get out of some worlds
	broken       broken
	plain        bool // without the reductions: the names stay, to be read
}

// slots is the number of nodes, turns the number of orders that may be under way
// for one of them, epochs how many keys there are: a first one and two more.
const (
	slots  = 4
	turns  = 20
	epochs = 3
)

var slotNames = [slots]keychain.NodeID{"n1", "n2", "n3", "n4"}

// keys is a set of epochs, one bit each.
type keys uint8

func (k keys) has(e uint8) bool { return e != 0 && k&(1<<e) != 0 }
func one(e uint8) keys {
	if e == 0 {
		return 0
	}
	return 1 << e
}

// wish is what the orders of one Turn ask for. fresh are the epochs whose KCV
// was not known when that Turn began.
type wish struct {
	accept, fresh, bare keys
	send                uint8
}

// machine is a link.State without its nodes; what it knows of a node is kept
// with the node.
type machine struct {
	phase, from, to, highest uint8
	fromSerial, toSerial     uint8
	reverting                bool
	bare                     keys              // nobody can supply them any more
	kcv                      [epochs + 1]uint8 // what is known: nothing, right, wrong
}

const (
	unknown uint8 = iota
	right
	wrong
)

type world struct {
	m                  machine
	n                  [slots]node
	issued             [turns]wish // the last one is the present Turn's
	turn               uint8       // index of the present Turn
	accepting, sending uint8       // those of AcceptTurn and SendTurn

	flying  keys // keys of packets in flight that nobody sends with now
	reboots uint8
	moves   uint8
}

// now is the Turn that States are given. The machine knows Turns only as equal
// or not, and one up.
const now keychain.Turn = 100

func kcvOf(e, k uint8) keychain.KCV {
	if e == 0 || k == unknown {
		return ""
	}
	return keychain.KCV(fmt.Sprintf("%d%d00000000", e, k))
}

func (m machine) key(e, serial uint8) link.Key {
	if e == 0 {
		return link.Key{}
	}
	return link.Key{Ref: keychain.Ref{Epoch: keychain.Epoch(e), KCV: kcvOf(e, m.kcv[e])}, Serial: keychain.Serial(serial), Bare: m.bare.has(e)}
}

// view is what the machine sees of a world: the key under which the answers of
// Step are remembered.
type view struct {
	m     machine
	known [slots]known
	// later tells which of AcceptTurn and SendTurn is the later one: all that the
	// machine can know of them, but for their being equal to a report's.
	later int
}

func (w *world) view() view {
	v := view{m: w.m, later: cmp.Compare(w.accepting, w.sending)}
	for i, n := range w.n {
		v.known[i] = n.known
	}
	return v
}

func (v view) state() link.State {
	s := link.State{
		Phase: link.Phase(v.m.phase), From: v.m.key(v.m.from, v.m.fromSerial), To: v.m.key(v.m.to, v.m.toSerial),
		Highest: keychain.Epoch(v.m.highest), Turn: now, Reverting: v.m.reverting,
		AcceptTurn: now - 1, SendTurn: now - 1,
	}
	switch {
	case v.later > 0:
		s.AcceptTurn = now
	case v.later < 0:
		s.SendTurn = now
	}
	if s.Reverting {
		s.Reason = "abort"
	}
	for i, k := range v.known {
		n := slotNames[i]
		if k.up {
			s.Upstream = append(s.Upstream, n)
		}
		if k.down {
			s.Downstream = append(s.Downstream, n)
		}
		if k.awaited {
			s.Awaiting = append(s.Awaiting, n)
		}
		for e := range keychain.Epoch(epochs + 1) {
			if k.lost.has(uint8(e)) {
				s.Lost = append(s.Lost, link.Loss{Node: n, Epoch: e})
			}
		}
	}
	return s
}

// after is v with what s says, which Step made from v.
func (v view) after(s link.State) view {
	m := machine{
		phase: uint8(s.Phase), from: uint8(s.From.Epoch), to: uint8(s.To.Epoch), highest: uint8(s.Highest),
		fromSerial: uint8(s.From.Serial), toSerial: uint8(s.To.Serial), reverting: s.Reverting, kcv: v.m.kcv,
	}
	for _, k := range []link.Key{s.From, s.To} {
		for _, known := range []uint8{right, wrong} {
			if !k.IsZero() && k.KCV == kcvOf(uint8(k.Epoch), known) {
				m.kcv[k.Epoch] = known
			}
		}
	}
	for _, k := range []link.Key{s.From, s.To} {
		if k.Bare {
			m.bare |= one(uint8(k.Epoch))
		}
	}
	out := view{m: m, later: v.later}

	for i, n := range slotNames {
		out.known[i] = known{up: slices.Contains(s.Upstream, n), down: slices.Contains(s.Downstream, n),
			awaited: slices.Contains(s.Awaiting, n)}
		for _, l := range s.Lost {
			if l.Node == n {
				out.known[i].lost |= one(uint8(l.Epoch))
			}
		}
	}
	return out
}

// asked is what the orders of a state ask for, the same for all of a side.
func asked(t testing.TB, s link.State) (w wish) {
	for _, k := range []link.Key{s.From, s.To} {
		if !k.IsZero() && k.KCV == "" {
			w.fresh |= one(uint8(k.Epoch))
		}
		if k.Bare {
			w.bare |= one(uint8(k.Epoch))
		}
	}
	first := map[bool]bool{}
	for _, o := range link.Orders(s) {
		var accept keys
		for _, k := range o.Accept {
			accept |= one(uint8(k.Epoch))
		}
		send := uint8(o.Send.Epoch)
		up, down := slices.Contains(s.Upstream, o.Node), slices.Contains(s.Downstream, o.Node)
		if send != 0 && o.Send.KCV == "" {
			t.Fatalf("%s is to send with epoch %d, whose KCV is not known: %+v", o.Node, send, s)
		}
		if o.Turn != s.Asked(o.Node) || !up && send != 0 || !down && accept != 0 ||
			up && first[true] && send != w.send || down && first[false] && accept != w.accept {
			t.Fatalf("not one wish for a side: %+v of %+v", o, s)
		}
		if up {
			w.send, first[true] = send, true
		}
		if down {
			w.accept, first[false] = accept, true
		}
	}
	return w
}

// checker is one search. Memory of Step's answers makes it fast, and lets it
// check each answer once: purity, and the invariants of State.
type checker struct {
	t       testing.TB
	c       config
	answers map[question]answer
	worlds  []world
	parent  []int32
	edges   []int32 // where from, below zero, then where to and by whom, again and again
	table   table
	at      int32 // the unsafe world
}

type question struct {
	v view
	e happening
}

type answer struct {
	v      view
	asked  wish
	turned bool
	// accepting and sending say whose orders have another Turn than before.
	accepting, sending bool
}

func (c *checker) step(v view, h happening) answer {
	q := question{v, h}
	if a, ok := c.answers[q]; ok {
		return a
	}
	s, e := v.state(), h.event(v, c.c)
	kept := v.state()
	got, err := link.Step(s, e)
	again, err2 := link.Step(s, e)
	if !reflect.DeepEqual(s, kept) || !reflect.DeepEqual(got, again) || fmt.Sprint(err) != fmt.Sprint(err2) {
		c.t.Fatalf("Step(%+v, %+v) is not pure: it left %+v and gave %+v, then %+v", kept, e, s, got, again)
	}
	if err != nil && !reflect.DeepEqual(got, kept) {
		c.t.Fatalf("Step(%+v, %+v) failed (%v) and changed the state to %+v", kept, e, err, got)
	}
	if problem := invariants(kept, got); problem != "" {
		c.t.Fatalf("Step(%+v, %+v) = %+v: %s", kept, e, got, problem)
	}
	if got.Turn > kept.Turn+1 {
		c.t.Fatalf("Step(%+v, %+v) = %+v: two Turns at once", kept, e, got)
	}
	got = c.c.broken.step(kept, got)
	a := answer{v: v.after(got), asked: asked(c.t, got), turned: got.Turn != kept.Turn,
		accepting: got.AcceptTurn != kept.AcceptTurn, sending: got.SendTurn != kept.SendTurn}

	c.answers[q] = a
	return a
}

// add notes world w as what follows world from.
func (c *checker) add(from int32, w world, by who) {
	w = c.c.canonical(w)
	id, fresh := c.table.find(c.worlds, w)
	if fresh {
		c.worlds, c.parent = append(c.worlds, w), append(c.parent, from)
	}
	if from >= 0 {
		c.edges = append(c.edges, 2*id+int32(by))
	}
}

// explore visits every world. It stops at the first unsafe one, and gives what
// is wrong and the shortest path to it.
func (c *checker) explore() []string {
	c.add(-1, c.c.start(c.t), itself)
	return c.exploreFrom(0)
}

// exploreFrom is explore from the worlds that have been added.
func (c *checker) exploreFrom(id int32) []string {
	for ; int(id) < len(c.worlds); id++ {
		w := c.worlds[id]
		if problem := c.c.unsafe(&w); problem != "" {
			c.at = id
			return append(c.path(id), problem)
		}
		c.edges = append(c.edges, ^id)
		c.next(&w, func(_ func() string, n world, by who) { c.add(id, n, by) })
	}
	return nil
}

func (c *checker) path(id int32) []string {
	var path []string
	for from := c.parent[id]; from >= 0; id, from = from, c.parent[from] {
		w, label := c.worlds[from], ""
		c.next(&w, func(l func() string, n world, _ who) {
			if label == "" && c.c.canonical(n) == c.worlds[id] {
				label = l()
			}
		})
		path = append(path, label)
	}
	slices.Reverse(path)
	return path
}

// stuck is a world from which no path leads to a Steady one, with what happens
// by itself alone or with the help of an operator; -1 for none.
func (c *checker) stuck(help who) int32 {
	can := make([]bool, len(c.worlds))
	for id, w := range c.worlds {
		can[id] = link.Phase(w.m.phase) == link.Steady
	}
	for changed := true; changed; {
		changed = false
		reaches := false
		for _, x := range slices.Backward(c.edges) {
			if x >= 0 {
				reaches = reaches || can[x/2] && who(x%2) <= help
				continue
			}
			changed = changed || reaches && !can[^x]
			can[^x] = can[^x] || reaches
			reaches = false
		}
	}
	return int32(slices.Index(can, false))
}

func newChecker(t testing.TB, c config) *checker {
	return &checker{t: t, c: c, answers: map[question]answer{}}
}

func TestModel(t *testing.T) {
	t.Parallel()
	total := 0
	for _, c := range configs() {
		t.Run(c.name, func(t *testing.T) {
			m := newChecker(t, c)
			unsafe := m.explore()
			t.Logf("worlds explored: %d (%d steps)", len(m.worlds), len(m.edges))
			total += len(m.worlds)
			if unsafe != nil {
				t.Fatalf("unsafe:\n  %s", strings.Join(unsafe, "\n  "))
			}
			help := itself
			if c.helped {
				help = operator
			}
			if id := m.stuck(help); id >= 0 {
				t.Fatalf("no way back to Steady from %+v:\n  %s", m.worlds[id], strings.Join(m.path(id), "\n  "))
			}
		})
	}
	fmt.Fprintf(os.Stdout, "worlds explored: %d in %d configurations\n", total, len(configs()))
}
