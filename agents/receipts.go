package agents

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/upstream"
)

// A receipt says that a key is destroyed here: the device was read back without it, this
// agent has wiped it, and the order that stands does not name it. It is written in one
// transaction with the report that leaves the key out of what the node holds. So an agent
// that is killed before writes it later, and nothing is written while any of the three is
// not so.

// inventory is what the node still has of what it was given, and what has turned out to be
// gone. A key that another node of the site still needs is in the agent's memory: e is
// looked at again when it is not.
func (a *attempt) inventory(e *errand, before store.Observation, err error) (held, gone []store.Held) {
	if a.book == nil {
		return before.Held, nil
	}
	held = a.identified(together(a.book.entry.heldAfter(before), given(a.order)), before)
	if !a.seen.whole || err != nil && !errors.Is(err, upstream.ErrLost) {
		return held, nil
	}
	kept := held[:0:0]
	for _, h := range held {
		switch {
		case names(a.order, h.Epoch) || !a.absent(h):
			kept = append(kept, h)
		case a.keys.holds(generation{a.order.Link, h.Epoch}, func() { a.reconsider(e) }):
			kept = append(kept, h)
		default:
			gone = append(gone, h)
		}
	}
	return kept, gone
}

// absent reports whether the device was read on each side on which it had h, and shows it
// on none.
func (a *attempt) absent(h store.Held) bool {
	is := func(r keychain.Ref) bool { return r.Epoch == h.Epoch }
	switch o := a.order; {
	case h.Accepts && len(o.Accept) == 0, h.Sends && o.Send.IsZero():
		return false // nobody looked there
	case slices.ContainsFunc(a.seen.down.Accepts, is), slices.ContainsFunc(a.seen.up.Holds, is):
		return false
	}
	return !is(a.seen.up.Sends)
}

// identified completes the KCVs, as the device shows them or has shown them.
func (a *attempt) identified(held []store.Held, before store.Observation) []store.Held {
	shown := slices.Concat(a.seen.down.Accepts, []keychain.Ref{a.seen.up.Sends}, a.seen.up.Holds, before.Accepts, []keychain.Ref{before.Sends})
	held = slices.Clone(held)
	for i, h := range held {
		for _, r := range shown {
			if held[i].KCV == "" && r.Epoch == h.Epoch {
				held[i].KCV = r.KCV
			}
		}
	}
	return held
}

// receipt is the record of a key that is gone.
func (a *attempt) receipt(h store.Held, now time.Time) audit.Record {
	var device []string
	if h.Accepts {
		device = append(device, "accepts "+list(a.seen.down.Accepts))
	}
	if h.Sends {
		device = append(device, "sends with "+a.seen.up.Sends.String())
		if a.seen.up.Holds != nil {
			device = append(device, "holds "+list(a.seen.up.Holds))
		}
	}
	r := a.record(audit.Receipt, "destroyed", now)
	r.Epoch, r.KCV = h.Epoch, h.KCV
	r.Details = map[string]string{
		"device": "read back: it " + strings.Join(device, ", "),
		"memory": "wiped: this agent holds it for no node",
		"record": fmt.Sprintf("the order of turn %d names it no more", a.order.Turn),
	}
	return r
}

func list(refs []keychain.Ref) string {
	if len(refs) == 0 {
		return "none"
	}
	var words []string
	for _, r := range refs {
		words = append(words, r.String())
	}
	return strings.Join(words, " and ")
}

// record is one about the order of this attempt.
func (a *attempt) record(kind audit.Kind, verb string, now time.Time) audit.Record {
	return audit.Record{
		Kind: kind, At: now, Verb: verb, Link: a.order.Link, Node: a.node.ID, Site: a.Site, Turn: a.order.Turn,
	}
}

// records is what the trail is told of this attempt: what it put right, what was refused,
// and which keys are gone.
func (a *attempt) records(e *errand, before store.Observation, c complaint, repaired []string, gone []store.Held) []audit.Record {
	now := time.Now().UTC()
	var records []audit.Record
	if len(repaired) > 0 {
		r := a.record(audit.Repair, "put right", now)
		r.Reason = strings.Join(repaired, ", ")
		records = append(records, r)
	}
	if a.news(e, before, c) {
		r := a.record(audit.Refusal, "obey", now)
		r.Outcome, r.Reason = c.kind, c.message
		records = append(records, r)
	}
	for _, h := range gone {
		records = append(records, a.receipt(h, now))
	}
	return records
}

// complaint is what went wrong with an attempt; zero for nothing.
type complaint struct{ kind, message string }

// news reports whether the trail has not been told of this refusal of this order. Trouble
// that another try may cure is none.
func (a *attempt) news(e *errand, before store.Observation, c complaint) bool {
	switch c.kind {
	case fault.Refused.String(), fault.Mismatch.String(), fault.Invalid.String():
	default:
		return false
	}
	if before.Fault == c.kind && before.Message == c.message { // by an earlier agent
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !equal(e.order, a.order) || slices.Contains(e.refusals, c.kind) {
		return false
	}
	e.refusals = append(e.refusals, c.kind)
	return true
}

// standing is what to do when the report stands in the store: then there are receipts for
// what is gone.
func (a *attempt) standing(confirmed func(error), gone []store.Held) func(error) {
	if len(gone) == 0 {
		return confirmed
	}
	var epochs []keychain.Epoch
	for _, h := range gone {
		epochs = append(epochs, h.Epoch)
	}
	return func(err error) {
		if err == nil {
			a.Journal.given(a.node.ID, a.order.Link, epochs)
		}
		if confirmed != nil {
			confirmed(err)
		}
	}
}

// reconsider has e worked on although its order is obeyed: a key that the agent held for
// somebody else is gone now.
func (s *session) reconsider(e *errand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.settled = false
	s.enqueue(e)
}
