package link

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/keychain"
)

// Wait is one node that a link waits for.
type Wait struct {
	Node keychain.NodeID `json:"node"`
	// For is what the node still has to do: "to accept epoch 4".
	For string `json:"for"`
	// Since is when its fault began; without a fault, when the phase did.
	Since time.Time `json:"since,omitzero"`
	// Fault is the kind of what went wrong (package fault), empty for nothing.
	Fault string `json:"fault,omitempty"`
	// Message is why it has not been done yet.
	Message string `json:"message"`
	// Present says that an agent serves the node.
	Present bool `json:"present"`

	rank trouble
}

// trouble orders what may be wrong with a node: the gravest is the link's Reason.
type trouble int

const (
	silent  trouble = iota // nothing is known to be wrong
	absent                 // no agent serves the node
	failing                // the device cannot, for now
	refused                // the device will not
	lostKey                // the node can go neither forward nor back
	another                // the node has another key
)

// wait says what the link waits for at node n, which it awaits.
func (s Snapshot) wait(n keychain.NodeID) Wait {
	st := s.State
	w := Wait{Node: n, Since: st.Since, Present: slices.Contains(s.Present, n)}
	switch st.Phase {
	case Staging:
		w.For = fmt.Sprintf("to accept epoch %d", st.To.Epoch)
	case Switching:
		w.For = fmt.Sprintf("to send with epoch %d", st.To.Epoch)
	case Retiring:
		w.For = fmt.Sprintf("to forget epoch %d", st.From.Epoch)
	case Steady, Draining:
	}
	r, ok := s.Report(n)
	if mismatch := st.mismatch(r); ok && mismatch != "" {
		w.rank, w.Fault, w.Message = another, "mismatch", mismatch
		return w
	}
	current := ok && r.Turn == st.Asked(n)
	switch {
	case current && st.lostBy(n, st.To.Epoch) && !r.Sends.IsZero() && r.Sends.Epoch != st.To.Epoch:
		w.rank, w.Message = lostKey, fmt.Sprintf("it sends with epoch %d and may never use epoch %d", r.Sends.Epoch, st.To.Epoch)
	case ok && r.Fault != "": // under an older Turn: the device could not even be read
		w.rank, w.Fault, w.Message = rankOf(r.Fault), r.Fault, r.Message
		if !r.Since.IsZero() {
			w.Since = r.Since
		}
	case !w.Present:
		w.rank, w.Message = absent, "no agent serves it"
	case current:
		w.rank, w.Message = failing, "the device does not show it: "+shows(r)
	case ok && r.Message != "":
		w.Message = "it has not answered yet; what it said last: " + r.Message
	default:
		w.Message = "it has not answered yet"
	}
	if !w.Present && w.rank > absent {
		w.Message += "; no agent serves it now"
	}
	return w
}

// rankOf sorts the fault kinds into those that may pass and those that do not.
func rankOf(kind string) trouble {
	switch kind {
	case "mismatch":
		return another
	case "refused", "invalid":
		return refused
	}
	return failing
}

// shows is what a device says it does.
func shows(r keychain.Report) string {
	var accepts []string
	for _, a := range r.Accepts {
		if a.KCV == "" {
			accepts = append(accepts, fmt.Sprintf("%d without a KCV", a.Epoch))
			continue
		}
		accepts = append(accepts, a.String())
	}
	if len(accepts) == 0 {
		return fmt.Sprintf("it sends with epoch %v", r.Sends)
	}
	return fmt.Sprintf("it accepts epochs %s", strings.Join(accepts, ", "))
}

// mismatch says which key of r, a report of the present Turn, is not the link's.
func (s State) mismatch(r keychain.Report) string {
	if r.Turn != s.Asked(r.Node) {

		return ""
	}
	for _, k := range []Key{s.From, s.To} {
		for _, got := range slices.Concat(r.Accepts, []keychain.Ref{r.Sends}) {
			if k.IsZero() || got.Epoch != k.Epoch || got.Agrees(k.Ref) {
				continue
			}
			return fmt.Sprintf("it has KCV %s under epoch %d, the link has %s", got.KCV, k.Epoch, k.KCV)
		}
	}
	return ""
}

// worst is the gravest trouble: that of an awaited node, or another key at any
// node.
func (s Snapshot) worst(waits []Wait) Wait {
	var worst Wait
	for _, w := range waits {
		if worst.Node == "" || w.rank > worst.rank {
			worst = w
		}
	}
	for _, n := range s.State.Nodes() {
		r, ok := s.Report(n)
		if m := s.State.mismatch(r); ok && m != "" && worst.rank < another {
			worst = Wait{Node: n, Fault: "mismatch", Message: m, Present: slices.Contains(s.Present, n), rank: another}
		}
	}
	return worst
}

// aside is trouble at a node that nothing waits for: it could not put its keys
// back after a restart, say. A lost epoch is told otherwise.
func (s Snapshot) aside() Wait {
	for _, n := range s.State.Nodes() {
		r, ok := s.Report(n)
		lost := slices.ContainsFunc(s.State.Lost, func(l Loss) bool { return l.Node == n })
		if ok && r.Turn == s.State.Asked(n) && r.Fault != "" && !lost {
			return Wait{Node: n, Fault: r.Fault, Message: r.Message, Present: slices.Contains(s.Present, n), rank: rankOf(r.Fault)}
		}
	}
	return Wait{}
}
