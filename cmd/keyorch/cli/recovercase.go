package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/recovery"
	"github.com/keyorch/keyorch/store"
)

// dossier is a case, and the wrapped keys that came with it.
type dossier struct {
	recovery.Case
	keys store.Keys
}

// cases puts together what is known of each link.
func (r *rescue) cases(ctx context.Context, said []store.Testimony) ([]dossier, error) {
	records, stored, err := r.store.Stored(ctx)
	if err != nil && !fault.Is(err, fault.Mismatch) {
		return nil, err
	}
	told := map[keychain.LinkID][]store.Testimony{}
	for _, t := range said {
		if r.sites[t.Node] == t.Site { // what the agent of another site says of it does not count
			told[t.Link] = append(told[t.Link], t)
		}
	}
	now := time.Now().UTC()
	var cases []dossier
	for _, l := range r.chosen() {
		e := dossier{keys: store.Keys{}, Case: recovery.Case{
			Link: l.Name, Upstream: l.Upstream, Downstream: l.Downstream, Record: records[l.Name], Without: r.lonely, At: now,
		}}
		maps.Copy(e.keys, stored[l.Name])
		for _, t := range told[l.Name] {
			e.Told = append(e.Told, testimony(t))
		}
		e.keep(told[l.Name])
		cases = append(cases, e)
	}
	if r.vault {
		if err := r.openable(ctx, cases); err != nil {
			return nil, err
		}
	}
	for i, e := range cases {
		cases[i].Supplied = slices.Sorted(maps.Keys(e.keys))
	}
	return cases, nil
}

// keep takes the wrapped keys of journals, those of the latest order last: they win
// over those stored, and a key that was wrapped anew over how it was wrapped before,
// which may be in the journal of an agent that was away meanwhile.
func (e *dossier) keep(said []store.Testimony) {
	said = slices.Clone(said)
	slices.SortStableFunc(said, func(a, b store.Testimony) int { return int(int64(a.Turn) - int64(b.Turn)) })
	for _, t := range said {
		for _, w := range append(slices.Clone(t.Accept), t.Send) {
			if !w.Wrapped.IsZero() && !older(w.Wrapped, e.keys[w.Epoch]) {
				e.keys[w.Epoch] = w.Wrapped
			}
		}
	}
}

// older reports whether a is under an earlier version of the same KEK than b.
func older(a, b keychain.Wrapped) bool {
	return a.KEK == b.KEK && custody.Version(a) < custody.Version(b)
}

func testimony(t store.Testimony) recovery.Testimony {
	out := recovery.Testimony{
		Node: t.Node, Turn: t.Turn, Accepts: t.Accepts, Sends: t.Sends, Started: t.Started, Lost: t.Lost, Noted: t.Noted, Blind: t.Blind,
	}
	key := func(w store.Wanted) link.Key { return link.Key{Ref: w.Ref, Serial: w.Serial} }
	for _, w := range t.Accept {
		out.Accept = append(out.Accept, key(w))
	}
	if !t.Send.IsZero() {
		out.Send = key(t.Send)
	}
	return out
}

// rescued is what became of one link.
type rescued struct {
	Link    keychain.LinkID  `json:"link"`
	Outcome recovery.Outcome `json:"outcome"`
	// Epoch is the one that it is on, Turn and Highest are those of the record.
	Epoch   keychain.Epoch    `json:"epoch"`
	Turn    keychain.Turn     `json:"turn"`
	Highest keychain.Epoch    `json:"highest"`
	Reason  string            `json:"reason,omitempty"`
	Next    string            `json:"next,omitempty"`
	Missing []keychain.NodeID `json:"missing,omitempty"`

	verdict recovery.Verdict
}

func told(v recovery.Verdict) rescued {
	s := v.Record.State
	return rescued{
		Link: v.Link, Outcome: v.Outcome, Epoch: s.Sends().Epoch, Turn: s.Turn, Highest: s.Highest,
		Reason: v.Reason, Next: v.Next, Missing: v.Missing, verdict: v,
	}
}

// mostAtOnce is how many records one call of the store writes.
const mostAtOnce = 1000

// write writes the records that were rebuilt, and to the trail what was decided.
func (r *rescue) write(ctx context.Context, cases []dossier, results []rescued) error {
	var due []int
	var others []audit.Record
	for i, x := range results {
		switch {
		case x.verdict.Writes():
			due = append(due, i)
		case x.Outcome == recovery.Held:
			others = append(others, decision(x))
		}
	}
	for chunk := range slices.Chunk(due, mostAtOnce) {
		var rebuilt []store.Rebuilt
		for _, i := range chunk {
			rebuilt = append(rebuilt, r.rebuilt(cases[i], results[i]))
		}
		written, err := r.store.Recover(ctx, rebuilt)
		if err != nil {
			return err
		}
		for k, w := range written {
			if x := &results[chunk[k]]; w.Err != nil {
				x.Outcome, x.Reason, x.Next = recovery.Held, w.Err.Error(), "run it again"
				others = append(others, decision(*x))
			}
		}
	}
	for chunk := range slices.Chunk(others, mostAtOnce) {
		if err := r.store.Append(ctx, chunk...); err != nil {
			return err
		}
	}
	return nil
}

func (r *rescue) rebuilt(e dossier, x rescued) store.Rebuilt {
	s := x.verdict.Record.State
	out := store.Rebuilt{
		Change:  store.Change{Record: x.verdict.Record, Sites: map[keychain.NodeID]keychain.SiteID{}},
		Keys:    store.Keys{},
		Records: []audit.Record{decision(x)},
	}
	for _, n := range s.Nodes() {
		out.Sites[n] = r.sites[n]
	}
	for _, k := range []link.Key{s.From, s.To} {
		if w := e.keys[k.Epoch]; !k.IsZero() && !w.IsZero() {
			out.Keys[k.Epoch] = w
		}
	}
	return out
}

// decision is what the trail says of one link.
func decision(x rescued) audit.Record {
	s := x.verdict.Record.State
	return audit.Record{
		Kind: audit.Recovery, Verb: "recover", Link: x.Link, Turn: s.Turn, Epoch: s.To.Epoch, KCV: s.To.KCV,
		Reason: x.Reason, Outcome: string(x.Outcome), Campaign: recovery.Campaign,
	}
}

// print tells what became of the links. Some that are held are an exit code of their own.
func (r *rescue) print(results []rescued) error {
	count := map[recovery.Outcome]int{}
	for _, x := range results {
		count[x.Outcome]++
	}
	var err error
	if r.out == asTable {
		r.table(results, count)
	} else {
		err = r.out.print(r.app.out, results)
	}
	if n := count[recovery.Held]; n > 0 && err == nil {
		return &exitError{code: exitHeld}
	}
	return err
}

func (r *rescue) table(results []rescued, count map[recovery.Outcome]int) {
	const most = 200 // of the links that went well
	var rows [][]string
	var next []string
	quiet := 0
	for _, x := range results {
		if x.Outcome != recovery.Held && len(rows) >= most {
			quiet++
			continue
		}
		rows = append(rows, []string{string(x.Link), string(x.Outcome), fmt.Sprint(x.Epoch), fmt.Sprint(x.Turn), dash(x.Reason)})
		if x.Next != "" {
			next = append(next, fmt.Sprintf("%s: %s", x.Link, x.Next))
		}
	}
	table(r.app.out, []string{"LINK", "OUTCOME", "EPOCH", "TURN", "REASON"}, rows)
	if quiet > 0 {
		_, _ = fmt.Fprintf(r.app.out, "and %d more\n", quiet)
	}
	words := "recovered"
	if r.dry {
		words = "would be recovered"
	}
	_, _ = fmt.Fprintf(r.app.out, "%d %s (%d of them in flight), %d kept as they are, %d held, %d never used\n",
		count[recovery.Rebuilt]+count[recovery.InFlight], words, count[recovery.InFlight], count[recovery.Kept], count[recovery.Held], count[recovery.Unused])
	for _, line := range next {
		_, _ = fmt.Fprintln(r.app.out, line)
	}
}
