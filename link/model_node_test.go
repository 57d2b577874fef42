package link_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// known is what the machine knows of a node.
type known struct {
	up, down, awaited bool
	lost              keys
}

// node is one node: its agent's disk, its device, and its reports under way.
type node struct {
	known
	journal uint8 // index of the highest Turn obeyed; on disk
	started keys  // the ledger of a counter-bound sender, on disk: begun,
	marked  keys  // and lost
	accepts keys
	sends   uint8
	held    keys // sending keys on the device, each with its counter
	gone    keys // sending keys whose counter is lost: the truth, known to nobody
	// dark is a node that does not take part: it restarted and so accepts nothing,
	// or has just joined and does what it did before, and has not obeyed an order
	// since, of the Turn with index needs at least.
	dark  bool
	needs uint8
	// reports of the present Turn, made and perhaps not delivered yet.
	reports reports
	said    said // the last of them; with config.recall only
}

// said is what a node said last in the present Turn. A Drift of an older one would
// be no finding of now.
type said struct {
	ever          bool
	sends         uint8
	accepts, lost keys
}

// reports is a set of them, one bit each. A report is three bits for the epochs
// accepted and two for the one sent with.
type reports uint32

func (n node) order() (x uint64) {
	flag := func(b bool) uint64 {
		if b {
			return 1
		}
		return 0
	}
	for _, f := range []struct {
		v    uint64
		bits int
	}{
		{flag(n.said.ever), 1}, {uint64(n.said.sends), 2}, {uint64(n.said.accepts), 4}, {uint64(n.said.lost), 4},
		{flag(n.up), 1}, {flag(n.down), 1}, {flag(n.awaited), 1}, {flag(n.dark), 1}, {uint64(n.lost), 4},
		{uint64(n.journal), 5}, {uint64(n.started), 4}, {uint64(n.marked), 4}, {uint64(n.accepts), 4},
		{uint64(n.sends), 2}, {uint64(n.held), 4}, {uint64(n.gone), 4}, {uint64(n.needs), 5},
	} {
		x = x<<f.bits | f.v
	}
	return x
}

// happening is an event in a form that can be a map key.
type happening struct {
	kind    uint8
	slot    uint8
	accepts keys
	sends   uint8
	lost    keys
}

const (
	rotate uint8 = iota
	abort
	cleared
	drained
	report
	lateLoss // a report of an older Turn, which counts for its losses alone
	leave
	join
	leftOut // by a quorum
)

func (h happening) String() string {
	n := slotNames[h.slot]
	switch h.kind {
	case report:
		return fmt.Sprintf("report of %s arrives: accepts %v, sends %d, lost %v", n, h.accepts.list(), h.sends, h.lost.list())
	case lateLoss:
		return fmt.Sprintf("late report of %s arrives: lost %v", n, h.lost.list())
	case leave:
		return fmt.Sprintf("%s leaves", n)
	case join:
		return fmt.Sprintf("%s joins", n)
	case leftOut:
		return "a quorum leaves out who has not confirmed"
	}
	return [...]string{"rotate", "abort", "cleared", "drained"}[h.kind]
}

func (k keys) list() (list []keychain.Epoch) {
	for e := range uint8(epochs + 1) {
		if k.has(e) {
			list = append(list, keychain.Epoch(e))
		}
	}
	return list
}

func (h happening) event(v view, c config) link.Event {
	n := slotNames[h.slot]
	switch h.kind {
	case rotate:
		return link.Rotate{Epoch: keychain.Epoch(v.m.highest) + 1}
	case abort:
		return link.Abort{Reason: "abort"}
	case cleared:
		return link.Cleared{Turn: now}
	case drained:
		return link.Drained{Turn: now}
	case leftOut:
		return c.leftOut(v.state())
	case leave, join:
		s := v.state()
		move := func(side, home []keychain.NodeID) []keychain.NodeID {
			if h.kind == leave {
				return slices.DeleteFunc(slices.Clone(side), func(id keychain.NodeID) bool { return id == n })
			}
			if slices.Contains(home, n) {
				return append(slices.Clone(side), n)
			}
			return side
		}
		return link.Members{Upstream: move(s.Upstream, names(c.up)), Downstream: move(s.Downstream, names(c.down))}
	}
	r := keychain.Report{Node: n, Turn: v.state().Asked(n), Lost: h.lost.list()}

	if h.kind == lateLoss {
		r.Turn = 1
	}
	ref := func(e uint8) keychain.Ref {
		k := c.holds(h.slot, e)
		if c.broken == noReportedKCV {
			k = right
		}
		return keychain.Ref{Epoch: keychain.Epoch(e), KCV: kcvOf(e, k)}
	}
	for _, e := range h.accepts.list() {
		r.Accepts = append(r.Accepts, ref(uint8(e)))
	}
	r.Sends = ref(h.sends)
	return link.Reported{Report: r}
}

// leftOut is what a worker makes of what Quorum says.
func (c config) leftOut(s link.State) link.Event {
	missing, _ := link.Quorum(s, c.quorum)
	if c.broken == anyMissing && s.Phase == link.Staging && len(s.Downstream)-len(s.Awaiting) >= c.quorum {
		missing = s.Awaiting
	}
	stay := func(side []keychain.NodeID) []keychain.NodeID {
		return slices.DeleteFunc(slices.Clone(side), func(n keychain.NodeID) bool { return slices.Contains(missing, n) })
	}
	return link.Members{Upstream: stay(s.Upstream), Downstream: stay(s.Downstream)}
}

func names(side []int) (ids []keychain.NodeID) {
	for _, slot := range side {
		ids = append(ids, slotNames[slot])
	}
	return ids
}

// holds says which key a node unwraps as epoch e.
func (c config) holds(slot, e uint8) uint8 {
	if int(slot) == c.wrong && e == 2 {
		return wrong
	}
	return right
}

// obey gives what may become of slot when the order with index i reaches it: it
// may be killed after everything that it does. told is an order that was read
// after its KCVs were learned.
func (c config) obey(w *world, slot, i uint8, told bool, emit func(how string, n node)) {
	n, want := w.n[slot], w.issued[i]
	last := w.n[slot]
	report := emit
	emit = func(how string, n node) {
		if n != last {
			report(how, n)
		}
		if last = n; c.recall && w.present(slot, i) && n.journal == i {
			report(how+" or failed, and told", n.told(n)) // an attempt that fails tells what is there
		}
	}
	refused := func(e uint8) bool {
		known := w.m.kcv[e]
		if want.fresh.has(e) && !told {
			known = unknown
		}
		return c.broken != noComparing && known != unknown && known != c.holds(slot, e)
	}
	if c.broken != lateJournal {
		n.journal = max(n.journal, i)
		emit("noted the Turn and was killed", n)
	}
	down, up := slices.Contains(c.down, int(slot)), slices.Contains(c.up, int(slot))
	complete := true
	light := func() {
		wrongKey := up && want.send != 0 && n.sends != 0 && n.sends != want.send
		deaf := down && want.accept&want.bare&^n.accepts != 0 // until it is asked for less
		n.dark = n.dark && (i < n.needs || wrongKey || deaf)
	}
	if down {
		for e := range uint8(epochs + 1) {
			switch {
			case !want.accept.has(e) || c.broken == noStaging:
			case want.bare.has(e) && !n.accepts.has(e): // nobody can supply it
			case refused(e):
				complete = false
			default:
				n.accepts |= one(e)
			}
		}
		light()
		emit("installed and was killed", n)
	}
	supplied := !want.bare.has(want.send) || c.counterBound && n.started.has(want.send)
	if up && want.send != 0 && want.send != n.sends && !refused(want.send) && supplied {
		n = c.send(n, want.send, func(n node) { emit("noted the key and was killed", n) })
		light()
		emit("switched and was killed", n)
	}
	light()
	if down && want.accept != 0 && complete {
		n.accepts &= want.accept
		emit("obeyed and was killed", n)
	}
	if w.present(slot, i) || c.broken == anyTurn {
		says := n
		if c.broken == noStaging {
			says.accepts = want.accept
		}
		n = n.reported(says)
		if c.recall {
			n = n.told(says)
		}
	}
	emit("obeyed and reported", n)
	n.journal = max(n.journal, i)
	emit("obeyed and reported", n)
}

// present reports whether the order with index i says to slot what the present
// one says, under the same Turn.
func (w *world) present(slot, i uint8) bool {
	n := w.n[slot]
	return (!n.down || i >= w.accepting) && (!n.up || i >= w.sending)
}

// send is the rules of upstream.Send.
func (c config) send(n node, e uint8, killed func(node)) node {
	if c.counterBound && c.broken != noLedger {
		if n.sends == 0 {
			n.marked |= n.started
		}
		n.started |= one(n.sends)
		switch {
		case n.marked.has(e):
			return n
		case n.started.has(e) && c.resumes && n.held.has(e):
			n.sends = e
			return n
		case n.started.has(e):
			n.marked |= one(e)
			return n
		}
		n.started |= one(e)
		killed(n)
	}
	if !c.resumes {
		n.gone, n.held = n.gone|n.held, 0
	}
	n.sends, n.held = e, n.held|one(e)
	return n
}

// reported is n with a report of what says shows under way.
func (n node) reported(says node) node {
	n.reports |= 1 << (uint8(says.accepts>>1) | says.sends<<3)
	return n
}

// told is n that has said last what says shows.
func (n node) told(says node) node {
	n.said = said{ever: true, sends: says.sends, accepts: says.accepts, lost: n.marked}
	return n
}

// restart is a device that lost all its keys; what the agent has on disk stays.
func (n node) restart() node {
	n.accepts, n.sends = 0, 0
	n.gone, n.held = n.gone|n.held, 0
	n.dark = n.dark || n.down
	return n
}

func (c config) start(t testing.TB) world {
	w := world{m: machine{phase: uint8(link.Steady)}}
	if !c.fresh {
		w.m.to, w.m.highest, w.m.toSerial, w.m.kcv[1] = 1, 1, 1, right
	}
	for i := range w.n {
		if slices.Contains(c.away, i) {
			continue
		}
		w.n[i].up, w.n[i].down = slices.Contains(c.up, i), slices.Contains(c.down, i)
		if w.n[i].down && !c.fresh {
			w.n[i].accepts = one(1)
		}
		if w.n[i].up && !c.fresh {
			w.n[i].sends, w.n[i].held, w.n[i].started = 1, one(1), one(1)
		}
	}
	w.issued[0] = asked(t, w.view().state())
	return w
}
