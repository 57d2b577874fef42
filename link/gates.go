package link

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/keychain"
)

// Snapshot is what the gates look at: facts that were gathered once, by somebody
// else, just before the step. Reports has at most one report a node, the latest.
type Snapshot struct {
	State   State
	Reports []keychain.Report
	// Present lists the nodes that an agent serves now.
	Present []keychain.NodeID
	Now     time.Time
	// Drain is the least time between the last upstream confirmation and the
	// moment when the old key is forgotten.
	Drain time.Duration
}

// Report is the latest report of n; false when it never reported.
func (s Snapshot) Report(n keychain.NodeID) (keychain.Report, bool) {
	i := slices.IndexFunc(s.Reports, func(r keychain.Report) bool { return r.Node == n })
	if i < 0 {
		return keychain.Report{}, false
	}
	return s.Reports[i], true
}

// Refusal is a gate that says not now. The zero Refusal lets the step happen.
type Refusal struct {
	Gate   string          `json:"gate"`
	Reason string          `json:"reason"`
	Node   keychain.NodeID `json:"node,omitempty"` // whom it is about, if one node
	// Until is when this gate may look different with nobody doing anything; zero
	// if that depends on a node.
	Until time.Time `json:"until,omitzero"`
}

// OK reports that nothing was refused.
func (r Refusal) OK() bool { return r.Gate == "" }

// Gate is one named check on a snapshot.
type Gate func(Snapshot) Refusal

// switchGates stand between Staging and Switching, drainGates between Draining
// and Retiring. The first refusal wins.
func switchGates() []Gate { return []Gate{agentsPresent, downstreamReadBack} }
func drainGates() []Gate  { return []Gate{drainTime, upstreamReadBack} }

// Check runs the gates before the next step of s, if it stands before one: when
// all nodes have confirmed in Staging, and in Draining. It gives the event that
// the gates let happen, or nil and the refusal of the first gate that does not.
func Check(s Snapshot) (Event, Refusal) {
	var gates []Gate
	var next Event
	switch {
	case s.State.Phase == Staging && len(s.State.Awaiting) == 0:
		gates, next = switchGates(), Cleared{Turn: s.State.Turn, At: s.Now}
	case s.State.Phase == Draining:
		gates, next = drainGates(), Drained{Turn: s.State.Turn, At: s.Now}
	default:
		return nil, Refusal{}
	}
	for _, gate := range gates {
		if r := gate(s); !r.OK() {
			return nil, r
		}
	}
	return next, Refusal{}
}

// agentsPresent wants every node of the link served before anyone switches: a
// link that is half switched is safe, but a link that has not begun is simpler.
func agentsPresent(s Snapshot) Refusal {
	for _, n := range s.State.Nodes() {
		if !slices.Contains(s.Present, n) {
			return Refusal{Gate: "agents-present", Node: n, Reason: fmt.Sprintf("no agent serves %s", n)}
		}
	}
	return Refusal{}
}

// downstreamReadBack wants every downstream node to accept both keys still, with
// the right KCV: a node that restarted may have lost a key that it confirmed.
func downstreamReadBack(s Snapshot) Refusal {
	const gate = "downstream-reads-back"
	for _, n := range s.State.Downstream {
		r, ok := s.Report(n)
		for _, k := range []Key{s.State.From, s.State.To} {
			if k.IsZero() {
				continue
			}
			got := r.Accepted(k.Epoch)
			if !ok || got.KCV == "" || !got.Agrees(k.Ref) {
				return Refusal{Gate: gate, Node: n, Reason: fmt.Sprintf("%s no longer accepts epoch %v", n, k.Ref)}
			}
		}
	}
	return Refusal{}
}

// drainTime waits for the policy's drain time.
func drainTime(s Snapshot) Refusal {
	until := s.State.Since.Add(s.Drain)
	if s.Now.Before(until) {
		return Refusal{Gate: "drain-time", Until: until, Reason: fmt.Sprintf(
			"packets keyed with epoch %d may be in flight for %v", s.State.From.Epoch, s.Drain)}
	}
	return Refusal{}
}

// upstreamReadBack wants every upstream node to send with To still, or nothing:
// a device that went back by itself, say to a saved configuration, would send
// with a key that is about to be forgotten.
func upstreamReadBack(s Snapshot) Refusal {
	for _, n := range s.State.Upstream {
		r, ok := s.Report(n)
		if !ok || r.Sends.Epoch != s.State.To.Epoch && !r.Sends.IsZero() {
			return Refusal{Gate: "upstream-reads-back", Node: n, Reason: strings.TrimSpace(fmt.Sprintf(
				"%s sends with epoch %v, not with %v", n, r.Sends, s.State.To.Ref))}
		}
	}
	return Refusal{}
}
