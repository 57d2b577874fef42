package haproxy

import (
	"fmt"
	"slices"

	"github.com/keyorch/keyorch/keychain"
)

// goal is what a ring is to be: which of our keys it accepts, and which it seals
// with. Keys of strangers are not counted. A goal that seals with none of ours is a
// ring that goes on sealing with a stranger's.
type goal struct {
	accepts []keychain.Ref // by epoch
	sends   keychain.Ref
}

func (g goal) reached(r ring) bool {
	return slices.Equal(r.accepts(), g.accepts) && r.sends() == g.sends
}

// withKey accepts ref beside what r accepts.
func withKey(r ring, ref keychain.Ref) goal {
	return goal{accepts: sorted(append(r.accepts(), ref)), sends: r.sends()}
}

// without accepts what r accepts but for the keys of that epoch.
func without(r ring, e keychain.Epoch) goal {
	rest := slices.DeleteFunc(r.accepts(), func(a keychain.Ref) bool { return a.Epoch == e })
	return goal{accepts: rest, sends: r.sends()}
}

// plan says what is to be pushed next on the shortest way from r to g, given the
// names of keys at hand; false when no pushes lead there.
//
// On the way every ring seals with what r seals with or g says, and never goes back
// from the latter; and it accepts whatever both r and g do. A stranger's key is as
// good as another: nobody was promised any of them.
func plan(r ring, g goal, fresh ...name) (name, bool) {
	hand := append(slices.Clone(fresh), r[:]...)
	for length := 1; length <= slots; length++ {
		for _, n := range hand {
			if leads(r, r.pushed(n), g, hand, length-1) {
				return n, true
			}
		}
	}
	return name{}, false
}

// leads reports whether now is allowed on the way from start, and so many pushes
// more lead from it to g.
func leads(start, now ring, g goal, hand []name, more int) bool {
	if now.sends() != start.sends() && now.sends() != g.sends {
		return false
	}
	for _, ref := range g.accepts {
		if slices.Contains(start.accepts(), ref) && !slices.Contains(now.accepts(), ref) {
			return false
		}
	}
	if more == 0 {
		return g.reached(now)
	}
	for _, n := range hand {
		next := now.pushed(n)
		back := now.sends() == g.sends && next.sends() != g.sends
		if !back && leads(start, next, g, hand, more-1) {
			return true
		}
	}
	return false
}

// layout is a ring that is as g says, for the key file: such that pushes can carry
// on from it where a ring allows that. It seals with a stranger's key only if r
// does.
func layout(r ring, g goal) (ring, error) {
	middle := r[sealing]
	var others []name
	if !g.sends.IsZero() {
		middle = nameOf(g.sends)
	}
	for _, ref := range g.accepts {
		if ref != g.sends {
			others = append(others, nameOf(ref))
		}
	}
	switch len(others) {
	case 0:
		return ring{middle, middle, middle}, nil
	case 1:
		if others[0].ref().Epoch < g.sends.Epoch { // the next to go
			return ring{others[0], middle, middle}, nil
		}
		return ring{middle, middle, others[0]}, nil
	case 2:
		return ring{others[0], middle, others[1]}, nil
	}
	return ring{}, fmt.Errorf("the ring has three places, and %v are asked for", g.accepts)
}
