package link_test

import (
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/keyorch/keyorch/link"
)

// who makes a thing happen: it comes by itself sooner or later, or somebody must
// act.
type who int32

const (
	itself who = iota
	operator
)

// next calls yield with every world that may follow w.
func (c *checker) next(w *world, yield func(label func() string, next world, by who)) {
	put := func(label func() string, n world, by who) {
		if n != *w {
			yield(label, c.settle(w, n), by)
		}
	}
	c.events(w, put)
	for slot := range uint8(slots) {
		n := w.n[slot]
		if !n.up && !n.down {
			continue
		}
		first := n.journal
		if c.c.broken == noFence {
			first = 0
		}
		for i := first; i <= w.turn; i++ {
			for _, told := range []bool{false, true} {
				if told || c.c.wrong >= 0 {
					c.c.obey(w, slot, i, told, func(how string, n node) {
						next := *w
						next.n[slot] = n
						put(func() string {
							o := w.issued[i]
							return fmt.Sprintf("%s gets the order of Turn %d (accept %v, send %d): %s", slotNames[slot], i, o.accept.list(), o.send, how)
						}, next, itself)
					})
				}
			}
		}
		cured := c.c.broken != noRestart && w.stranded(n)
		if c.c.broken == noDisk && n.journal > 0 {
			next := *w
			next.n[slot].journal = 0
			put(func() string { return fmt.Sprintf("the agent of %s restarts and forgets the Turn", slotNames[slot]) }, next, itself)
		}
		if cured || w.reboots < c.c.reboots {
			next := *w
			next.n[slot] = n.restart()
			if !cured {
				next.reboots++
			}
			put(func() string { return fmt.Sprintf("%s restarts and loses its keys", slotNames[slot]) }, next, operator)
		}
	}
	for e := range uint8(epochs + 1) {
		if w.flying.has(e) {
			next := *w
			next.flying &^= one(e)
			put(func() string { return fmt.Sprintf("the last packet keyed with epoch %d lands", e) }, next, itself)
		}
	}
}

// stranded is a node that can go neither forward nor back, as far as the machine
// knows: it is for an operator to restart its device, which makes it silent.
func (w *world) stranded(n node) bool {
	noWayBack := w.m.from == w.m.to || w.m.bare.has(w.m.from) ||
		slices.ContainsFunc(w.n[:], func(n node) bool { return n.lost.has(w.m.from) })
	return link.Phase(w.m.phase) == link.Switching && noWayBack &&
		n.up && n.lost.has(w.m.to) && n.sends != 0 && n.sends != w.m.to
}

// events is what the machine is told.
func (c *checker) events(w *world, put func(func() string, world, who)) {
	tell := func(h happening) {
		v := w.view()
		a := c.step(v, h)
		if a.v == v {
			return
		}
		next := *w
		next.m = a.v.m
		for i := range next.n {
			next.n[i].known = a.v.known[i]
		}
		switch {
		case a.turned:
			if a.asked != w.issued[w.turn] || c.c.plain {
				next.turn++
			}
			next.issued[next.turn] = a.asked

		case a.asked.accept != w.issued[w.turn].accept || a.asked.send != w.issued[w.turn].send:
			c.t.Fatalf("%v in %+v: the orders changed, the Turn did not", h, w)
		}
		next.ask(a)
		if h.kind == leave || h.kind == join || h.kind == leftOut {
			next.moves++
		}
		// Who joins takes part when it has obeyed the order that stages the key for
		// it. A machine that begins no Turn for that counts on it from now on.
		if n := &next.n[h.slot]; h.kind == join && a.turned {
			n.dark, n.needs = true, next.turn
		}
		by := itself
		if h.kind == rotate || h.kind == abort || h.kind == leave || h.kind == join || h.kind == leftOut {
			by = operator
		}
		put(h.String, next, by)
	}
	switch link.Phase(w.m.phase) {
	case link.Steady:
		if w.m.highest < epochs {
			tell(happening{kind: rotate})
		}
	case link.Staging:
		tell(happening{kind: cleared})
	case link.Draining:
		if !w.flying.has(w.m.from) || c.c.broken == noDrain {
			tell(happening{kind: drained})
		}
	}
	tell(happening{kind: abort})
	if c.c.quorum > 0 && w.moves < c.c.moves {
		tell(happening{kind: leftOut})
	}
	for slot := range uint8(slots) {
		n := w.n[slot]
		for r := range uint8(32) {
			if n.reports&(1<<r) != 0 {
				tell(happening{kind: report, slot: slot, accepts: keys(r & 7 << 1), sends: r >> 3, lost: n.marked})
			}
		}
		if n.up && n.marked&^n.lost != 0 {
			tell(happening{kind: lateLoss, slot: slot, lost: n.marked})
		}
		if w.moves < c.c.moves && slices.Contains(c.c.movers, int(slot)) {
			switch member := n.up || n.down; {
			case !member:
				tell(happening{kind: join, slot: slot})
			case c.c.quorum == 0:
				tell(happening{kind: leave, slot: slot})
			}
		}
	}
}

// ask notes whose orders have a new Turn: what those nodes said before is late.
func (w *world) ask(a answer) {
	if a.accepting {
		w.accepting = w.turn
	}
	if a.sending {
		w.sending = w.turn
	}
	for i := range w.n {
		if n := &w.n[i]; n.down && a.accepting || n.up && a.sending {
			n.reports, n.said = 0, said{}
		}
	}
}

// settle is n, made from w, without what cannot matter any more.
func (c *checker) settle(w *world, n world) world {
	n.flying = n.flying | w.sent()&^n.sent()
	n.flying &^= n.sent()
	taught := (n.m.from == 0 || n.m.kcv[n.m.from] != unknown) && (n.m.to == 0 || n.m.kcv[n.m.to] != unknown)
	for i := range n.n {
		x := &n.n[i]
		if taught && !x.awaited {
			x.reports = 0 // nothing in them is news
		}
		if !x.dark {
			x.needs = 0
		}
	}
	if c.c.plain {
		return n
	}
	c.c.skip(&n)
	n.bury()
	return n
}

// skip counts Turns anew: from the oldest that a node may obey. An order that
// asks of a node what the next one asks as well is as good as the next one.
func (c config) skip(w *world) {
	oldest := w.turn
	for i := range w.n {
		up, down := slices.Contains(c.up, i), slices.Contains(c.down, i)
		if !up && !down {
			continue
		}
		x := &w.n[i]
		for ; x.journal < w.turn && x.journal >= x.needs; x.journal++ {
			a, b := w.issued[x.journal], w.issued[x.journal+1]
			if up && a.send != b.send || down && a.accept != b.accept || c.wrong >= 0 && a.fresh != b.fresh {
				break
			}
		}
		oldest = min(oldest, x.journal)
	}
	var issued [turns]wish
	copy(issued[:], w.issued[oldest:w.turn+1])
	w.issued, w.turn = issued, w.turn-oldest
	w.accepting -= min(w.accepting, oldest)
	w.sending -= min(w.sending, oldest)

	for i := range w.n {
		x := &w.n[i]
		x.journal -= min(x.journal, oldest)
		x.needs -= min(x.needs, oldest)
	}
}

// bury forgets epochs that no order names, nobody sends with and no packet is
// keyed with: they never come back.
func (w *world) bury() {
	alive := one(w.m.from) | one(w.m.to) | w.flying | w.sent()
	for _, asked := range w.issued[:w.turn+1] {
		alive |= asked.accept | one(asked.send)
	}
	for e := range w.m.kcv {
		if !alive.has(uint8(e)) {
			w.m.kcv[e] = unknown
		}
	}
	for i := range w.issued {
		w.issued[i].fresh &= alive
	}
	for i := range w.n {
		x := &w.n[i]
		x.started, x.marked, x.held, x.gone = x.started&alive, x.marked&alive, x.held&alive, x.gone&alive
		x.accepts &= alive
		x.said.lost &= alive
	}
}

// sent is the keys that upstream sends with.
func (w *world) sent() (sent keys) {
	for _, n := range w.n {
		if n.up && !n.dark {
			sent |= one(n.sends)
		}
	}
	return sent
}

// table finds worlds by hash; it keeps no copy of them.
type table struct {
	seed maphash.Seed
	ids  []int32 // id+1, zero for empty; the length is a power of two
	used int
}

func (t *table) find(worlds []world, w world) (id int32, fresh bool) {
	if t.ids == nil {
		t.seed, t.ids = maphash.MakeSeed(), make([]int32, 1<<12)
	}
	if 2*t.used > len(t.ids) {
		t.ids = make([]int32, 2*len(t.ids))
		for id := range worlds {
			t.ids[t.slot(worlds, worlds[id])] = int32(id) + 1
		}
	}
	slot := t.slot(worlds, w)
	if t.ids[slot] != 0 {
		return t.ids[slot] - 1, false
	}
	t.used++
	t.ids[slot] = int32(len(worlds)) + 1
	return int32(len(worlds)), true
}

func (t *table) slot(worlds []world, w world) uint64 {
	last := uint64(len(t.ids) - 1)
	for i := maphash.Comparable(t.seed, w) & last; ; i = (i + 1) & last {
		if t.ids[i] == 0 || worlds[t.ids[i]-1] == w {
			return i
		}
	}
}
