package link

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyorch/keyorch/keychain"
)

// ErrRefused is wrapped by Step for an event that the state does not allow.
var ErrRefused = errors.New("refused")

// ErrMismatch is wrapped by Step for a node that reports another key than the
// one that the link knows under that epoch. The link is held.
var ErrMismatch = errors.New("mismatch")

// Step applies one event. It is the only place where a link changes phase. On
// error the state is unchanged; late and repeated events change nothing and are
// no error. Errors wrap ErrRefused or ErrMismatch.
func Step(s State, e Event) (State, error) {
	switch e := e.(type) {
	case Rotate:
		return s.rotate(e)
	case Reported:
		return s.reported(e)
	case Cleared:
		switch {
		case s.Phase != Staging || e.Turn != s.Turn:
			return s, nil // late
		case len(s.Awaiting) > 0:
			return s, refuse("%s still has to confirm that it accepts %v", s.Awaiting[0], s.To.Ref)
		}
		return s.enter(Switching, e.At), nil
	case Drained:
		if s.Phase != Draining || e.Turn != s.Turn {
			return s, nil // late
		}
		return s.enter(Retiring, e.At), nil
	case Abort:
		return s.abort(e)
	case Members:
		return s.members(e)
	}
	return s, refuse("no such event: %T", e)
}

func refuse(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, a...))
}

func (s State) rotate(e Rotate) (State, error) {
	switch {
	case s.Phase != Steady:
		return s, refuse("a rotation to epoch %d is under way (%v)", s.To.Epoch, s.Phase)
	case e.Epoch <= s.Highest:
		return s, refuse("epoch %d is not above %d, the highest ever used", e.Epoch, s.Highest)
	case len(s.Upstream) == 0 || len(s.Downstream) == 0:
		return s, refuse("the link has an empty side")
	}
	s.From = s.To
	s.To = Key{Ref: keychain.Ref{Epoch: e.Epoch}, Serial: s.From.Serial.Next()}
	if s.From.IsZero() { // downstream may hold a first key that was aborted
		s.To.Serial = keychain.Serial(e.Epoch)
	}
	s.Highest = e.Epoch
	return s.enter(Staging, e.At), nil
}

// wrongKey is the fault kind of a node that has another key than the one that it
// unwrapped.
const wrongKey = "mismatch"

// reported takes in a report: losses at any Turn, since a lost counter stays
// lost; everything else only at the Turn of the node's present order.
func (s State) reported(e Reported) (State, error) {
	up, down := slices.Contains(s.Upstream, e.Node), slices.Contains(s.Downstream, e.Node)
	old := s
	if up {
		s.Lost = s.withLosses(e.Node, e.Lost)
	}
	if !up && !down || e.Turn != s.Asked(e.Node) {
		return s, nil // late, or not ours
	}
	if e.Fault == wrongKey {
		return s, nil // what it has is not what it unwrapped: it confirms nothing, and teaches nobody
	}
	var err error
	if down {
		for _, a := range e.Accepts {
			if s, err = s.learn(e.Node, a); err != nil {
				return old, err
			}
		}
	}
	if up {
		if s, err = s.learn(e.Node, e.Sends); err != nil {
			return old, err
		}
	}
	switch {
	case slices.Contains(s.Awaiting, e.Node) && s.satisfied(e.Report):
		s = s.confirm(e.Node, e.At)
	case up && s.stranded(e.Report):
		reason := fmt.Sprintf("%s lost epoch %d before it switched to it", e.Node, s.To.Epoch)
		return s.exchange(reason).enter(Switching, e.At), nil
	}
	return s, nil
}

// stranded reports whether r shows a node that still sends with From and can
// never send with To: an agent that was killed between writing down a sending
// key and switching to it does not know whether it was used. Waiting for it is
// waiting for ever, so the link turns round, unless the way back is lost too.
func (s State) stranded(r keychain.Report) bool {
	return s.Phase == Switching && !s.Restaging() && !s.lost(s.From.Epoch) && !s.From.Bare &&
		!s.From.IsZero() && r.Sends.Epoch == s.From.Epoch && s.lostBy(r.Node, s.To.Epoch)
}

// learn writes down the KCV of From or To when the first node reports it, and
// refuses a different one ever after. Other epochs are none of its business.
func (s State) learn(n keychain.NodeID, r keychain.Ref) (State, error) {
	for _, k := range []*Key{&s.From, &s.To} {
		if k.IsZero() || k.Epoch != r.Epoch || r.KCV == "" {
			continue
		}
		if k.KCV != "" && k.KCV != r.KCV {
			return s, fmt.Errorf("%w: %s has another key under epoch %d: its KCV is %s, the link's is %s",
				ErrMismatch, n, r.Epoch, r.KCV, k.KCV)
		}
		k.KCV = r.KCV
	}
	return s, nil
}

// satisfied reports whether r shows the order of this phase obeyed. A KCV that
// the device did not give proves nothing.
func (s State) satisfied(r keychain.Report) bool {
	accepts := func(k Key) bool { return k.IsZero() || r.Accepted(k.Epoch).KCV != "" }
	// Nobody waits for a node to get a key back that nobody can give it.
	keeps := func(k Key) bool { return accepts(k) || k.Bare && r.Accepted(k.Epoch).IsZero() }
	switch s.Phase {
	case Staging:
		return keeps(s.From) && accepts(s.To)
	case Switching:
		silent := r.Sends.IsZero() && (s.lostBy(r.Node, s.To.Epoch) || s.To.Bare)
		return silent || r.Sends.Epoch == s.To.Epoch && r.Sends.KCV != ""
	case Retiring:
		// Nor for one without it to forget the last key that it has: it does with the next.
		without := s.To.Bare && r.Accepted(s.To.Epoch).IsZero()
		return without || keeps(s.To) && r.Accepted(s.From.Epoch).IsZero()
	case Steady, Draining:
	}
	return false
}

// confirm strikes n from the awaited nodes, and moves on after the last one,
// except out of Staging: upstream switches when the gates say so (Cleared).
func (s State) confirm(n keychain.NodeID, at time.Time) State {
	s.Awaiting = without(s.Awaiting, n)
	if len(s.Awaiting) > 0 {
		return s
	}
	switch s.Phase {
	case Switching:
		return s.enter(Draining, at)
	case Retiring:
		return s.enter(Steady, at)
	case Steady, Staging, Draining:
	}
	return s
}

func (s State) abort(e Abort) (State, error) {
	switch {
	case s.Phase == Steady:
		return s, refuse("there is nothing to abort: the link is Steady on epoch %d", s.To.Epoch)
	case s.Reverting:
		return s, refuse("it is already going back to epoch %d", s.To.Epoch)
	case s.Restaging():
		return s, refuse("there is nothing to go back to: epoch %d is being staged again", s.To.Epoch)
	case s.Phase == Retiring:
		return s, refuse("it is too late: epoch %d is being forgotten; rotate again instead", s.From.Epoch)
	case s.lost(s.From.Epoch) && s.Phase != Staging:
		return s, refuse("epoch %d is lost: a node restarted, and sending with it again would repeat its counter", s.From.Epoch)
	case s.From.IsZero() && s.Phase != Staging:
		return s, refuse("there is nothing to go back to: epoch %d is the link's first key", s.To.Epoch)
	case s.From.Bare && s.Phase != Staging:
		return s, refuse("there is no way back: the link was recovered, and not all of its nodes have epoch %d", s.From.Epoch)
	}
	s = s.exchange(e.Reason)
	switch {
	case s.To.IsZero(): // nobody sends the first key, and nobody has another
		return s.enter(Steady, e.At), nil
	case s.Phase == Staging: // nobody sends the new key, so nothing can be in flight
		return s.enter(Retiring, e.At), nil
	}
	return s.enter(Switching, e.At), nil
}

// exchange turns the rotation round: what it came from is where it goes. Turned
// twice it goes forward again.
func (s State) exchange(reason string) State {
	s.From, s.To, s.Reverting, s.Reason = s.To, s.From, !s.Reverting, reason
	if !s.Reverting {
		s.Reason = ""
	}
	return s
}

func (s State) members(e Members) (State, error) {
	up, down := sorted(e.Upstream), sorted(e.Downstream)
	added := !subset(up, s.Upstream) || !subset(down, s.Downstream)
	switch {
	case len(up) == 0 || len(down) == 0:
		return s, refuse("a link needs at least one node on each side")
	case slices.Equal(up, s.Upstream) && slices.Equal(down, s.Downstream):
		return s, nil
	case added && s.To.Bare:
		return s, refuse("nobody can supply epoch %d to a node that joins: rotate the link first", s.To.Epoch)
	case added && s.Phase != Steady && !s.Restaging():
		return s, refuse("a node joins when the link is Steady, not in %v: let the rotation end, or abort it", s.Phase)
	}
	s.Upstream, s.Downstream = up, down
	s.AcceptTurn, s.SendTurn = s.Turn, s.Turn // nodes that change sides must not see an older Turn

	s.Lost = keep(s.Lost, func(l Loss) bool { return slices.Contains(up, l.Node) })
	switch {
	case added && s.To.IsZero():
		return s, nil
	case added:
		s.From = s.To
		return s.enter(Staging, e.At), nil
	}
	side := down
	if s.Phase == Switching {
		side = up
	}
	for _, n := range s.Awaiting {
		if !slices.Contains(side, n) {
			s = s.confirm(n, e.At)
		}
	}
	return s, nil
}

// enter goes to phase p with a new Turn. Where there is no other key to drain
// and forget, it passes through to Steady.
func (s State) enter(p Phase, at time.Time) State {
	if p == Draining && (s.From.IsZero() || s.Restaging()) {
		p = Steady
	}
	s.Phase, s.Awaiting, s.Since = p, nil, at
	s.Turn++
	switch p {
	case Staging, Retiring:
		s.Awaiting, s.AcceptTurn = s.Downstream, s.Turn
	case Switching:
		s.Awaiting, s.SendTurn = s.Upstream, s.Turn
	case Steady:
		if s.To.IsZero() { // the first key was taken back: nobody is asked for anything
			s.AcceptTurn, s.SendTurn = s.Turn, s.Turn
		}

		s.From, s.Reverting, s.Reason = Key{}, false, ""
	case Draining:
	}
	s.Lost = keep(s.Lost, func(l Loss) bool { return l.Epoch == s.From.Epoch || l.Epoch == s.To.Epoch })
	return s
}

// withLosses is the losses known, and those of n among epochs that still matter.
func (s State) withLosses(n keychain.NodeID, epochs []keychain.Epoch) []Loss {
	lost := slices.Clone(s.Lost)
	for _, e := range epochs {
		if e != 0 && (e == s.From.Epoch || e == s.To.Epoch) {
			lost = append(lost, Loss{Node: n, Epoch: e})
		}
	}
	slices.SortFunc(lost, func(a, b Loss) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Epoch, b.Epoch))
	})
	return slices.Compact(lost)
}

func without(ids []keychain.NodeID, n keychain.NodeID) []keychain.NodeID {
	return keep(ids, func(id keychain.NodeID) bool { return id != n })
}

// keep is a new slice of what ok lets through; nil, not empty, for nothing, so
// that a State is the same after a trip through JSON.
func keep[T any](list []T, ok func(T) bool) []T {
	var out []T
	for _, x := range list {
		if ok(x) {
			out = append(out, x)
		}
	}
	return out
}

func subset(a, b []keychain.NodeID) bool {
	return !slices.ContainsFunc(a, func(id keychain.NodeID) bool { return !slices.Contains(b, id) })
}
