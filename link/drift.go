package link

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/keyorch/keyorch/keychain"
)

// DriftKind is in which way a node differs from what its link asks of it.
type DriftKind string

// The kinds of drift.
const (
	// WrongKCV is a node that has another key than the link under its epoch.
	WrongKCV DriftKind = "wrong-kcv"
	// MissingKey is a node that does not accept, or send with, a key that it had.
	MissingKey DriftKind = "missing-key"
	// UnexpectedKey is a node that accepts a key that nobody should use.
	UnexpectedKey DriftKind = "unexpected-key"
	// OldEpoch is a node that sends with a key that the link has left.
	OldEpoch DriftKind = "old-epoch"
	// TurnWentBack is a node that has obeyed a higher Turn than the link's: the
	// record is an old one, as after etcd was restored from a copy.
	TurnWentBack DriftKind = "turn-went-back"
	// LostCounter is a sender that may not use its key any more (see Loss).
	LostCounter DriftKind = "lost-counter"
)

// DriftKinds lists all kinds, the gravest first.
func DriftKinds() []DriftKind {
	return []DriftKind{TurnWentBack, WrongKCV, OldEpoch, LostCounter, MissingKey, UnexpectedKey}
}

// Finding is one difference between what a node reported and what is asked of it.
type Finding struct {
	Node keychain.NodeID `json:"node"`
	Kind DriftKind       `json:"kind"`
	// Epoch is the key that it is about; zero for no one key.
	Epoch   keychain.Epoch `json:"epoch,omitempty"`
	Message string         `json:"message"`
	// Repairable says that the node's standing order, or the new epoch that follows
	// by itself, puts it right with nobody doing anything.
	Repairable bool `json:"repairable"`
}

// Drift compares what the nodes of a link last reported with what s asks of them,
// in any phase, the gravest first, then by node and epoch. Reports has at most one
// report a node; nodes that are not the link's are none of its business, and one
// that reported nothing has nothing wrong.
//
// A node is held only to what it had been asked for before and, apart from the
// Turn, keys of another value and lost counters, only by a report of the present
// Turn. What a phase awaits is no drift. The reports must not be newer than s: a
// node that obeyed a Turn that the caller has not read yet looks like
// TurnWentBack.
func Drift(s State, reports []keychain.Report) []Finding {
	var found []Finding
	for _, r := range reports {
		up, down := slices.Contains(s.Upstream, r.Node), slices.Contains(s.Downstream, r.Node)
		if !up && !down {
			continue
		}
		if r.Turn > s.Turn {
			found = append(found, Finding{Node: r.Node, Kind: TurnWentBack, Message: fmt.Sprintf(
				"%s has obeyed turn %d, the link is at turn %d: was etcd put back or emptied?", r.Node, r.Turn, s.Turn)})
			continue
		}
		i := inspector{s: s, r: r}
		i.values(up, down)
		if up {
			i.s.Lost = s.withLosses(r.Node, r.Lost)
			i.losses()
		}
		if down && r.Turn == s.Asked(r.Node) {
			i.accepting()
		}
		if up && r.Turn == s.Asked(r.Node) {
			i.sending()
		}
		found = append(found, i.found...)
	}
	kinds := DriftKinds()
	slices.SortFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)),
			cmp.Compare(a.Node, b.Node), cmp.Compare(a.Epoch, b.Epoch))
	})
	return slices.Compact(found)
}

// inspector looks at one report.
type inspector struct {
	s     State
	r     keychain.Report
	found []Finding
}

func (i *inspector) find(kind DriftKind, e keychain.Epoch, format string, a ...any) {
	f := Finding{Node: i.r.Node, Kind: kind, Epoch: e, Message: fmt.Sprintf(format, a...)}
	switch kind {
	case LostCounter:
		f.Repairable = true
	case MissingKey, UnexpectedKey, OldEpoch:
		f.Repairable = rankOf(i.r.Fault) < refused
		if i.r.Message != "" {
			f.Message += ": " + i.r.Message
		}
	case WrongKCV, TurnWentBack:
	}
	i.found = append(i.found, f)
}

// values looks for another key under an epoch of the link: no report of any Turn
// can be right about that.
func (i *inspector) values(up, down bool) {
	var refs []keychain.Ref
	if down {
		refs = slices.Clone(i.r.Accepts)
	}
	if up {
		refs = append(refs, i.r.Sends)
	}
	for _, k := range []Key{i.s.From, i.s.To} {
		for _, got := range refs {
			if !k.IsZero() && got.Epoch == k.Epoch && !got.Agrees(k.Ref) {
				i.find(WrongKCV, k.Epoch, "%s has KCV %s under epoch %d, the link has %s", i.r.Node, got.KCV, k.Epoch, k.KCV)
			}
		}
	}
	if len(i.found) == 0 && i.r.Fault == wrongKey && i.r.Turn == i.s.Asked(i.r.Node) {
		i.find(WrongKCV, 0, "%s has another key than the link: %s", i.r.Node, cmp.Or(i.r.Message, "it does not say which"))
	}
}

// losses are those of the key that the link is on or is going to. One of From is
// on its way out.
func (i *inspector) losses() {
	if e := i.s.To.Epoch; i.s.lostBy(i.r.Node, e) {
		i.find(LostCounter, e, "%s lost the counter of epoch %d and may not send with it", i.r.Node, e)
	}
}

// accepting compares what the node accepts.
func (i *inspector) accepting() {
	s, n := i.s, i.r.Node
	for _, k := range s.due(n) {
		if i.r.Accepted(k.Epoch).IsZero() {
			i.find(MissingKey, k.Epoch, "%s does not accept epoch %d", n, k.Epoch)
		}
	}
	if s.To.IsZero() || slices.Contains(s.Awaiting, n) {
		return // nobody asked it to forget, or it is at it
	}
	for _, a := range i.r.Accepts {
		if a.Epoch != s.From.Epoch && a.Epoch != s.To.Epoch {
			i.find(UnexpectedKey, a.Epoch, "%s accepts epoch %d, which nobody should use", n, a.Epoch)
		}
	}
}

// due is what downstream node n accepts by now, whatever it is still awaited for.
func (s State) due(n keychain.NodeID) []Key {
	awaited := slices.Contains(s.Awaiting, n)
	var keys []Key
	switch {
	case s.Phase == Staging && awaited && s.Restaging():
	case s.Phase == Staging && awaited:
		keys = []Key{s.From}
	case s.Phase == Steady, s.Phase == Retiring, s.Restaging():
		keys = []Key{s.To}
	default:
		keys = []Key{s.From, s.To}
	}
	return keep(keys, func(k Key) bool { return !k.IsZero() })
}

// sending compares what the node sends with.
func (i *inspector) sending() {
	s, n, got := i.s, i.r.Node, i.r.Sends
	want, awaited := s.To, slices.Contains(s.Awaiting, n)
	if s.Phase == Staging {
		want = s.From
	}
	switch {
	case s.To.IsZero(), got.Epoch == want.Epoch:
	case s.Restaging() && (s.Phase == Staging || awaited): // it may be new to the link
	case awaited && (got.IsZero() || got.Epoch == s.From.Epoch):
	case got.IsZero() && s.lostBy(n, want.Epoch): // told already
	case got.IsZero():
		i.find(MissingKey, want.Epoch, "%s does not send with epoch %d", n, want.Epoch)
	case want.IsZero():
		i.find(OldEpoch, got.Epoch, "%s sends with epoch %d, and nobody should send yet", n, got.Epoch)
	default:
		i.find(OldEpoch, got.Epoch, "%s sends with epoch %d, not with %d", n, got.Epoch, want.Epoch)
	}
}
