package storetest

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// testInquiry asks the agents of two nodes, one of them about more links than fit into
// one document.
func testInquiry(t *testing.T, e *env) {
	s := e.open()
	const many = 4500
	asked := map[store.Place][]store.Asked{{Site: "x", Node: "a"}: {{Link: "ab", Sends: true}}}
	for i := range many {
		at := store.Place{Site: "x", Node: "b"}
		asked[at] = append(asked[at], store.Asked{Link: keychain.LinkID(fmt.Sprintf("l%04d", i)), Accepts: true})
	}
	must(t, s.Inquire(e.ctx, "first", map[store.Place][]store.Asked{{Site: "x", Node: "c"}: {{Link: "old"}}}))
	must(t, s.Inquire(e.ctx, "second", asked))

	heard := make(chan store.Inquiry, 10)
	watching, stop := context.WithCancel(e.ctx)
	defer stop()
	for _, n := range []keychain.NodeID{"a", "b", "c"} {
		of := e.open()
		go func() {
			_ = of.WatchInquiries(watching, "x", n, func(got []store.Inquiry) {
				for _, q := range got {
					heard <- q
				}
			})
		}()
	}
	agent := func(n keychain.NodeID) *store.Tenure {
		tenure, err := s.Serve(e.ctx, "x", n, store.Agent{Instance: "one"})
		must(t, err)
		return tenure
	}
	tenures := map[bool]*store.Tenure{true: agent("a"), false: agent("b")}
	for got := 0; got < many+1; {
		q := receive(t, "what is asked", heard)
		if q.ID != "second" { // the first was taken back by the second
			t.Fatalf("an agent is asked %+v", q)
		}
		got += len(q.Links)
		tenure, node := tenures[q.Links[0].Sends], keychain.NodeID("b")
		if q.Links[0].Sends {
			node = "a"
		}
		var said []store.Testimony
		for _, l := range q.Links {
			said = append(said, store.Testimony{Inquiry: q.ID, Site: "x", Node: node, Link: l.Link, Turn: 7, Accepts: []keychain.Ref{ref(3)},
				Send: store.Wanted{Ref: ref(3), Serial: 3, Wrapped: wrapped(l.Link, 3)}, At: epochZero})
		}
		must(t, tenure.Testify(e.ctx, said))
	}
	n, err := s.Answers(e.ctx)
	must(t, err)
	said, err := s.Testimonies(e.ctx, "second")
	must(t, err)
	if n != many+1 || len(said) != many+1 || said[0].Node != "a" || said[0].Turn != 7 || said[0].Send.Wrapped != wrapped("ab", 3) {
		t.Fatalf("%d answers and %d testimonies, the first %+v", n, len(said), said[0])
	}
	if late, err := s.Testimonies(e.ctx, "first"); err != nil || len(late) != 0 {
		t.Errorf("of another inquiry there are %d testimonies, %v", len(late), err)
	}
	must(t, s.EndInquiry(e.ctx))
	if left := e.dump("/recovery/"); len(left) != 0 {
		t.Errorf("after its end there is left: %d", len(left))
	}
	must(t, tenures[true].Close(e.ctx))
	wantKind(t, tenures[true].Testify(e.ctx, said[:1]), fault.Stale) // whoever serves the node now answers
}

// rebuilt is the record of d as a recovery makes it, on the key that it is on.
func (d *driver) rebuilt(turn keychain.Turn, bare bool, keys store.Keys) store.Rebuilt {
	r := d.rec
	r.State.Turn = turn
	r.State.AcceptTurn, r.State.SendTurn = turn, turn
	r.State.To.Bare = bare
	return store.Rebuilt{
		Change: store.Change{Record: r, Sites: sites(r.State)}, Keys: keys,
		Records: []audit.Record{{Kind: audit.Recovery, Verb: "recover", Link: r.Link}},
	}
}

// testRecover writes a record that was rebuilt: with its orders, its wrapped key and
// what the trail says in one transaction, and only over what was read.
func testRecover(t *testing.T, e *env) {
	s := e.open()
	d := e.drive(s, "ab", ids("a"), ids("b"))
	d.rotate()
	recover := func(r store.Rebuilt) store.Committed {
		out, err := s.Recover(e.ctx, []store.Rebuilt{r})
		must(t, err)
		return out[0]
	}
	anew := keychain.Wrapped{KEK: "kek-ab", Ciphertext: "vault:v1:from-a-journal"}
	before := len(e.inbox())
	done := recover(d.rebuilt(d.rec.State.Turn+100, false, store.Keys{1: anew}))
	must(t, done.Err)
	for key, doc := range e.dump("/orders/") {
		if !strings.Contains(doc, anew.Ciphertext) || !strings.Contains(doc, fmt.Sprintf(`"turn":%d`, d.rec.State.Turn+100)) {
			t.Errorf("the order %s is %s", key, doc)
		}
	}
	if n := len(e.inbox()); n != before+1 {
		t.Errorf("the trail has %d entries more, want one", n-before)
	}
	wantKind(t, recover(d.rebuilt(d.rec.State.Turn+200, false, store.Keys{1: anew})).Err, fault.Stale) // made from an older record
	d.rec.Revision = done.Revision
	wantKind(t, recover(d.rebuilt(d.rec.State.Turn+50, false, store.Keys{1: anew})).Err, fault.Refused) // the turn would fall
}

// wornOut is the orders and records in which a key is that nobody can open.
func (e *env) wornOut(id keychain.LinkID, epoch keychain.Epoch) (found []string) {
	for _, folder := range []string{"/orders/", "/links/"} {
		for key, doc := range e.dump(folder) {
			if strings.Contains(doc, wrapped(id, epoch).Ciphertext) {
				found = append(found, key)
			}
		}
	}
	return found
}

// testRecoverBare takes a key away that Vault cannot open any more.
func testRecoverBare(t *testing.T, e *env) {
	s := e.open()
	d := e.drive(s, "ab", ids("a"), ids("b"))
	d.rotate()
	out, err := s.Recover(e.ctx, []store.Rebuilt{d.rebuilt(d.rec.State.Turn+100, true, store.Keys{})})
	must(t, err)
	must(t, out[0].Err)
	if left := e.wornOut("ab", 1); len(left) != 0 {
		t.Errorf("the key is there still, in %v", left)
	}
}

// testRecoverBareTeeth marks the key as lost without saying what is there: then what
// was stored stays.
func testRecoverBareTeeth(t *testing.T, e *env) {
	s := e.open()
	d := e.drive(s, "ab", ids("a"), ids("b"))
	d.rotate()
	out, err := s.Commit(e.ctx, []store.Change{d.rebuilt(d.rec.State.Turn+100, true, nil).Change})
	must(t, err)
	must(t, out[0].Err)
	if left := e.wornOut("ab", 1); len(left) != 3 {
		t.Errorf("the check sees the key in %v", left)
	}
}

// dumped is what a backup has of s.
func (e *env) dumped(s *store.Store) (keys []string, entries map[string][]byte) {
	e.t.Helper()
	at, err := s.DumpAt(e.ctx)
	must(e.t, err)
	entries = map[string][]byte{}
	must(e.t, s.Dump(e.ctx, at, func(key string, value []byte) error {
		must(e.t, s.CheckDumped(key, value))
		keys, entries[key] = append(keys, key), append([]byte(nil), value...)
		return nil
	}))
	return keys, entries
}

// elsewhere is a store below another prefix of the same server, with nothing in it.
func (e *env) elsewhere() *env {
	other := *e
	other.config.Prefix += "-restored"
	return &other
}

// fleetSize is more records than one transaction restores.
const fleetSize = 150

// fleet is a backup with some hundred entries.
func (e *env) fleet() (s *store.Store, d *driver, keys []string, entries map[string][]byte) {
	s = e.open()
	for i := range fleetSize {
		d = e.drive(s, keychain.LinkID(fmt.Sprintf("l%03d", i)), ids("a"), ids("b"))
		d.rotate()
	}
	_, err := s.Serve(e.ctx, "x", "a", store.Agent{Instance: "one"}) // hangs on a lease: in no backup
	must(e.t, err)
	keys, entries = e.dumped(s)
	return s, d, keys, entries
}

func put(e *env, r *store.Restoration, keys []string, entries map[string][]byte) (err error) {
	for _, k := range keys {
		if err = r.Put(e.ctx, k, entries[k]); err != nil {
			return err
		}
	}
	return nil
}

// testRestore restores a backup, cut off half way and gone on with.
func testRestore(t *testing.T, e *env) {
	s, _, keys, entries := e.fleet()
	_, err := s.Restore(e.ctx, "sum")
	wantKind(t, err, fault.Refused) // it is not empty
	other := e.elsewhere()
	to := other.open()
	must(t, to.Append(e.ctx, audit.Record{Kind: audit.Recovery, Verb: "restore"})) // who restores says so first
	r, err := to.Restore(e.ctx, "sum")
	must(t, err)
	must(t, put(other, r, keys[:fleetSize-20], entries))
	// Here it is killed: some of it was written, some was not.
	if n := len(other.dump("/links/")); n == 0 || n == fleetSize {
		t.Fatalf("%d of %d records were written", n, fleetSize)
	}
	wantKind(t, to.Whole(e.ctx), fault.Refused)
	_, err = to.Restore(e.ctx, "another")
	wantKind(t, err, fault.Refused)
	if r, err = to.Restore(e.ctx, "sum"); err != nil {
		t.Fatal(err)
	}
	must(t, put(other, r, keys, entries))
	must(t, r.Flush(e.ctx))
	wantKind(t, to.Whole(e.ctx), fault.Refused) // who restores may yet have to let people in
	must(t, r.End(e.ctx))
	must(t, to.Whole(e.ctx))
	_, now := other.dumped(to)
	maps.DeleteFunc(now, func(key string, _ []byte) bool {
		_, had := entries[key]
		return !had && strings.HasPrefix(key, "trail/inbox/")
	})
	if !maps.EqualFunc(entries, now, func(a, b []byte) bool { return string(a) == string(b) }) {
		t.Errorf("%d entries were restored as %d others", len(entries), len(now))
	}
	_, err = to.Restore(e.ctx, "sum")
	wantKind(t, err, fault.Refused)
}

// interrupted is a restore that was cut off after a link was written, which somebody has
// rotated since. It goes on with goOn, and says at which turn the link is then, and
// was before.
func interrupted(t *testing.T, e *env, goOn func(other *env, to *store.Store, keys []string, entries map[string][]byte) error) (is, was keychain.Turn, err error) {
	_, d, keys, entries := e.fleet()
	other := e.elsewhere()
	to := other.open()
	r, err := to.Restore(e.ctx, "sum")
	must(t, err)
	must(t, put(other, r, keys, entries))
	must(t, r.Flush(e.ctx))
	turn := func() keychain.Turn {
		records, err := to.Records(e.ctx, []keychain.LinkID{d.rec.Link})
		must(t, err)
		d.rec = records[0]
		return d.rec.State.Turn
	}
	turn()
	d.s = to
	d.rotate()
	was = turn()
	err = goOn(other, to, keys, entries)
	return turn(), was, err
}

// testRestoreMixesNothing has somebody rotate a link between the two halves.
func testRestoreMixesNothing(t *testing.T, e *env) {
	is, was, err := interrupted(t, e, func(other *env, to *store.Store, keys []string, entries map[string][]byte) error {
		r, err := to.Restore(other.ctx, "sum")
		must(t, err)
		if err := put(other, r, keys, entries); err != nil {
			return err
		}
		return r.End(other.ctx)
	})
	wantKind(t, err, fault.Refused)
	if is < was {
		t.Errorf("the link went back from turn %d to %d", was, is)
	}
}

// testRestoreMixesNothingTeeth writes the backup over what stands.
func testRestoreMixesNothingTeeth(t *testing.T, e *env) {
	is, was, err := interrupted(t, e, func(other *env, _ *store.Store, keys []string, entries map[string][]byte) error {
		for _, k := range keys {
			other.put("/"+k, string(entries[k]))
		}
		return nil
	})
	must(t, err)
	if is >= was {
		t.Errorf("the check sees turn %d after %d", is, was)
	}
}
