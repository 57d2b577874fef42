package cli

import (
	"slices"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// settled refuses to move a node to another site while a link that does not
// declare it any more has not let it go. Which counters the node has used is known
// at its old site only: put back into the link, it could use them again.
func settled(declared, wanted topology.Topology, records []link.Record) error {
	for _, n := range wanted.Nodes {
		old, ok := declared.Node(n.Name)
		if !ok || old.Site == n.Site {
			continue
		}
		for _, r := range records {
			if slices.Contains(r.State.Nodes(), n.Name) {
				return fault.New(fault.Refused,
					"move node %s from site %s to %s: link %s has not let it go yet: run keyorch rotate %s first",
					n.Name, old.Site, n.Site, r.Link, r.Link)
			}
		}
	}
	return nil
}
