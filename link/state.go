package link

import (
	"cmp"

	"fmt"
	"slices"
	"time"

	"github.com/keyorch/keyorch/keychain"
)

// Phase is where the rotation of a link stands.
type Phase uint8

// The phases, in the order in which a rotation passes them.
const (
	Steady    Phase = iota // every node uses To; there is no From
	Staging                // downstream learns to accept To beside From
	Switching              // upstream changes to sending To
	Draining               // traffic keyed with From may still be in flight
	Retiring               // downstream forgets From
)

// Phases lists all phases in order.
func Phases() []Phase { return []Phase{Steady, Staging, Switching, Draining, Retiring} }

var phaseNames = [...]string{"Steady", "Staging", "Switching", "Draining", "Retiring"}

// String is the phase as operators see it.
func (p Phase) String() string {
	if int(p) >= len(phaseNames) {
		return fmt.Sprintf("Phase(%d)", p)
	}
	return phaseNames[p]
}

// MarshalText writes the phase by name.
func (p Phase) MarshalText() ([]byte, error) {
	if int(p) >= len(phaseNames) {
		return nil, fmt.Errorf("link: no phase %d", p)
	}
	return []byte(phaseNames[p]), nil
}

// UnmarshalText reads a phase by name.
func (p *Phase) UnmarshalText(text []byte) error {
	i := slices.Index(phaseNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("link: no phase %q", text)
	}
	*p = Phase(i)
	return nil
}

// Key is one generation of the link's key: its name, and the Serial from which
// the numbers on the wire are made.
type Key struct {
	keychain.Ref
	Serial keychain.Serial `json:"serial"`
	// Bare says that nobody can be given this key: the record was rebuilt from what
	// nodes hold (package recovery), and nobody has the wrapped key any more, or the
	// key is on its way out. Who has such a key keeps it, who has lost it waits for the
	// next epoch, nobody waits for whoever has lost it, and no rotation goes back to it.
	Bare bool `json:"bare,omitempty"`
}

// Loss is a sending key that a node must never use again: its counter is lost
// (see keychain.Capabilities.CounterBound).
type Loss struct {
	Node  keychain.NodeID `json:"node"`
	Epoch keychain.Epoch  `json:"epoch"`
}

// State is everything that the rotation of one link knows. It is plain data:
// what the store keeps, what a workflow carries, what the model checker visits.
// Only Step makes new ones, and it keeps the invariants below. Upstream and
// Downstream are the nodes that are counted on, not those that were declared: a
// node leaves them by Members, also where a quorum was enough (see Quorum), and
// from then on neither the invariants nor the promise speak of it, until the key
// has been staged for it again.
//
//  1. Epochs: To and From are at most Highest, and Highest never falls.
//  2. Turn rises on every phase entry and never falls.
//  3. From is zero in Steady. From and To are the same key only while it is
//     being staged again for a changed set of nodes.
//  4. Upstream, Downstream, Awaiting and Lost are sorted and free of repeats.
//  5. Awaiting is part of Downstream in Staging and Retiring, part of Upstream
//     in Switching, and empty in Steady and Draining.
//  6. A KCV, once learned, is not replaced.
//  7. AcceptTurn and SendTurn never fall and are at most Turn. The one of a side
//     rises when what that side is asked for changes, and when it is awaited; so
//     an order whose Turn stands still says the same.
type State struct {
	Phase   Phase          `json:"phase"`
	From    Key            `json:"from,omitzero"`
	To      Key            `json:"to,omitzero"`
	Highest keychain.Epoch `json:"highest"`
	Turn    keychain.Turn  `json:"turn"`
	// AcceptTurn and SendTurn are the Turns at which it last changed what downstream
	// accepts and upstream sends. Zero, in records from before there were any, is
	// Turn.
	AcceptTurn keychain.Turn     `json:"acceptTurn,omitempty"`
	SendTurn   keychain.Turn     `json:"sendTurn,omitempty"`
	Reverting  bool              `json:"reverting,omitempty"`
	Reason     string            `json:"reason,omitempty"` // why it is going back
	Upstream   []keychain.NodeID `json:"upstream"`
	Downstream []keychain.NodeID `json:"downstream"`
	Awaiting   []keychain.NodeID `json:"awaiting,omitempty"`
	Lost       []Loss            `json:"lost,omitempty"`
	Since      time.Time         `json:"since,omitzero"` // when this phase was entered
}

// New is a link that has no key yet.
func New(upstream, downstream []keychain.NodeID) State {
	return State{Upstream: sorted(upstream), Downstream: sorted(downstream)}
}

// Restaging reports whether the current key is being staged again for a
// changed set of nodes, rather than replaced.
func (s State) Restaging() bool { return !s.From.IsZero() && s.From.Epoch == s.To.Epoch }

// Asked is the Turn of the order of node n, which is that of its side, and of a
// node on both sides the later one. Zero for a node that is no part of the link.
func (s State) Asked(n keychain.NodeID) keychain.Turn {
	var asked keychain.Turn
	if slices.Contains(s.Downstream, n) {
		asked = cmp.Or(s.AcceptTurn, s.Turn)
	}
	if slices.Contains(s.Upstream, n) {
		asked = max(asked, cmp.Or(s.SendTurn, s.Turn))
	}
	return asked
}

// Nodes is every node of the link once, sorted.
func (s State) Nodes() []keychain.NodeID {
	return sorted(slices.Concat(s.Upstream, s.Downstream))
}

// Sends is the key that upstream may be counted on to send with at least until
// the phase's work is done: From until Switching has ended, To afterwards.
func (s State) Sends() Key {
	if (s.Phase == Staging || s.Phase == Switching) && !s.From.IsZero() {
		return s.From
	}
	if s.Phase == Staging || s.Phase == Switching {
		return Key{}
	}
	return s.To
}

// Next is the key that a rotation under way leads to; zero in Steady.
func (s State) Next() Key {
	if s.Phase == Steady {
		return Key{}
	}
	return s.To
}

// NeedsEpoch reports whether some upstream node has lost the key that the link
// is on, or is going to: it is silent until the link has a new epoch.
func (s State) NeedsEpoch() bool { return s.lost(s.To.Epoch) }

// Bereft is the first node that does not have the key that a Steady link is on,
// and that nobody can give it any more (see Key.Bare); empty for none. Like a
// lost counter, only a new epoch helps.
func (s State) Bereft(reports []keychain.Report) keychain.NodeID {
	if s.Phase != Steady || !s.To.Bare {
		return ""
	}
	for _, r := range reports {
		down, up := slices.Contains(s.Downstream, r.Node), slices.Contains(s.Upstream, r.Node)
		if r.Turn != s.Asked(r.Node) || !down && !up {
			continue
		}
		if down && r.Accepted(s.To.Epoch).IsZero() || up && r.Sends.IsZero() {
			return r.Node
		}
	}
	return ""
}

func (s State) lost(e keychain.Epoch) bool {
	return e != 0 && slices.ContainsFunc(s.Lost, func(l Loss) bool { return l.Epoch == e })
}

func (s State) lostBy(n keychain.NodeID, e keychain.Epoch) bool {
	return e != 0 && slices.Contains(s.Lost, Loss{Node: n, Epoch: e})
}

// sorted is a sorted copy of ids without repeats.
func sorted(ids []keychain.NodeID) []keychain.NodeID {
	out := slices.Clone(ids)
	slices.Sort(out)
	return slices.Compact(out)
}
