package workflows

import (
	"slices"
	"sync"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// gates reports whether the gates let the next step of s happen, and if not,
// when they may with nobody doing anything; zero if that depends on a node.
func (a *Activities) gates(r link.Record, s link.State, reports []keychain.Report, p topology.Policy, now time.Time) (open bool, until time.Time) {
	seen := link.Snapshot{
		State: s, Reports: reports, Present: a.view.Present(s.Nodes()), Now: now, Drain: p.Drain, Quiet: p.Quiet,
	}
	if r.Last.Brief {
		// Whoever has the old key could keep its counters going for ever.
		seen.Drain, seen.Quiet = min(p.Drain, topology.DefaultDrain), 0
	}
	if !r.Last.Urgent {
		c := p.Closed(now)
		seen.Closed, seen.ClosedUntil = c.Reason, c.Until
	}
	if s.Phase == link.Draining {
		key := drainKey{r.Link, s.Turn}
		seen.State.Since = a.drains.since(key, now)
		seen.Quieted = a.drains.quieted(key, s, reports, now)
	}
	event, refusal := link.Check(seen)
	if event != nil {
		a.drains.forget(drainKey{r.Link, s.Turn})
	}
	return event != nil, refusal.Until
}

// missing is the nodes that a link goes on without, when it has waited for them
// for as long as its policy says (topology.Policy.QuorumWait) and the others are
// enough; if not yet, until is no later than when that may be.
func missing(s link.State, declared topology.Link, p topology.Policy, now, until time.Time) ([]keychain.NodeID, time.Time) {
	if p.Quorum.IsZero() || s.Phase != link.Staging {
		return nil, until
	}
	need := p.Quorum.Of(len(declared.Downstream))
	out, ok := link.Quorum(s, need)
	if s.Restaging() { // the key is in use, and whom it is staged for again may be silent, too
		forth := s
		forth.From = link.Key{}
		out, ok = link.Quorum(forth, need)
	}
	if !ok {
		return nil, until
	}
	if due := s.Since.Add(p.QuorumWait()); now.Before(due) {
		if until.IsZero() || due.Before(until) {
			until = due
		}
		return nil, until
	}
	return out, until
}

// drains measures draining by this process's own monotonic clock, from when it
// first saw the link drain: clocks that differ between workers, or that jump,
// can only make it longer.
type drains struct {
	mu sync.Mutex
	// from has one drain a link at most: another worker may end it, and nobody says.
	from map[keychain.LinkID]*drain
}

type drainKey struct {
	link keychain.LinkID
	turn keychain.Turn
}

// drain is one link that drains: since when, and since when each node's counter of
// the old key has stood still.
type drain struct {
	turn     keychain.Turn
	since    time.Time
	counters []counted
}

// counted is one node's counter, and when a report last had it: at by the node's
// clock, heard by ours.
type counted struct {
	link.Quieted
	at, heard time.Time
}

// of is the drain of k, which begins now if it was not known. The lock is held.
func (d *drains) of(k drainKey, now time.Time) *drain {
	if d.from == nil {
		d.from = map[keychain.LinkID]*drain{}
	}
	known := d.from[k.link]
	if known == nil || known.turn != k.turn {
		known = &drain{turn: k.turn, since: now}
		d.from[k.link] = known
	}
	return known
}

func (d *drains) since(k drainKey, now time.Time) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.of(k, now).since
}

// quieted takes in what the reports count under the old key of s.
func (d *drains) quieted(k drainKey, s link.State, reports []keychain.Report, now time.Time) []link.Quieted {
	d.mu.Lock()
	defer d.mu.Unlock()
	drain := d.of(k, now)
	for _, r := range reports {
		i := slices.IndexFunc(r.Counters, func(c keychain.Counter) bool { return c.Epoch == s.From.Epoch })
		if i < 0 || !slices.Contains(s.Downstream, r.Node) {
			continue
		}
		q := link.Quieted{Node: r.Node, Epoch: s.From.Epoch, Packets: r.Counters[i].Packets, Since: now}
		seen := counted{Quieted: q, at: r.At, heard: now}
		j := slices.IndexFunc(drain.counters, func(c counted) bool { return c.Node == r.Node })
		switch {
		case j < 0:
			drain.counters = append(drain.counters, seen)
		case drain.counters[j].Packets != seen.Packets:
			drain.counters[j] = seen
		case !drain.counters[j].at.Equal(r.At): // read again, and still the same
			drain.counters[j].at, drain.counters[j].heard = r.At, now
		}
	}
	var quiet []link.Quieted
	for _, c := range drain.counters {
		// A counter that nobody has read since proves nothing: what counts is the time
		// between two reports.
		c.Since = c.Since.Add(now.Sub(c.heard))
		quiet = append(quiet, c.Quieted)
	}
	return quiet
}

func (d *drains) forget(k drainKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.from[k.link]; known != nil && known.turn == k.turn {
		delete(d.from, k.link)
	}
}
