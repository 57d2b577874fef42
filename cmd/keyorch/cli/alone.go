package cli

import (
	"fmt"
	"slices"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// explained is link.Explain, and what exclusions mean for a link: one that has
// nobody left on a side gets no other key, which no rotation can help.
func (s *sight) explained(id keychain.LinkID, x link.Snapshot) link.Explanation {
	e := link.Explain(id, x)
	declared, ok := s.topology.Link(id)
	if len(s.standing.Exclusions) == 0 || !ok {
		return e
	}
	for _, side := range []struct {
		name  string
		nodes []keychain.NodeID
	}{{"upstream", declared.Upstream}, {"downstream", declared.Downstream}} {
		stays := func(n keychain.NodeID) bool { _, out := s.standing.Excludes(s.topology, n); return !out }
		if slices.ContainsFunc(side.nodes, stays) {
			continue
		}
		out, _ := s.standing.Excludes(s.topology, side.nodes[0])
		e.Reason = fmt.Sprintf("every %s node is excluded: it gets no other key, so stop its traffic", side.name)
		e.Summary = fmt.Sprintf("%s is %v on epoch %d, and %s", id, x.State.Phase, x.State.Sends().Epoch, e.Reason)
		e.Next = ""
		e.Command = fmt.Sprintf("stop the traffic of %s; to take the node back: keyorch readmit --%s --reason TEXT", id, calledBy(out))
	}
	return e
}
