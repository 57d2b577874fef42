package storetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"encoding/json"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
)

// winners lets two writers loose at once and counts who believes to have won.
func winners(write func(writer int) bool) int {
	var wg sync.WaitGroup
	won := make([]bool, 2)
	for i := range won {
		wg.Go(func() { won[i] = write(i) })
	}
	wg.Wait()
	n := 0
	for _, w := range won {
		if w {
			n++
		}
	}
	return n
}

func testGuard(t *testing.T, e *env) {
	stores := []*store.Store{e.open(), e.open()}
	d := e.drive(stores[0], "ab", ids("a"), ids("b"))
	for round := range 20 {
		var revs [2]int64
		n := winners(func(w int) bool {
			rec := d.rec
			rec.Owner = fmt.Sprintf("round-%d-writer-%d", round, w)
			out, err := stores[w].Commit(e.ctx, []store.Change{{Record: rec, Sites: sites(rec.State)}})
			if err != nil || out[0].Err != nil && !fault.Is(out[0].Err, fault.Stale) {
				t.Errorf("commit: %v, %v", err, out)
			}
			revs[w] = out[0].Revision
			return out[0].Err == nil
		})
		if n != 1 {
			t.Fatalf("round %d has %d winners", round, n)
		}
		d.rec.Revision = max(revs[0], revs[1])
	}
}

func testGuardTeeth(t *testing.T, e *env) {
	n := winners(func(w int) bool {
		_, err := e.raw.Put(e.ctx, e.config.Prefix+"/links/ab", fmt.Sprint(w))
		return err == nil
	})
	if n != 2 {
		t.Fatalf("without a guard %d of two win, want both: the check proves nothing", n)
	}
}

// torn looks for a revision at which a record enters a Turn and its orders or its
// history do not, in what etcd remembers of a prefix from revision from to
// revision to.
func (e *env) torn(from, to int64) string {
	e.t.Helper()
	type seen struct {
		record link.Record
		past   keychain.Turn
		told   keychain.Turn // in the trail
		orders map[string]keychain.Turn
	}
	at := make(map[int64]*seen)
	turn := keychain.Turn(0)
	for resp := range e.raw.Watch(e.ctx, e.config.Prefix, clientv3.WithPrefix(), clientv3.WithRev(from)) {
		must(e.t, resp.Err())
		for _, ev := range resp.Events {
			rev := ev.Kv.ModRevision
			if at[rev] == nil {
				at[rev] = &seen{orders: make(map[string]keychain.Turn)}
			}
			if rev == to {
				to = 0
			}
			if ev.Type == clientv3.EventTypeDelete {
				continue
			}
			folder, _, _ := strings.Cut(strings.TrimPrefix(string(ev.Kv.Key), e.config.Prefix+"/"), "/")
			if folder == "trail" {
				var told []audit.Record
				must(e.t, json.Unmarshal(ev.Kv.Value, &told))
				at[rev].told = told[0].Turn
				continue
			}
			var doc struct {
				Record link.Record
				Turn   keychain.Turn
			}
			must(e.t, json.Unmarshal(ev.Kv.Value, &doc))
			switch folder {
			case "links":
				at[rev].record = doc.Record
			case "orders":
				at[rev].orders[string(ev.Kv.Key)] = doc.Turn
			case "past":
				at[rev].past = doc.Turn
			}
		}
		if to == 0 {
			break
		}
	}
	for _, rev := range slices.Sorted(maps.Keys(at)) {
		s := at[rev]
		if s.record.State.Turn == turn {
			continue
		}
		turn = s.record.State.Turn
		for _, o := range link.Orders(s.record.State) {
			key := e.config.Prefix + "/orders/" + string(siteOf(o.Node)) + "/" + string(o.Node) + "/" + string(s.record.Link)
			if _, written := s.orders[key]; o.Turn == turn && !written {
				return fmt.Sprintf("turn %d was written without the order of %s", turn, o.Node)
			}
		}
		if s.past != turn {
			return fmt.Sprintf("turn %d was written with turn %d in the history", turn, s.past)
		}
		if s.told != turn {
			return fmt.Sprintf("turn %d was written with turn %d in the trail", turn, s.told)
		}
		for k, o := range s.orders {
			if o != turn {
				return fmt.Sprintf("turn %d was written with %s at turn %d", turn, k, o)
			}
		}
	}
	return ""
}

func testOneTransaction(t *testing.T, e *env) {
	d := e.drive(e.open(), "ab", ids("a1", "a2"), ids("b1", "b2"))
	from := d.rec.Revision
	d.rotate()
	d.rotate()
	if msg := e.torn(from, d.rec.Revision); msg != "" {
		t.Fatal(msg)
	}
}

func testOneTransactionTeeth(t *testing.T, e *env) {
	const record = `{"record":{"link":"ab","state":{"phase":"Steady","turn":1,"upstream":["a"]}}}`
	from := e.put("/links/ab", record)
	to := e.put("/orders/site-a/a/ab", `{"turn":1}`)
	if msg := e.torn(from, to); !strings.Contains(msg, "without the order of a") {
		t.Fatalf("a record written before its orders gives %q: the check proves nothing", msg)
	}
	put := func(key, value string) clientv3.Op { return clientv3.OpPut(e.config.Prefix+key, value) }
	resp, err := e.raw.Txn(e.ctx).Then(put("/links/ab", record), put("/orders/site-a/a/ab", `{"turn":1}`)).Commit()
	must(t, err)
	to = e.put("/past/ab/00000000000000000001", `{"turn":1}`)
	if msg := e.torn(resp.Header.GetRevision(), to); !strings.Contains(msg, "in the history") {
		t.Fatalf("a record written before its history gives %q: the check proves nothing", msg)
	}
	resp, err = e.raw.Txn(e.ctx).Then(put("/links/ab", record), put("/orders/site-a/a/ab", `{"turn":1}`),
		put("/past/ab/00000000000000000001", `{"turn":1}`)).Commit()
	must(t, err)
	to = e.put("/trail/inbox/x/1", `[{"turn":1}]`)
	if msg := e.torn(resp.Header.GetRevision(), to); !strings.Contains(msg, "in the trail") {
		t.Fatalf("a record written without a word in the trail gives %q: the check proves nothing", msg)
	}
}

func testSharedTransaction(t *testing.T, e *env) {
	s := e.open()
	var drivers []*driver
	var changes []store.Change
	for i := range 30 {
		d := e.drive(s, keychain.LinkID(fmt.Sprintf("link-%d", i)), ids("a"), ids("b"))
		drivers = append(drivers, d)
		changes = append(changes, d.change(keychain.Wrapped{}))
		changes[i].Record.Owner = "late"
	}
	drivers[7].rec.Owner = "early"
	drivers[7].commit(keychain.Wrapped{})
	out, err := s.Commit(e.ctx, changes)
	must(t, err)
	for i, c := range out {
		if (i == 7) != fault.Is(c.Err, fault.Stale) || i != 7 && (c.Err != nil || c.Revision == 0) {
			t.Errorf("link %d: revision %d, %v", i, c.Revision, c.Err)
		}
	}
	records, err := s.Records(e.ctx, nil)
	must(t, err)
	for _, r := range records {
		want := "late"
		if r.Link == "link-7" {
			want = "early"
		}
		if r.Owner != want {
			t.Errorf("%s is owned by %q, want %q", r.Link, r.Owner, want)
		}
	}
}

// holders are the keys of etcd whose documents hold a wrapped key.
func (e *env) holders(w keychain.Wrapped) []string {
	var keys []string
	for k, v := range e.dump("/") {
		if strings.Contains(v, w.Ciphertext) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

func testRetired(t *testing.T, e *env) {
	d := e.drive(e.open(), "ab", ids("a"), ids("b1", "b2"))
	d.rotate()
	old := wrapped("ab", 1)
	if got := e.holders(old); len(got) != 4 {
		t.Fatalf("in Steady the key stands in %v, want the record and three orders", got)
	}
	d.begin()
	for d.rec.State.Phase != link.Retiring {
		if got := e.holders(old); len(got) < 3 {
			t.Fatalf("in %v the old key stands in %v only", d.rec.State.Phase, got)
		}
		d.next()
	}
	d.next()
	if got := e.holders(old); len(got) != 0 {
		t.Fatalf("after its retirement the old key stands in %v", got)
	}
	if got := e.holders(wrapped("ab", 2)); len(got) != 4 {
		t.Fatalf("the new key stands in %v, want the record and three orders", got)
	}
}

func testLeaving(t *testing.T, e *env) {
	d := e.drive(e.open(), "ab", ids("a"), ids("b1", "b2"))
	d.rotate()
	d.rec.State = step(t, d.rec.State, link.Members{Upstream: ids("a"), Downstream: ids("b1"), At: epochZero})
	d.commit(keychain.Wrapped{})
	want := []string{"/orders/site-a/a/ab", "/orders/site-b1/b1/ab"}
	if got := slices.Sorted(maps.Keys(e.dump("/orders/"))); !slices.Equal(got, want) {
		t.Fatalf("after b2 left there are %v, want %v", got, want)
	}
	c := d.change(keychain.Wrapped{})
	c.Sites["b1"] = "elsewhere"
	out, err := d.s.Commit(e.ctx, []store.Change{c})
	must(t, err)
	must(t, out[0].Err)
	want = []string{"/orders/elsewhere/b1/ab", "/orders/site-a/a/ab"}
	if got := slices.Sorted(maps.Keys(e.dump("/orders/"))); !slices.Equal(got, want) {
		t.Fatalf("after b1 moved there are %v, want %v", got, want)
	}
}

func testSides(t *testing.T, e *env) {
	d := e.drive(e.open(), "area", ids("a", "b"), ids("a", "b"))
	d.rotate()
	turn := d.rec.State.Turn
	d.rec.State = step(t, d.rec.State, link.Members{Upstream: ids("a"), Downstream: ids("a", "b"), At: epochZero})
	d.commit(keychain.Wrapped{})
	var o store.Order
	must(t, json.Unmarshal([]byte(e.dump("/orders/")["/orders/site-b/b/area"]), &o))
	if !o.Send.IsZero() || d.rec.State.Turn != turn {
		t.Fatalf("b stopped being upstream within turn %d, and its order is %+v", turn, o)
	}
}
