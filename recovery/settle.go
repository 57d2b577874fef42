package recovery

import (
	"fmt"
	"slices"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// settle chooses the key that the link is on, and the one that goes.
func (b *builder) settle() Verdict {
	sent := b.sent()
	switch len(sent) {
	case 0:
		return b.silent()
	case 1:
		return b.on(sent[0])
	case 2:
		return b.between(sent[0], sent[1])
	}
	return b.held(fmt.Sprintf("its senders use epochs %s: a rotation has two", numbers(sent)), b.without(b.oldest()))
}

// silent is a link on which nobody sends: all senders have restarted, or there has
// never been a key in use.
func (b *builder) silent() Verdict {
	if e := b.latestWish(); e != 0 {
		return b.on(e)
	}
	obeyed := slices.ContainsFunc(b.up, func(n keychain.NodeID) bool { return b.told[n].Turn > 0 && !b.told[n].Noted })
	if accepted := b.accepted(); obeyed && len(accepted) == 1 {
		return b.on(accepted[0])
	}
	// A first key that was staged, and that nobody was asked to send with.
	return b.verdict(Rebuilt, b.state(link.Steady, link.Key{}, link.Key{}), "no sender was ever given a key", "")
}

// on is a link whose senders use e, or none.
func (b *builder) on(e keychain.Epoch) Verdict {
	others := b.wished().with(b.accepted()...).without(e)
	accepted := b.accepted()
	others = slices.DeleteFunc(others, func(o keychain.Epoch) bool { return !slices.Contains(accepted, o) && !b.supplied(o) })
	switch len(others) {
	case 0:
		return b.steady(e)
	case 1:
		return b.switching(others[0], e)
	}
	return b.held(fmt.Sprintf("its senders use epoch %d, and its nodes have epochs %s as well: a rotation has two", e, numbers(others)), b.without(b.oldest()))
}

// between is a link whose senders use two keys: it goes to the one that all can reach.
func (b *builder) between(e, f keychain.Epoch) Verdict {
	if more := b.accepted().without(e, f); len(more) > 0 {
		return b.held(fmt.Sprintf("its senders use epochs %d and %d, and its nodes accept epochs %s as well", e, f, numbers(more)), b.without(b.oldest()))
	}
	toE, toF := b.reach(e), b.reach(f)
	switch {
	case toE == 0 && toF == 0:
		return b.held(fmt.Sprintf("its senders use epochs %d and %d, and nobody can supply either to those who use the other", e, f), b.without(b.oldest()))
	case toE > toF, toE == toF && b.latestWish() == e:
		return b.switching(f, e)
	}
	return b.switching(e, f)
}

// reach says whether all senders can use e: two, one for maybe, zero for no.
func (b *builder) reach(e keychain.Epoch) int {
	reach := 2
	for _, n := range b.up {
		t := b.told[n]
		switch {
		case t.Sends.Epoch == e:
		case slices.Contains(t.Lost, e), !b.supplied(e) && !slices.Contains(t.Started, e):
			return 0
		case slices.Contains(t.Started, e): // its device may still have it, with its counter
			reach = 1
		}
	}
	for _, n := range b.down {
		if !b.accepts(n, e) && !b.supplied(e) {
			return 0
		}
	}
	return reach
}

func (b *builder) accepts(n keychain.NodeID, e keychain.Epoch) bool {
	return slices.ContainsFunc(b.told[n].Accepts, func(r keychain.Ref) bool { return r.Epoch == e })
}

// oldest is the node with the lowest Turn: the likeliest to be out of step.
func (b *builder) oldest() (node keychain.NodeID) {
	for _, n := range b.nodes() {
		if node == "" || b.told[n].Turn < b.told[node].Turn {
			node = n
		}
	}
	return node
}

func (b *builder) key(e keychain.Epoch) link.Key {
	return link.Key{Ref: keychain.Ref{Epoch: e, KCV: b.kcv[e]}, Serial: b.serial[e], Bare: !b.supplied(e)}
}

func (b *builder) steady(e keychain.Epoch) Verdict {
	if _, known := b.serial[e]; !known {
		return b.numberless(e)
	}
	return b.verdict(Rebuilt, b.state(link.Steady, link.Key{}, b.key(e)), b.bareness(e), "")
}

// switching has every sender confirm that it uses to, before from goes.
func (b *builder) switching(from, to keychain.Epoch) Verdict {
	if _, known := b.serial[to]; !known {
		return b.numberless(to)
	}
	f, t := b.key(from), b.key(to)
	if _, known := b.serial[from]; !known { // it is on its way out, and no node was told of it last
		f.Serial, f.Bare = beside(t.Serial, from > to), true
	}
	for _, n := range b.down { // then there is no way back to it
		f.Bare = f.Bare || !b.accepts(n, from)
	}
	if f.Serial.Next() != t.Serial && t.Serial.Next() != f.Serial {
		return b.held(fmt.Sprintf("its nodes have epochs %d and %d, which are not neighbours (serials %d and %d)", from, to, f.Serial, t.Serial), b.without(b.oldest()))
	}
	s := b.state(link.Switching, f, t)
	s.Awaiting = s.Upstream
	why := fmt.Sprintf("recovered on epoch %d, with epoch %d on its nodes still", to, from)
	if s.Reverting = from > to; s.Reverting {
		s.Reason = why
	}
	if bare := b.bareness(to); bare != "" {
		why += "; " + bare
	}
	return b.verdict(InFlight, s, why, fmt.Sprintf("keyorch rotate %s", b.c.Link))
}

// beside is a neighbour of s: the one after it, or the one before.
func beside(s keychain.Serial, after bool) keychain.Serial {
	if after {
		return s.Next()
	}
	if s == 0 {
		return lastSerial
	}
	return s - 1
}

// lastSerial is the one before zero (see keychain.Serial).
const lastSerial keychain.Serial = 1<<32 - 257

func (b *builder) numberless(e keychain.Epoch) Verdict {
	return b.held(fmt.Sprintf("no journal has the wire numbers of epoch %d", e),
		"restore an etcd snapshot or a backup that knows it (keyorch restore), and run it again")
}

// bareness tells of a key that nobody can supply.
func (b *builder) bareness(e keychain.Epoch) string {
	if b.supplied(e) {
		return ""
	}
	return fmt.Sprintf("nobody can supply epoch %d any more: a node that loses it waits for the next epoch", e)
}

// state is the rebuilt State in a phase. Nodes that never had a part in the link are
// among its nodes when they can be given the key at once; else they join as new ones
// do.
func (b *builder) state(p link.Phase, from, to link.Key) link.State {
	taken := func(n keychain.NodeID) bool { return to.IsZero() || !to.Bare || !b.told[n].idle() }
	s := link.State{
		Phase: p, From: from, To: to, Highest: b.highest, Turn: b.turn + Leap, Since: b.c.At,
		Upstream: only(b.up, taken), Downstream: only(b.down, taken),
	}
	if b.unheard() { // it may have keys of epochs of which nobody else knows
		s.Highest += Leap
	}
	s.AcceptTurn, s.SendTurn = s.Turn, s.Turn
	for _, n := range s.Upstream {
		for _, e := range (epochs{}).with(b.told[n].Lost...) {
			if !from.IsZero() && e == from.Epoch || !to.IsZero() && e == to.Epoch {
				s.Lost = append(s.Lost, link.Loss{Node: n, Epoch: e})
			}
		}
	}
	return s
}

func only(ids []keychain.NodeID, ok func(keychain.NodeID) bool) (out []keychain.NodeID) {
	for _, n := range ids {
		if ok(n) {
			out = append(out, n)
		}
	}
	return out
}

// Campaign is what stands in records and histories for the campaign of what Rebuild
// made.
const Campaign = "recovery"

func (b *builder) verdict(o Outcome, s link.State, reason, next string) Verdict {
	if len(s.Upstream) == 0 || len(s.Downstream) == 0 {
		return b.held("on one side no node has ever had a part in it", "start their agents with the journals that they had, and run it again")
	}
	old := b.c.Record
	r := link.Record{
		Link: b.c.Link, State: s, Revision: old.Revision, Quarantined: b.quarantined(s),
		Last: link.Attempt{Campaign: Campaign, Outcome: link.Recovered, Epoch: s.Sends().Epoch, Reason: reason, Begun: b.c.At},
	}
	if s.Phase == link.Steady {
		r.Last.Ended, r.Last.Epoch = b.c.At, s.To.Epoch
	}
	if old.Completed.Epoch == s.To.Epoch {
		r.Completed = old.Completed
	}
	return Verdict{Link: b.c.Link, Outcome: o, Record: r, Reason: reason, Next: next}
}

// quarantined is the downstream nodes that the link goes on without.
func (b *builder) quarantined(s link.State) []link.Quarantine {
	var out []link.Quarantine
	for _, n := range b.c.Downstream {
		i := slices.IndexFunc(b.c.Record.Quarantined, func(q link.Quarantine) bool { return q.Node == n })
		switch {
		case slices.Contains(s.Downstream, n):
		case i >= 0:
			out = append(out, b.c.Record.Quarantined[i])
		case slices.Contains(b.c.Without, n):
			out = append(out, link.Quarantine{Node: n, Epoch: s.To.Epoch, Since: b.c.At, Reason: "the link was recovered without it"})
		}
	}
	return out
}
