package link

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/keychain"
)

// Explanation is the operator's answer to "why": what a link waits for, why that
// is safe, what happens next by itself, and what would help.
type Explanation struct {
	Link  keychain.LinkID `json:"link"`
	Phase Phase           `json:"phase"`
	// Summary is the whole answer in one sentence.
	Summary string `json:"summary"`
	// Reason is what holds the link, short enough for a table; empty when nothing
	// does.
	Reason   string  `json:"reason,omitempty"`
	Awaiting []Wait  `json:"awaiting,omitempty"`
	Gate     Refusal `json:"gate,omitzero"`
	// Next is what happens next with nobody doing anything.
	Next string `json:"next,omitempty"`
	// Command is what unblocks the link; empty when nothing stands in its way but
	// time.
	Command string `json:"command,omitempty"`
}

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

// Explain says why a link stands where it stands. It asks the gates (Check) when
// the link stands before one.
func Explain(id keychain.LinkID, s Snapshot) Explanation {
	st := s.State
	x := Explanation{Link: id, Phase: st.Phase}
	for _, n := range st.Awaiting {
		x.Awaiting = append(x.Awaiting, s.wait(n))
	}
	ready, gate := Check(s)
	x.Gate = gate
	worst := s.worst(x.Awaiting)
	x.Reason = s.reason(worst, gate)
	x.Next = s.next(ready)
	x.Command = s.command(id, worst, gate)
	x.Summary = s.summary(id, x.Reason)
	return x
}

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
	current := ok && r.Turn == st.Turn
	switch {
	case current && st.lostBy(n, st.To.Epoch) && !r.Sends.IsZero() && r.Sends.Epoch != st.To.Epoch:
		w.rank, w.Message = lostKey, fmt.Sprintf("it sends with epoch %d and may never use epoch %d", r.Sends.Epoch, st.To.Epoch)
	case current && r.Fault != "":
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
	if r.Turn != s.Turn {
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

func (s Snapshot) reason(worst Wait, gate Refusal) string {
	st := s.State
	more := ""
	if n := len(st.Awaiting) - 1; n > 0 && slices.Contains(st.Awaiting, worst.Node) {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	switch {
	case worst.rank == another:
		if has, ok := strings.CutPrefix(worst.Message, "it has "); ok {
			return fmt.Sprintf("KCV mismatch: %s has %s%s", worst.Node, has, more)
		}
		return fmt.Sprintf("KCV mismatch: %s: %s%s", worst.Node, worst.Message, more)
	case worst.rank == refused:
		return fmt.Sprintf("%s refused: %s%s", worst.Node, worst.Message, more)
	case worst.rank == lostKey:
		return fmt.Sprintf("%s is stranded: %s%s", worst.Node, worst.Message, more)
	case worst.Node != "":
		return fmt.Sprintf("waiting for %s %s: %s%s", worst.Node, worst.For, worst.Message, more)
	case !gate.OK():
		return gate.Reason
	case st.NeedsEpoch():
		return fmt.Sprintf("%s lost the counter of epoch %d and sends nothing", st.losers(st.To), st.To.Epoch)
	case st.Phase == Steady && st.To.IsZero():
		return "no key yet"
	}
	return ""
}

// losers names the nodes that may not send with k any more.
func (s State) losers(k Key) string {
	var nodes []string
	for _, l := range s.Lost {
		if l.Epoch == k.Epoch {
			nodes = append(nodes, string(l.Node))
		}
	}
	return strings.Join(nodes, ", ")
}

// next is what comes by itself, once what is awaited is there.
func (s Snapshot) next(ready Event) string {
	st := s.State
	when := "when every awaited node has confirmed"
	if ready != nil {
		when = "now"
	}
	switch st.Phase {
	case Staging:
		if len(st.Awaiting) == 0 && ready == nil {
			when = "when the gate opens"
		}
		return fmt.Sprintf("upstream sends with epoch %d %s", st.To.Epoch, when)
	case Switching:
		if st.From.IsZero() || st.Restaging() {
			return fmt.Sprintf("the link is Steady on epoch %d %s", st.To.Epoch, when)
		}
		return fmt.Sprintf("epoch %d is drained for %v, %s", st.From.Epoch, s.Drain, when)
	case Draining:
		switch until := st.Since.Add(s.Drain); {
		case s.Now.Before(until):
			when = "at " + until.Format(time.RFC3339)
		case ready == nil:
			when = "when the gate opens"
		}
		return fmt.Sprintf("downstream forgets epoch %d %s", st.From.Epoch, when)
	case Retiring:
		return fmt.Sprintf("the link is Steady on epoch %d %s", st.To.Epoch, when)
	case Steady:
	}
	if st.NeedsEpoch() {
		return "the link gets a new epoch at once"
	}
	return ""
}

// command is what an operator can do about the gravest trouble.
func (s Snapshot) command(id keychain.LinkID, worst Wait, gate Refusal) string {
	st := s.State
	var help string
	switch {
	case worst.rank == lostKey:
		return fmt.Sprintf("restart the device of %s: it is silent then, and the link goes on and gets a new epoch", worst.Node)
	case st.Phase == Steady && (st.NeedsEpoch() || st.To.IsZero()):
		return fmt.Sprintf("keyorch rotate %s", id)
	case worst.Node != "" && !worst.Present:
		help = fmt.Sprintf("start the agent of node %s", worst.Node)
	case worst.rank >= failing && worst.rank != another:
		help = fmt.Sprintf("look at the device of %s", worst.Node)
	case worst.rank == another:
		help = fmt.Sprintf("find out which key %s unwrapped", worst.Node)
	case gate.Node != "" && !slices.Contains(s.Present, gate.Node):
		help = fmt.Sprintf("start the agent of node %s", gate.Node)
	case gate.Node != "":
		help = fmt.Sprintf("look at the device of %s", gate.Node)
	default:
		return ""
	}
	if _, err := Step(st, Abort{}); err == nil {
		help += fmt.Sprintf(", or go back: keyorch abort %s", id)
	}
	return help
}

// summary is the phase, why it lasts, and why that harms nobody.
func (s Snapshot) summary(id keychain.LinkID, reason string) string {
	st := s.State
	if st.Phase == Steady {
		switch {
		case reason != "":
			return fmt.Sprintf("%s is Steady: %s", id, reason)
		}
		return fmt.Sprintf("%s is Steady: every node uses epoch %v", id, st.To.Ref)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s is %v %s", id, st.Phase, st.course())
	if reason != "" {
		fmt.Fprintf(&b, ": %s", reason)
	}
	fmt.Fprintf(&b, "; %s", st.calm())
	return b.String()
}

// course is where a rotation leads.
func (s State) course() string {
	switch {
	case s.Restaging():
		return fmt.Sprintf("epoch %d again for changed nodes", s.To.Epoch)
	case s.Reverting && s.Reason != "":
		return fmt.Sprintf("on its way back to epoch %d (%s)", s.To.Epoch, s.Reason)
	case s.Reverting:
		return fmt.Sprintf("on its way back to epoch %d", s.To.Epoch)
	case s.From.IsZero():
		return fmt.Sprintf("its first key, epoch %d", s.To.Epoch)
	}
	return fmt.Sprintf("on its way from epoch %d to %d", s.From.Epoch, s.To.Epoch)
}

// calm says why the phase is safe for as long as it lasts.
func (s State) calm() string {
	switch {
	case s.Restaging():
		return fmt.Sprintf("epoch %d stays in use", s.To.Epoch)
	case s.From.IsZero() && s.Phase == Staging:
		return "nobody sends before every downstream node accepts it"
	case s.From.IsZero():
		return "every downstream node accepts it"
	case s.Phase == Staging && s.lost(s.From.Epoch):
		return fmt.Sprintf("the old key, epoch %d, stays in use, but %s lost its counter and is silent until then", s.From.Epoch, s.losers(s.From))
	case s.Phase == Staging:
		return fmt.Sprintf("the old key, epoch %d, stays in use", s.From.Epoch)
	case s.Phase == Retiring:
		return fmt.Sprintf("upstream sends with epoch %d, which every downstream node accepts", s.To.Epoch)
	}
	return fmt.Sprintf("every downstream node accepts epochs %d and %d", min(s.From.Epoch, s.To.Epoch), max(s.From.Epoch, s.To.Epoch))
}
