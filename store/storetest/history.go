package storetest

import (
	"context"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
)

// past is the history of a driver's link, which must be without gaps up to the
// present Turn.
func (d *driver) past(t *testing.T) []link.Entry {
	t.Helper()
	entries, err := d.s.History(d.ctx, d.rec.Link)
	must(t, err)
	for i, past := range entries {
		if want := d.rec.State.Turn - keychain.Turn(len(entries)-1-i); past.Turn != want || past.Link != d.rec.Link {
			t.Fatalf("entry %d of %d is turn %d of %s, want turn %d", i, len(entries), past.Turn, past.Link, want)
		}
	}
	return entries
}

func testHistory(t *testing.T, e *env) {
	s := e.open()
	d := e.drive(s, "ab", ids("a"), ids("b"))
	if got := d.past(t); len(got) != 0 {
		t.Fatalf("a link that has done nothing has the past %+v", got)
	}
	d.begin()
	base := d.rec.Revision
	confirmed := []link.Confirmation{{Node: "b", Turn: 1, Key: ref(1), At: epochZero}}
	st := d.rec.State
	d.rec.State = step(t, confirm(t, st), link.Cleared{Turn: st.Turn, At: epochZero})
	d.rec.Last = link.Attempt{Campaign: "nightly", Epoch: 1, Begun: epochZero}
	c := d.change(keychain.Wrapped{})
	c.Confirmed = confirmed
	for range 2 { // repeated, as after a lost answer
		out, err := s.Commit(e.ctx, []store.Change{c})
		must(t, err)
		must(t, out[0].Err)
		d.rec.Revision = out[0].Revision
	}
	want := link.Entry{
		Link: "ab", Turn: 2, Phase: link.Switching, To: d.rec.State.To.Ref, At: epochZero, Campaign: "nightly", Confirmed: confirmed,
	}
	if got := d.past(t); len(got) != 2 || got[0].Phase != link.Staging || !reflect.DeepEqual(got[1], want) {
		t.Fatalf("the past is\n%+v, want the last to be\n%+v", got, want)
	}
	// What enters no Turn, or is not written, leaves no trace.
	d.rec.Owner = "me"
	d.commit(keychain.Wrapped{})
	late := d.change(keychain.Wrapped{})
	late.Record.Revision, late.Record.State.Turn = base, 40
	out, err := s.Commit(e.ctx, []store.Change{late})
	must(t, err)
	wantKind(t, out[0].Err, fault.Stale)
	if got := d.past(t); len(got) != 2 {
		t.Fatalf("the past is %+v", got)
	}

	e.drive(s, "ab-2", ids("a"), ids("b")).rotate()
	e.put("/past/ab/00000000000000000001", "{")
	e.put("/past/ab/00000000000000000003", `{"link":"ab","turn":2}`)
	got, err := s.History(e.ctx, "ab")
	if wantKind(t, err, fault.Mismatch); len(got) != 1 || got[0].Turn != 2 || !strings.Contains(err.Error(), "/past/ab/00000000000000000003") {
		t.Fatalf("beside broken ones the past is %+v, %v", got, err)
	}
}

func testHistoryIsBounded(t *testing.T, e *env) {
	s := e.open()
	d := e.drive(s, "ab", ids("a"), ids("b"))
	e.drive(s, "ab-2", ids("a"), ids("b")).rotate()
	for d.rec.State.Turn < 3*store.HistoryKept {
		d.rotate()
		if got, want := len(d.past(t)), min(int(d.rec.State.Turn), store.HistoryKept); got > want || got < want-2 {
			t.Fatalf("at turn %d there are %d entries, want %d", d.rec.State.Turn, got, want)
		}
		if n := len(e.dump("/past/ab/")); n > store.HistoryKept+16 {
			t.Fatalf("at turn %d there are %d entries in etcd", d.rec.State.Turn, n)
		}
	}
	// Turns that were passed over leave nothing behind either.
	d.rec.State.Turn += 10 * store.HistoryKept
	d.commit(keychain.Wrapped{})
	if got := e.dump("/past/ab/"); len(got) != 1 {
		t.Fatalf("after a jump to turn %d there are %d entries", d.rec.State.Turn, len(got))
	}
	if got := e.dump("/past/ab-2/"); len(got) == 0 {
		t.Fatal("the past of a link whose name begins the same is gone")
	}
}

func testObserve(t *testing.T, e *env) {
	w, config := e.wired(t)
	var mu sync.Mutex
	ops := make(map[string]int)
	var trouble []error
	config.Observe = func(op string, took time.Duration, err error) {
		mu.Lock()
		defer mu.Unlock()
		ops[op]++
		if took < 0 || took > patience {
			t.Errorf("%s took %v", op, took)
		}
		if err != nil {
			trouble = append(trouble, err)
		}
	}
	s := e.openWith(config)
	d := e.drive(s, "ab", ids("a"), ids("b"))
	mu.Lock()
	before := ops[store.OpTxn]
	mu.Unlock()
	d.begin()
	tenure := e.serve(s, "b", "one")
	must(t, tenure.Close(e.ctx))
	mu.Lock()
	if ops[store.OpTxn] != before+3 || ops[store.OpGet] == 0 || ops[store.OpLease] != 1 || len(ops) != 3 || len(trouble) != 0 {
		t.Errorf("a commit, a presence and its end made %d more transactions; in all %v, trouble %v", ops[store.OpTxn]-before, ops, trouble)
	}
	mu.Unlock()
	w.cut()
	short, cancel := context.WithTimeout(e.ctx, 200*time.Millisecond)
	defer cancel()
	_, err := s.Standing(short)
	wantKind(t, err, fault.Unavailable)
	mu.Lock()
	defer mu.Unlock()
	if len(trouble) == 0 || !fault.Is(trouble[0], fault.Unavailable) {
		t.Fatalf("trouble while etcd is away is %v", trouble)
	}
}
