package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// Nodes leave a link at any time, but they join it only when it has come to a key
// that was minted for their sites too: a site that is new to a link cannot open
// the keys that were wrapped before, and would hold the link for ever.

// staying is the declared nodes of a link without those that have yet to join.
func staying(s link.State, declared topology.Link, at time.Time) link.Members {
	return link.Members{Upstream: both(declared.Upstream, s.Upstream), Downstream: both(declared.Downstream, s.Downstream), At: at}
}

// joining is all declared nodes of a link, or none when nobody has yet to join.
func joining(s link.State, declared topology.Link) link.Members {
	if len(both(declared.Upstream, s.Upstream)) == len(declared.Upstream) &&
		len(both(declared.Downstream, s.Downstream)) == len(declared.Downstream) {
		return link.Members{}
	}
	return link.Members{Upstream: declared.Upstream, Downstream: declared.Downstream}
}

// settle is s, before it is rotated, with the nodes that it is rotated for. Where
// there is no key yet, or nobody who has it stays, those that join are among them; and
// so are those that have the key already, who would else lose packets while the
// others go to the next one.
func settle(s link.State, declared topology.Link, having link.Members, at time.Time) link.State {
	kept := staying(s, declared, at)
	kept.Upstream, kept.Downstream = append(kept.Upstream, having.Upstream...), append(kept.Downstream, having.Downstream...)
	if s.Phase == link.Steady && (s.To.IsZero() || len(kept.Upstream) == 0 || len(kept.Downstream) == 0) {
		kept.Upstream, kept.Downstream = declared.Upstream, declared.Downstream
	}
	return applied(s, kept)
}

// having is the declared nodes that a Steady link goes on without, and that use its key
// all the same: a recovery was told to go on without them, and they are back.
func (a *Activities) having(r link.Record, declared topology.Link) (m link.Members) {
	s := r.State
	if s.Phase != link.Steady || s.To.IsZero() || s.To.KCV == "" {
		return m
	}
	reports := a.view.Reports(r.Link)
	in := func(side []keychain.NodeID, has func(keychain.Report) keychain.Ref) (back []keychain.NodeID) {
		for _, report := range reports {
			got := has(report)
			if slices.Contains(side, report.Node) && got.Epoch == s.To.Epoch && got.KCV == s.To.KCV {
				back = append(back, report.Node)
			}
		}
		return a.view.Present(back)
	}
	up, down := apart(declared.Upstream, s.Upstream), apart(declared.Downstream, s.Downstream)
	m.Upstream = in(up, func(r keychain.Report) keychain.Ref { return r.Sends })
	m.Downstream = in(down, func(r keychain.Report) keychain.Ref { return r.Accepted(s.To.Epoch) })
	return m
}

// apart is those of a that b does not have.
func apart(a, b []keychain.NodeID) []keychain.NodeID {
	return slices.DeleteFunc(slices.Clone(a), func(n keychain.NodeID) bool { return slices.Contains(b, n) })
}

// join has the nodes that are new to a link join it, once its rotation has come
// to its end.
func (r *rotation) join(d *driven) {
	due := d.joins
	due.Downstream = slices.DeleteFunc(slices.Clone(due.Downstream), func(n keychain.NodeID) bool {
		return slices.ContainsFunc(d.Quarantined, func(q link.Quarantine) bool { return q.Node == n && q.Epoch == d.State.To.Epoch })
	})
	if d.State.Phase != link.Steady || len(due.Upstream) == 0 || r.more(d) || d.ended() != link.Rotated {
		return
	}
	d.joins = link.Members{}
	due.At = workflow.Now(r.ctx)
	_ = r.apply(d, due)
}

// both is those of a that b has too.
func both(a, b []keychain.NodeID) []keychain.NodeID {
	return slices.DeleteFunc(slices.Clone(a), func(n keychain.NodeID) bool { return !slices.Contains(b, n) })
}
