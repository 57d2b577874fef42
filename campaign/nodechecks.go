package campaign

import (
	"fmt"
	"slices"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// siteInMaintenance skips links with a node at a site in maintenance.
func siteInMaintenance(s subject) []Finding {
	if s.Kind.Urgent() || s.record.State.Phase != link.Steady { // what has begun is finished
		return nil
	}
	var out []Finding
	for _, site := range s.Topology.SitesOf(s.nodes()) {
		if m, ok := s.Standing.Maintained(site, s.Now); ok {
			out = append(out, Finding{Severity: Skip, Site: site, Remedy: "it is caught up when the maintenance has ended",
				Reason: fmt.Sprintf("site %s is in maintenance until %s%s", site, stamp(m.Until), because(m.Reason))})
		}
	}
	return out
}

// agentAbsent wants every node served: the gate before the switch does, too. A
// quorum goes on without some of them, and without those that it left behind
// before.
func agentAbsent(s subject) []Finding {
	var absent []keychain.NodeID
	present := 0
	upstream := false
	for _, n := range s.nodes() {
		behind := slices.ContainsFunc(s.record.Quarantined, func(q link.Quarantine) bool { return q.Node == n })
		switch _, declared := s.Topology.Node(n); {
		case slices.Contains(s.present, n):
			if slices.Contains(s.left.Downstream, n) {
				present++
			}
		case declared && !behind:
			absent = append(absent, n)
			upstream = upstream || slices.Contains(s.left.Upstream, n)
		}
	}
	enough := !upstream && !s.own.Quorum.IsZero() && present >= s.own.Quorum.Of(len(s.left.Downstream))
	var out []Finding
	for _, n := range absent {
		node, _ := s.Topology.Node(n)
		f := Finding{Severity: Hold, Node: n, Reason: fmt.Sprintf("no agent serves %s", n), Remedy: fmt.Sprintf("start the agent of site %s", node.Site)}
		if enough {
			f.Severity = Note
			f.Reason += fmt.Sprintf(": the others are enough, and the link goes on without it after %v", s.own.QuorumWait())
		}
		out = append(out, f)
	}
	return out
}

// nodeInTrouble repeats what devices say.
func nodeInTrouble(s subject) []Finding {
	var out []Finding
	for _, r := range s.reports {
		if r.Fault != "" {
			out = append(out, Finding{Severity: Hold, Node: r.Node, Reason: fmt.Sprintf("%s is in trouble (%s)%s", r.Node, r.Fault, because(r.Message)),
				Remedy: fmt.Sprintf("keyorch why %s", s.declared.Name)})
		}
	}
	return out
}

// Clocks that differ by more are told, and by far more hold the link: the drain
// time is measured with them.
const (
	clockTold = 30 * time.Second
	clockHold = 5 * time.Minute
)

// clockFarOff compares the times in reports with what must have come before or
// after them.
func clockFarOff(s subject) []Finding {
	var out []Finding
	st := s.record.State
	for _, r := range s.reports {
		if r.At.IsZero() {
			continue
		}
		off, way := r.At.Sub(s.Now), "ahead"
		if behind := st.Since.Sub(r.At); r.Turn == st.Turn && st.Turn > 0 && behind > off {
			off, way = behind, "behind"
		}
		if off <= clockTold {
			continue
		}
		severity := Note
		if off > clockHold {
			severity = Hold
		}
		out = append(out, Finding{Severity: severity, Node: r.Node, Remedy: "look at the time synchronisation of its agent and of the worker",
			Reason: fmt.Sprintf("the clock of %s is at least %v %s", r.Node, off.Round(time.Second), way)})
	}
	return out
}

// excludedNode tells whom the new key is not made for.
func excludedNode(s subject) []Finding {
	var out []Finding
	nodes := slices.Concat(s.declared.Upstream, s.declared.Downstream)
	slices.Sort(nodes)
	for _, n := range slices.Compact(nodes) {
		e, ok := s.Standing.Excludes(s.Topology, n)
		if !ok {
			continue
		}
		who := "--node " + string(e.Node)
		if e.Site != "" {
			who = "--site " + string(e.Site)
		}
		out = append(out, Finding{Severity: Note, Node: n, Remedy: "keyorch readmit " + who + " --reason TEXT",
			Reason: fmt.Sprintf("%s is excluded since %s%s: it gets no new key", n, stamp(e.Since), because(e.Reason))})
	}
	return out
}

// quarantinedNode tells who was left behind by a quorum.
func quarantinedNode(s subject) []Finding {
	var out []Finding
	for _, q := range s.record.Quarantined {
		out = append(out, Finding{Severity: Note, Node: q.Node, Remedy: "it takes part again when the key has been staged for it",
			Reason: fmt.Sprintf("%s is quarantined since %s, as it did not confirm epoch %d%s", q.Node, stamp(q.Since), q.Epoch, because(q.Reason))})
	}
	return out
}
