package storetest

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// inbox is the records that wait there, one slice for each entry.
func (e *env) inbox() [][]audit.Record {
	e.t.Helper()
	all := e.dump("/trail/inbox/")
	var entries [][]audit.Record
	for key, value := range all {
		if strings.Count(key, "/") != 4 {
			e.t.Errorf("%s is no key of an inbox", key)
		}
		var records []audit.Record
		must(e.t, json.Unmarshal([]byte(value), &records))
		entries = append(entries, records)
	}
	return entries
}

// said is how many records of a kind have these words in them.
func (e *env) said(k audit.Kind, verb string) int {
	e.t.Helper()
	n := 0
	for _, records := range e.inbox() {
		for _, r := range records {
			if r.Kind == k && r.Verb == verb {
				n++
			}
		}
	}
	return n
}

// Every change says what it was in the transaction that makes it, and a change that is
// not made says nothing.
func testTrail(t *testing.T, e *env) {
	s := e.open()
	d := e.drive(s, "ab", ids("a"), ids("b"))
	d.rotate()
	d.rotate() // the first had no key to drain
	for _, p := range link.Phases() {
		if n := e.said(audit.Phase, p.String()); n == 0 {
			t.Errorf("%d records say that the link entered %s", n, p)
		}
	}
	before := len(e.inbox())
	stale := d.change(keychain.Wrapped{})
	stale.Record.Revision--
	stale.Record.State.Turn++
	out, err := s.Commit(e.ctx, []store.Change{stale})
	must(t, err)
	wantKind(t, out[0].Err, fault.Stale)
	must(t, s.PutMaintenance(e.ctx, topology.Maintenance{Site: "x", Reason: "cables"}, audit.Record{Kind: audit.Operator, Verb: "maintenance"}))
	must(t, s.EndMaintenance(e.ctx, "x"))
	wantKind(t, s.EndMaintenance(e.ctx, "x"), fault.Refused)
	must(t, s.Exclude(e.ctx, topology.Exclusion{Node: "a", Reason: "lost"}))
	must(t, s.Readmit(e.ctx, topology.Exclusion{Node: "a"}))
	r := campaign.Record{Name: "c", State: campaign.Running}
	for range 3 {
		r.Revision, err = s.PutCampaign(e.ctx, r)
		must(t, err)
	}
	for range 2 {
		must(t, s.Deny(e.ctx, "c", []campaign.Denial{{Link: "ab", Reason: "no policy"}}))
	}
	_, err = s.Apply(e.ctx, 0, topology.Topology{Sites: []topology.Site{{Name: "x"}}}, audit.Record{Kind: audit.Operator, Verb: "apply"})
	must(t, err)
	for _, want := range []struct {
		kind audit.Kind
		verb string
	}{
		{audit.Standing, audit.MaintenanceBegan}, {audit.Standing, audit.MaintenanceEnded}, {audit.Standing, audit.Excluded},
		{audit.Standing, audit.ReadmittedAgain}, {audit.Operator, "maintenance"}, {audit.Campaign, "running"}, {audit.Denial, "not begun"},
		{audit.Declaration, "created"}, {audit.Operator, "apply"},
	} {
		if n := e.said(want.kind, want.verb); n != 1 {
			t.Errorf("%d records say: %s, %s", n, want.kind, want.verb)
		}
	}
	if n := len(e.inbox()) - before; n != 7 {
		t.Errorf("seven changes wrote %d entries", n)
	}
	wantKind(t, s.Append(e.ctx, audit.Record{Kind: "gossip"}), fault.Invalid)
	wantKind(t, s.Exclude(e.ctx, topology.Exclusion{Node: "a"}, audit.Record{}), fault.Invalid)
	if e.dump("/exclusions/")["/exclusions/node/a"] != "" {
		t.Error("a change with a record that cannot be was made")
	}
}

// The links of one transaction have one entry together.
func testTrailTogether(t *testing.T, e *env) {
	s := e.open()
	var changes []store.Change
	for _, id := range []keychain.LinkID{"l1", "l2", "l3", "l4", "l5"} {
		st := link.New(ids("a"), ids("b"))
		changes = append(changes, store.Change{
			Record: link.Record{Link: id, State: step(t, st, link.Rotate{Epoch: 1, At: epochZero})},
			Minted: wrapped(id, 1), Sites: sites(st),
		})
	}
	_, err := s.Commit(e.ctx, changes)
	must(t, err)
	entries := e.inbox()
	if len(entries) != 1 || len(entries[0]) != 5 {
		t.Fatalf("five links give %d entries", len(entries))
	}
	if got := entries[0][0].Entered; got == nil || len(got.Holders) != 2 || got.Holders[1] != (audit.Holder{Node: "b", Site: "site-b"}) {
		t.Errorf("who gets the key is told as %+v", got)
	}
}

// What an agent says rides with its observations, under the guard of its tenure.
func testTrailOfAgents(t *testing.T, e *env) {
	s := e.open()
	tenure, err := s.Serve(e.ctx, "x", "a", store.Agent{Instance: "one"})
	must(t, err)
	receipt := func(verb string) []audit.Record { return []audit.Record{{Kind: audit.Receipt, Verb: verb}} }
	o := store.Observation{Link: "ab", Site: "x", Report: keychain.Report{Node: "a", Turn: 2}}
	report := func(turn keychain.Turn, verb string) error {
		o.Turn, o.Records = turn, receipt(verb)
		return tenure.Report(e.ctx, o)
	}
	must(t, report(2, "with"))
	wantKind(t, report(1, "stale"), fault.Stale)
	other := o
	other.Link, other.Records = "ac", receipt("other")
	o.Turn, o.Records = 3, receipt("more")
	must(t, tenure.Report(e.ctx, o, other))
	stored, err := tenure.Observations(e.ctx)
	must(t, err)
	if len(stored) != 2 || len(stored[0].Records)+len(stored[1].Records) > 0 {
		t.Errorf("the reports are %+v", stored)
	}
	must(t, tenure.Close(e.ctx))
	wantKind(t, report(4, "late"), fault.Stale)
	for verb, want := range map[string]int{"with": 1, "stale": 1, "other": 1, "more": 1, "late": 0} {
		if n := e.said(audit.Receipt, verb); n != want {
			t.Errorf("%d records say %s, want %d", n, verb, want)
		}
	}
}

// One leads at a time, and another takes over.
func testLead(t *testing.T, e *env) {
	first, second := e.open(), e.open()
	led, end := make(chan string), make(chan struct{})
	go func() {
		_ = first.Lead(e.ctx, "scribe", func(ctx context.Context) error {
			led <- "first"
			select {
			case <-end:
			case <-ctx.Done():
			}
			return nil
		})
	}()
	if who := receive(t, "somebody to lead", led); who != "first" {
		t.Fatal(who)
	}
	go func() {
		_ = second.Lead(e.ctx, "scribe", func(context.Context) error { led <- "second"; return nil })
	}()
	duties, err := first.Duties(e.ctx)
	must(t, err)
	if len(duties) != 1 || duties["scribe"].PID == 0 {
		t.Errorf("the duties are %+v", duties)
	}
	select {
	case who := <-led:
		t.Fatalf("%s leads beside the first", who)
	case <-time.After(300 * time.Millisecond):
	}
	close(end)
	if who := receive(t, "the second to lead", led); who != "second" {
		t.Fatal(who)
	}
	until(t, "nobody has the duty", func() bool { return len(e.dump("/duties/")) == 0 })
	lost := make(chan struct{})
	go func() {
		_ = first.Lead(e.ctx, "scribe", func(ctx context.Context) error {
			led <- "again"
			<-ctx.Done()
			lost <- struct{}{}
			return ctx.Err()
		})
	}()
	receive(t, "it to lead again", led)
	e.put("/duties/scribe", "{}") // somebody else has it, whoever that is
	receive(t, "it to notice", lost)
}
