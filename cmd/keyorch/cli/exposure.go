package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// exposed is the keys that the nodes named have: those in use on every link that
// they are part of, or that left them behind. On a link that has let them go they
// have none that is new.
func exposed(records []link.Record, named func(keychain.NodeID) bool) []topology.Exposed {
	var out []topology.Exposed
	for _, r := range records {
		left := slices.ContainsFunc(r.Quarantined, func(q link.Quarantine) bool { return named(q.Node) })
		if !left && !slices.ContainsFunc(r.State.Nodes(), named) {
			continue
		}
		for _, k := range []link.Key{r.State.From, r.State.To} {
			if !k.IsZero() {
				out = merged(out, []topology.Exposed{{Link: r.Link, Epoch: k.Epoch}})
			}
		}
	}
	return out
}

// exposure is one line of the report.
type exposure struct {
	Link  keychain.LinkID `json:"link"`
	Epoch keychain.Epoch  `json:"epoch"`
	// Until is when the key was no longer accepted by anybody; zero: it still is.
	Until time.Time `json:"until,omitzero"`
	Now   string    `json:"now"` // where the link stands
}

type exposureReport struct {
	topology.Exclusion
	Exposures []exposure `json:"exposures"`
}

// report says what an excluded node or site could open, and until when.
func (w *world) report(ctx context.Context, e topology.Exclusion, out format) error {
	standing, err := w.store.Standing(ctx)
	if err != nil {
		return err
	}
	found, ok := exclusionOf(standing, e)
	if !ok {
		return fault.New(fault.Refused, "report: %s is not excluded", calledBy(e))
	}
	r := exposureReport{Exclusion: found, Exposures: []exposure{}}
	for _, x := range found.Exposed {
		line, err := w.exposureOf(ctx, x)
		if err != nil {
			return err
		}
		r.Exposures = append(r.Exposures, line)
	}
	r.Exposed = nil
	if out != asTable {
		return out.print(w.app.out, r)
	}
	var rows [][]string
	for _, x := range r.Exposures {
		until := "still in use"
		if !x.Until.IsZero() {
			until = x.Until.Format(time.RFC3339)
		}
		rows = append(rows, []string{string(x.Link), fmt.Sprint(x.Epoch), found.Since.Format(time.RFC3339), until, x.Now})
	}
	_, _ = fmt.Fprintf(w.app.out, "%s is excluded since %s: %s. It could open:\n", calledBy(found), found.Since.Format(time.RFC3339), found.Reason)
	table(w.app.out, []string{"LINK", "EPOCH", "EXPOSED AT", "IN USE UNTIL", "NOW"}, rows)
	w.warnOfItsSite(found)
	return nil
}

// warnOfItsSite says what excluding a node cannot do: Vault knows sites, not nodes.
func (w *world) warnOfItsSite(e topology.Exclusion) {
	if n, ok := w.view.Topology().Node(e.Node); ok {
		_, _ = fmt.Fprintf(w.app.out, "The agent of site %s may still open keys of the site's other nodes. If it is not to be trusted: keyorch compromise --site %s\n", n.Site, n.Site)
	}
}

// exposureOf finds out since when nobody accepts an exposed key any more.
func (w *world) exposureOf(ctx context.Context, x topology.Exposed) (exposure, error) {
	s, record, _ := w.snapshot(x.Link)
	line := exposure{Link: x.Link, Epoch: x.Epoch, Now: fmt.Sprintf("%v on epoch %d", s.State.Phase, s.State.Sends().Epoch)}
	if record.State.From.Epoch == x.Epoch || record.State.To.Epoch == x.Epoch {
		return line, nil
	}
	history, err := w.store.History(ctx, x.Link)
	if err != nil && !fault.Is(err, fault.Mismatch) { // a broken document is left out
		return line, err
	}
	line.Until = lastUse(history, x.Epoch)
	if line.Until.IsZero() { // nothing is known of the time before
		line.Until = record.State.Since
	}
	return line, nil
}

// lastUse is when a link that is not on epoch e any more had left it: the first
// state after all of those of which it is a part.
func lastUse(history []link.Entry, e keychain.Epoch) time.Time {
	var until time.Time
	for _, entry := range history {
		if entry.From.Epoch == e || entry.To.Epoch == e {
			until = time.Time{}
		} else if until.IsZero() {
			until = entry.At
		}
	}
	return until
}

// merged is both lists, each key once.
func merged(a, b []topology.Exposed) []topology.Exposed {
	out := slices.Clone(a)
	for _, x := range b {
		if !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}
