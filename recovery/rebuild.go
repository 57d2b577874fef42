package recovery

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// Rebuild decides about one link. It is pure: the same case has the same verdict.
func Rebuild(c Case) Verdict {
	b := newBuilder(c)
	if b.current() {
		v := Verdict{Link: c.Link, Outcome: Kept, Record: c.Record, Missing: b.missing}
		if c.Record.Revision == 0 {
			v.Outcome = Unused
		}
		if len(b.missing) > 0 {
			v.Reason = fmt.Sprintf("nobody who answered is ahead of the record; %s did not answer", list(b.missing))
			v.Next = fmt.Sprintf("start the agent of %s, and run it again: until then the worker refuses the link as soon as it shows more", b.missing[0])
		}
		if c.Record.Revision == 0 && len(b.missing) > 0 {
			return b.held(v.Reason, b.waiting())
		}
		return v
	}
	if len(b.missing) > 0 {
		return b.held(fmt.Sprintf("%s did not answer", list(b.missing)), b.waiting())
	}
	for _, t := range b.told {
		if t.Blind != "" {
			return b.held(fmt.Sprintf("the device of %s cannot be read: %s", t.Node, t.Blind), b.without(t.Node))
		}
	}
	if len(b.up) == 0 || len(b.down) == 0 {
		return b.held("no node is left on one side", "declare one, or leave out fewer with --without")
	}
	if why, node := b.learn(); why != "" {
		return b.held(why, b.without(node))
	}
	return b.settle()
}

// builder works on one case. Nodes are those that count, told their testimonies.
type builder struct {
	c        Case
	up, down []keychain.NodeID
	told     map[keychain.NodeID]Testimony
	missing  []keychain.NodeID
	turn     keychain.Turn
	highest  keychain.Epoch
	kcv      map[keychain.Epoch]keychain.KCV
	serial   map[keychain.Epoch]keychain.Serial
}

func newBuilder(c Case) *builder {
	b := &builder{
		c: c, told: map[keychain.NodeID]Testimony{}, kcv: map[keychain.Epoch]keychain.KCV{}, serial: map[keychain.Epoch]keychain.Serial{},
		turn: c.Record.State.Turn, highest: c.Record.State.Highest,
	}
	for _, t := range c.Told {
		b.told[t.Node] = t
	}
	b.up, b.down = b.counted(c.Upstream), b.counted(c.Downstream)
	for _, t := range c.Told {
		// Whoever is left out has used what it has used all the same.
		b.turn, b.highest = max(b.turn, t.Turn), max(b.highest, t.highest())
		if !slices.Contains(b.up, t.Node) && !slices.Contains(b.down, t.Node) {
			delete(b.told, t.Node)
		}
	}
	for _, n := range b.nodes() {
		if _, ok := b.told[n]; !ok {
			b.missing = append(b.missing, n)
		}
	}
	return b
}

// counted is the nodes of a side, sorted, without those that are left out, and without
// those that a quorum had left behind and that have not been given the key since.
func (b *builder) counted(side []keychain.NodeID) []keychain.NodeID {
	side = slices.DeleteFunc(slices.Clone(side), func(n keychain.NodeID) bool {
		behind := b.told[n].Turn <= b.c.Record.State.Turn &&
			slices.ContainsFunc(b.c.Record.Quarantined, func(q link.Quarantine) bool { return q.Node == n })
		return slices.Contains(b.c.Without, n) || behind
	})
	slices.Sort(side)
	return slices.Compact(side)
}

func (b *builder) nodes() []keychain.NodeID {
	all := slices.Concat(b.up, b.down)
	slices.Sort(all)
	return slices.Compact(all)
}

// current reports whether nobody is ahead of the record, and whether the keys that it
// names can be had.
func (b *builder) current() bool {
	s := b.c.Record.State
	for _, k := range []link.Key{s.From, s.To} {
		if !k.IsZero() && !k.Bare && !b.supplied(k.Epoch) {
			return false
		}
	}
	return b.turn == s.Turn && b.highest == s.Highest
}

// unheard reports whether the link goes on without a node that said nothing of what
// it has.
func (b *builder) unheard() bool {
	return slices.ContainsFunc(slices.Concat(b.c.Upstream, b.c.Downstream), func(n keychain.NodeID) bool {
		said := slices.ContainsFunc(b.c.Told, func(t Testimony) bool { return t.Node == n })
		return slices.Contains(b.c.Without, n) && !said
	})
}

func (b *builder) held(reason, next string) Verdict {
	return Verdict{Link: b.c.Link, Outcome: Held, Record: b.c.Record, Reason: reason, Next: next, Missing: b.missing}
}

func (b *builder) waiting() string {
	return fmt.Sprintf("start the agent of %s and run it again; or, when it is gone for good, go on without it: keyorch recover --without %s "+
		"(nobody knows what it sends with: packets from it may be lost)", b.missing[0], b.missing[0])
}

func (b *builder) without(n keychain.NodeID) string {
	if n == "" {
		return "mend that, and run it again"
	}
	return fmt.Sprintf("mend that on %s, and run it again; or go on without it: keyorch recover --without %s", n, n)
}

// learn gathers KCVs and Serials. Devices and journals win over the old record; what
// two nodes contradict each other about, it tells.
func (b *builder) learn() (why string, node keychain.NodeID) {
	by := map[keychain.Epoch]keychain.NodeID{}
	counted := map[keychain.Epoch]keychain.NodeID{}
	for _, n := range b.nodes() {
		t := b.told[n]
		for _, r := range append(slices.Clone(t.Accepts), t.Sends) {
			had, known := b.kcv[r.Epoch]
			switch {
			case r.IsZero() || r.KCV == "":
			case known && had != r.KCV:
				return fmt.Sprintf("%s has KCV %s under epoch %d, and %s has %s", by[r.Epoch], had, r.Epoch, n, r.KCV), n
			default:
				b.kcv[r.Epoch], by[r.Epoch] = r.KCV, n
			}
		}
		for _, k := range append(slices.Clone(t.Accept), t.Send) {
			had, known := b.serial[k.Epoch]
			switch {
			case k.IsZero():
			case known && had != k.Serial:
				return fmt.Sprintf("%s was told serial %d for epoch %d, and %s serial %d", counted[k.Epoch], had, k.Epoch, n, k.Serial), n
			default:
				b.serial[k.Epoch], counted[k.Epoch] = k.Serial, n
			}
		}
	}
	for _, n := range b.nodes() {
		for _, k := range append(slices.Clone(b.told[n].Accept), b.told[n].Send) {
			if _, known := b.kcv[k.Epoch]; !known && k.KCV != "" {
				b.kcv[k.Epoch] = k.KCV
			}
		}
	}
	for _, k := range []link.Key{b.c.Record.State.From, b.c.Record.State.To} {
		if _, known := b.serial[k.Epoch]; !known && !k.IsZero() {
			b.serial[k.Epoch] = k.Serial
		}
		if _, known := b.kcv[k.Epoch]; !known && k.KCV != "" {
			b.kcv[k.Epoch] = k.KCV
		}
	}
	return "", ""
}

// epochs is a sorted set.
type epochs []keychain.Epoch

func (s epochs) with(list ...keychain.Epoch) epochs {
	s = append(slices.Clone(s), list...)
	slices.Sort(s)
	s = slices.Compact(s)
	return slices.DeleteFunc(s, func(e keychain.Epoch) bool { return e == 0 })
}

func (s epochs) without(list ...keychain.Epoch) epochs {
	return slices.DeleteFunc(slices.Clone(s), func(e keychain.Epoch) bool { return slices.Contains(list, e) })
}

// sent is what upstream sends with, accepted what downstream accepts, and wished what
// upstream may yet be sent to by an order that it has, or that stands in etcd.
func (b *builder) sent() (s epochs) {
	for _, n := range b.up {
		s = s.with(b.told[n].Sends.Epoch)
	}
	return s
}

func (b *builder) accepted() (s epochs) {
	for _, n := range b.down {
		for _, r := range b.told[n].Accepts {
			s = s.with(r.Epoch)
		}
	}
	return s
}

func (b *builder) wished() (s epochs) {
	for _, n := range b.up {
		s = s.with(b.told[n].Send.Epoch)
	}
	for _, o := range link.Orders(b.c.Record.State) {
		if t, ok := b.told[o.Node]; ok && o.Turn >= t.Turn {
			s = s.with(o.Send.Epoch)
		}
	}
	return s
}

func (b *builder) supplied(e keychain.Epoch) bool { return slices.Contains(b.c.Supplied, e) }

func list(ids []keychain.NodeID) string {
	var names []string
	for _, n := range ids {
		names = append(names, string(n))
	}
	return strings.Join(names, ", ")
}

func numbers(s epochs) string {
	var names []string
	for _, e := range s {
		names = append(names, fmt.Sprint(e))
	}
	return strings.Join(names, ", ")
}

// latestWish is the epoch that the newest order of a sender names.
func (b *builder) latestWish() (e keychain.Epoch) {
	var turn keychain.Turn
	for _, n := range b.up {
		if t := b.told[n]; !t.Send.IsZero() && (t.Turn > turn || t.Turn == turn && t.Send.Epoch > e) {
			turn, e = t.Turn, t.Send.Epoch
		}
	}
	return cmp.Or(e, b.c.Record.State.Sends().Epoch)
}
