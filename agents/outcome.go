package agents

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// maxMessage is the longest message of a fault that is reported, in bytes.
const maxMessage = 300

// report says what became of the attempt. What the device did not show is left
// as it was reported before, with the Turn of that time.
func (a *attempt) report(e *errand, err error) {
	link := a.order.Link
	var kind, message string
	if err != nil {
		kind, message = fault.Of(err).String(), oneLine(a.keys.scrub(err.Error(), a.held))
		if !errors.As(err, new(unopened)) {
			a.Observe.deviceFault(a.node.Kind, kind)
		}
	}
	repaired := a.repaired(e, err)
	before := a.reports.latest(link)
	held, gone := a.inventory(e, before, err)
	records := a.records(e, before, complaint{kind, message}, repaired, gone)
	change := func(o *store.Observation) {
		if a.seen.whole {
			o.Turn, o.Accepts, o.Sends = a.turn, a.seen.down.Accepts, a.seen.up.Sends
			o.Counters = a.seen.counters()
		}
		if a.book != nil {
			o.Started, o.Lost = a.book.entry.Started, a.book.entry.Lost
		}
		o.Held, o.Records = held, records
		now := time.Now().UTC()
		o.Repaired = noted(o.Repaired, repaired, now)
		setFault(o, kind, message, now)
	}
	a.reports.tell(link, change, a.standing(a.confirmation(e, err), gone))
	switch {
	case err != nil && (before.Fault != kind || before.Message != message):
		a.log.Warn("order not obeyed", "link", link, "turn", a.order.Turn, "fault", kind, "message", message)
	case err == nil && (a.seen.whole && before.Turn != a.turn || before.Fault != ""):
		a.log.Info("order obeyed", "link", link, "turn", a.order.Turn)
	}
}

// confirmation tells the Observer, once for each order, when the report that it
// is obeyed stands in the store; nil when there is nothing to tell.
func (a *attempt) confirmation(e *errand, err error) func(error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := e.seen
	if err != nil || !a.seen.whole || seen.IsZero() || !equal(e.order, a.order) {
		return nil
	}
	e.seen = time.Time{}
	role := RoleBoth
	switch {
	case len(a.order.Accept) == 0:
		role = RoleSends
	case a.order.Send.IsZero():
		role = RoleAccepts
	}
	return func(err error) {
		if err == nil {
			a.Observe.confirmed(a.node.Kind, role, time.Since(seen))
		}
	}
}

// trouble reports that o is still being worked on, beside what was reported
// before.
func (s *session) trouble(o store.Order, message string, since time.Time) {
	s.log.Warn("order not obeyed yet", "link", o.Link, "turn", o.Turn, "message", message)
	s.reports.change(o.Link, func(o *store.Observation) { setFault(o, fault.Unknown.String(), message, since) })
}

// setFault keeps Since while the fault is of the same kind.
func setFault(o *store.Observation, kind, message string, since time.Time) {
	switch kind {
	case "":
		since = time.Time{}
	case o.Fault:
		since = o.Since
	}
	o.Fault, o.Message, o.Since = kind, message, since
}

// counters adds up both sides of the node, by epoch.
func (s sight) counters() []keychain.Counter {
	packets := maps.Clone(s.down.Packets)
	if packets == nil {
		packets = make(map[keychain.Epoch]uint64)
	}
	for e, n := range s.up.Packets {
		packets[e] += n
	}
	var counters []keychain.Counter
	for _, e := range slices.Sorted(maps.Keys(packets)) {
		counters = append(counters, keychain.Counter{Epoch: e, Packets: packets[e]})
	}
	return counters
}

// oneLine makes text fit for one line of a table.
func oneLine(text string) string {
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "?"), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if len(text) <= maxMessage {
		return text
	}
	text = text[:maxMessage]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text
}
