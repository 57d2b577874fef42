package link

import (
	"slices"

	"github.com/keyorch/keyorch/keychain"
)

// Quorum is the downstream nodes that a rotation may go on without: those that
// have not confirmed in Staging while at least need others have, sorted. ok is
// false when there is nothing to leave out, or it may not be.
//
// The caller then applies Members without them and writes down
// Record.Quarantined. From there on they are no nodes of the link: they get no
// orders, nobody waits for them, and what they confirmed before counts for
// nothing. Members takes them back, and stages the key in use for them again.
// need is best counted of the nodes that are declared: then a second quorum does
// not take its share of what the first one left.
//
// Never left out is a node that stands upstream as well: it goes on sending with
// From, and nobody could tell it to stop before the others forget that key. As
// long as one of those is awaited there is nothing to be gained from leaving out
// the rest, so the link waits for all of them. Nor are all nodes ever left out,
// whatever need is.
func Quorum(s State, need int) (missing []keychain.NodeID, ok bool) {
	confirmed := len(s.Downstream) - len(s.Awaiting)
	switch {
	case s.Phase != Staging || s.Reverting || s.Restaging(), len(s.Awaiting) == 0, confirmed < max(1, need):
		return nil, false
	case slices.ContainsFunc(s.Awaiting, func(n keychain.NodeID) bool { return slices.Contains(s.Upstream, n) }):
		return nil, false
	}
	return slices.Clone(s.Awaiting), true
}
