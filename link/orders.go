package link

import (
	"cmp"
	"slices"

	"github.com/keyorch/keyorch/keychain"
)

// Order is the whole wish for one node at a Turn: every key that it must accept
// and the one that it must send with. It is not a command to run once, so
// repeating it is harmless and a node that missed three of them needs only the
// last.
//
// Its Turn is the one at which it last changed, or at which the node was last
// awaited: phases that ask nothing new of a node leave its order alone.
//
// An empty Accept or a zero Send is no wish: the node is not on that side, or
// the link has no key yet.
type Order struct {
	Node   keychain.NodeID
	Turn   keychain.Turn
	Accept []Key
	Send   Key
}

// Orders is what every node must do in state s: one order a node, sorted by
// node. An upstream node waits for its first key until every downstream node
// accepts it.
func Orders(s State) []Order {
	accept, send := s.wish()
	var orders []Order
	for _, n := range s.Nodes() {
		o := Order{Node: n, Turn: s.Asked(n)}
		if slices.Contains(s.Downstream, n) {
			o.Accept = accept
		}
		if slices.Contains(s.Upstream, n) {
			o.Send = send
		}
		orders = append(orders, o)
	}
	return orders
}

// wish is the table of the phases: what downstream accepts and upstream sends.
func (s State) wish() (accept []Key, send Key) {
	both := []Key{s.From, s.To}
	switch s.Phase {
	case Staging:
		accept, send = both, s.From
	case Switching, Draining:
		accept, send = both, s.To
	case Steady, Retiring:
		accept, send = []Key{s.To}, s.To
	}
	slices.SortFunc(accept, func(a, b Key) int { return cmp.Compare(a.Epoch, b.Epoch) })
	accept = slices.CompactFunc(accept, func(a, b Key) bool { return a.Epoch == b.Epoch })
	accept = slices.DeleteFunc(accept, func(k Key) bool { return k.IsZero() })
	return accept, send
}
