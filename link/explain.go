package link

import (
	"cmp"
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
	if worst.Node == "" && gate.OK() {
		worst = s.aside()
	}
	x.Reason, x.Next, x.Command = s.reason(worst, gate), s.next(ready, gate), s.command(id, worst, gate)
	if st.Phase == Steady && (worst.Node == "" || st.NeedsEpoch()) {
		rest := s.atRest(id)
		x.Reason, x.Next, x.Command = cmp.Or(x.Reason, rest.reason), cmp.Or(rest.next, x.Next), rest.command
	}
	x.Summary = s.summary(id, x.Reason) + s.asides(x.Reason)
	return x
}

// reason is what holds the link, the gravest first.
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
	case worst.Node != "" && worst.For == "":
		return fmt.Sprintf("%s is in trouble: %s", worst.Node, worst.Message)
	case worst.Node != "":
		return fmt.Sprintf("waiting for %s %s: %s%s", worst.Node, worst.For, worst.Message, more)
	case !gate.OK():
		return gate.Reason
	case s.overdue():
		return "every node has confirmed, and the next step is due: is a worker running?"
	case st.Phase != Steady && st.NeedsEpoch():
		return fmt.Sprintf("%s lost the counter of epoch %d and sends nothing", st.losers(st.To), st.To.Epoch)
	}
	return ""
}

// dueAfter is how long a worker that is there takes at most to take a step.
const dueAfter = 15 * time.Second

// overdue reports whether the link waits for nobody but its worker, and has for
// some time.
func (s Snapshot) overdue() bool {
	due := s.State.Since
	if s.State.Phase == Draining {
		due = due.Add(s.Drain)
	}
	for _, r := range s.Reports {
		if r.At.After(due) {
			due = r.At
		}
	}
	for _, q := range s.Quieted {
		if until := q.Since.Add(s.Quiet); s.State.Phase == Draining && until.After(due) {
			due = until
		}
	}
	return s.State.Phase != Steady && len(s.State.Awaiting) == 0 && s.Now.After(due.Add(dueAfter))
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
func (s Snapshot) next(ready Event, gate Refusal) string {
	st := s.State
	when := "when every awaited node has confirmed"
	if ready != nil {
		when = "now"
	}
	switch st.Phase {
	case Staging:
		switch {
		case gate.Gate == "inside-window":
			when = "when the window opens" + s.opening()
		case len(st.Awaiting) == 0 && ready == nil:
			when = "when the gate opens"
		case s.closed():
			when += ", and the window opens" + s.opening()
		}
		return fmt.Sprintf("upstream sends with epoch %d %s", st.To.Epoch, when)
	case Switching:
		switch {
		case st.From.IsZero() || st.Restaging():
			return fmt.Sprintf("the link is Steady on epoch %d %s", st.To.Epoch, when)
		case s.Quiet > 0:
			return fmt.Sprintf("epoch %d is drained for %v, and until no packet under it has come for %v, %s", st.From.Epoch, s.Drain, s.Quiet, when)
		}
		return fmt.Sprintf("epoch %d is drained for %v, %s", st.From.Epoch, s.Drain, when)
	case Draining:
		switch until := st.Since.Add(s.Drain); {
		case s.Now.Before(until):
			when = "at " + until.Format(time.RFC3339)
			if s.Quiet > 0 {
				when += " if no packet under it has come for " + s.Quiet.String()
			}
		case gate.Gate == "drain-quiet" && !gate.Until.IsZero():
			when = "when no packet under it has come for " + s.Quiet.String() + ", at " + gate.Until.Format(time.RFC3339) + " at the earliest"
		case ready == nil:
			when = "when the gate opens"
		}
		return fmt.Sprintf("downstream forgets epoch %d %s", st.From.Epoch, when)
	case Retiring:
		return fmt.Sprintf("the link is Steady on epoch %d %s", st.To.Epoch, when)
	case Steady:
	}
	if len(s.Maintained) > 0 {
		return "nothing begins before the maintenance is over: " + strings.Join(s.Maintained, "; ")
	}
	return ""
}

// opening is when the window opens, as far as that is known.
func (s Snapshot) opening() string {
	if s.ClosedUntil.IsZero() {
		return ""
	}
	return " at " + s.ClosedUntil.Format(time.RFC3339)
}

// command is what an operator can do about the gravest trouble.
func (s Snapshot) command(id keychain.LinkID, worst Wait, gate Refusal) string {
	st := s.State
	var help string
	switch {
	case worst.rank == lostKey:
		return fmt.Sprintf("restart the device of %s: it is silent then, and the link goes on and gets a new epoch", worst.Node)
	case worst.Node != "" && !worst.Present:
		help = fmt.Sprintf("start the agent of node %s", worst.Node)
	case worst.rank >= failing && worst.rank != another:
		help = fmt.Sprintf("look at node %s and what it says", worst.Node)
	case worst.rank == another:
		help = fmt.Sprintf("find out which key %s unwrapped", worst.Node)
	case gate.Gate == "drain-quiet" && !gate.Until.IsZero():
		watched := slices.ContainsFunc(s.Quieted, func(q Quieted) bool { return q.Node == gate.Node && q.Epoch == st.From.Epoch })
		if !watched || s.Now.Before(st.Since.Add(s.Drain+s.Quiet)) {
			return "" // nothing stands in the way but time
		}
		help = fmt.Sprintf("find out who still sends to %s with epoch %d", gate.Node, st.From.Epoch)
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
		return fmt.Sprintf("upstream sends with epoch %d, which every downstream node has confirmed", s.To.Epoch)
	}
	return fmt.Sprintf("every downstream node accepts epochs %d and %d", min(s.From.Epoch, s.To.Epoch), max(s.From.Epoch, s.To.Epoch))
}
