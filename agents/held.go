package agents

import (
	"cmp"
	"slices"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// given is the keys that an order gives to its node.
func given(o store.Order) []store.Held {
	var held []store.Held
	for _, w := range o.Accept {
		held = append(held, store.Held{Ref: w.Ref, Accepts: true})
	}
	if !o.Send.IsZero() {
		held = append(held, store.Held{Ref: o.Send.Ref, Sends: true})
	}
	return together(nil, held)
}

// together is what both name, sorted by epoch, each epoch once.
func together(a, b []store.Held) []store.Held {
	all := slices.Concat(a, b)
	slices.SortStableFunc(all, func(a, b store.Held) int { return cmp.Compare(a.Epoch, b.Epoch) })
	var out []store.Held
	for _, h := range all {
		last := len(out) - 1
		if last < 0 || out[last].Epoch != h.Epoch {
			out = append(out, h)
			continue
		}
		out[last].KCV = cmp.Or(out[last].KCV, h.KCV)
		out[last].Accepts, out[last].Sends = out[last].Accepts || h.Accepts, out[last].Sends || h.Sends
	}
	return out
}

// heldAfter is what the node still has of what it was given, by the journal and by the
// report that was written last. A report of the same Turn knows of receipts that the
// journal has not heard of; an older one does not know of the last order.
func (e entry) heldAfter(o store.Observation) []store.Held {
	if o.Turn >= e.Turn && len(o.Held) > 0 {
		return slices.Clone(o.Held)
	}
	return together(e.Held, o.Held)
}

// names reports whether o asks its node to have the key of epoch.
func names(o store.Order, epoch keychain.Epoch) bool {
	return o.Send.Epoch == epoch || slices.ContainsFunc(o.Accept, func(w store.Wanted) bool { return w.Epoch == epoch })
}
