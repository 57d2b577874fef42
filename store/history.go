package store

import (
	"context"
	"maps"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// HistoryKept is of how many Turns, from the present one back, a link's history
// is kept.
const HistoryKept = 40

// tidyEvery is how many Turns share one deletion.
const tidyEvery = 16

// History is what is kept of a link's past, oldest first: an entry for each
// Commit that entered a new Turn, written in the same transaction. It is empty
// for a link without a past. A broken document is left out and named by a
// Mismatch error, which comes with the rest. Faults: Invalid for a name that
// cannot be.
func (s *Store) History(ctx context.Context, id keychain.LinkID) ([]link.Entry, error) {
	if err := validNames(id); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "read the history of %q", id)
	}
	entries, err := readAll(ctx, s, s.keys.past(id), s.past)
	if n := len(entries); n > 0 {
		now := entries[n-1].Turn
		entries = slices.DeleteFunc(entries, func(past link.Entry) bool { return past.Turn+HistoryKept <= now })
	}
	return entries, err
}

// past reads one entry of a history.
func (s *Store) past(e entry) (link.Entry, error) {
	var past link.Entry
	if err := decode(e, &past); err != nil {
		return link.Entry{}, err
	}
	if s.keys.entry(past.Link, past.Turn) != e.key {
		return link.Entry{}, broken(e.key)
	}
	return past, nil
}

// addNotes says in the trail which Turn the change enters, and who has or gets the keys
// when that has changed.
func (s *Store) addNotes(u *unit, c Change, old document) error {
	past, entered := link.Enter(c.Record, old.Record.State)
	moved := !maps.Equal(old.Sites, u.doc.Sites)
	if !entered && !moved {
		return nil
	}
	var holders []audit.Holder
	if moved || past.Phase == link.Staging {
		for _, n := range slices.Sorted(maps.Keys(u.doc.Sites)) {
			holders = append(holders, audit.Holder{Node: n, Site: u.doc.Sites[n]})
		}
	}
	past.Confirmed = c.Confirmed
	record := audit.OfEntry(past, holders)
	if !entered {
		st := c.Record.State
		record = audit.OfEntry(link.Entry{Link: c.Record.Link, Turn: st.Turn, Phase: st.Phase, From: st.From.Ref, To: st.To.Ref,
			Campaign: c.Record.Last.Campaign}, holders)
		record.Verb = audit.NodesChanged
	}
	var err error
	if u.notes, err = s.note([]audit.Record{record}); err != nil {
		return fault.Wrap(fault.Invalid, err, "commit %s", c.Record.Link)
	}
	u.size += u.notes.size()
	return nil
}

// addPast puts an entry into the link's history when the change enters a new Turn,
// and deletes what has become too old.
func (s *Store) addPast(u *unit, c Change, old document) error {
	past, ok := link.Enter(c.Record, old.Record.State)
	if !ok {
		return nil
	}
	past.Confirmed = c.Confirmed
	if err := u.put(s.keys.entry(past.Link, past.Turn), past); err != nil {
		return err
	}
	// What is too old is deleted once in a while, and read no more until then. Turns
	// may be passed over between two commits: whatever is older goes.
	if past.Turn > HistoryKept && past.Turn/tidyEvery != old.Record.State.Turn/tidyEvery {
		u.ops = append(u.ops, clientv3.OpDelete(s.keys.past(past.Link).from,
			clientv3.WithRange(s.keys.entry(past.Link, past.Turn-HistoryKept+1))))
	}
	return nil
}
