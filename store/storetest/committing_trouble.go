package storetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
)

func testRefusals(t *testing.T, e *env) {
	s := e.open()
	d := e.drive(s, "ab", ids("a"), ids("b"))
	rotating := d.rec
	rotating.State = step(t, d.rec.State, link.Rotate{Epoch: 1, At: epochZero})
	try := func(change func(*store.Change)) error {
		c := store.Change{Record: rotating, Minted: wrapped("ab", 1), Sites: sites(rotating.State)}
		change(&c)
		out, err := s.Commit(e.ctx, []store.Change{c})
		must(t, err)
		return out[0].Err
	}
	for _, c := range []struct {
		name   string
		change func(*store.Change)
		kind   fault.Kind
		word   string
	}{
		{"a key that was never minted", func(c *store.Change) { c.Minted = keychain.Wrapped{} }, fault.Refused, "minted"},
		{"a node without a site", func(c *store.Change) { delete(c.Sites, "b") }, fault.Refused, "node b"},
		{"a name that is a path", func(c *store.Change) { c.Record.Link = "a/b" }, fault.Invalid, "a/b"},
		{"a site that is a path", func(c *store.Change) { c.Sites["b"] = "x/y" }, fault.Invalid, "x/y"},
		{"a record that is not there", func(c *store.Change) { c.Record.Link, c.Record.Revision = "other", 1 }, fault.Stale, "other"},
	} {
		err := try(c.change)
		if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v, want %v with %q", c.name, err, c.kind, c.word)
		}
	}
	must(t, try(func(*store.Change) {}))

	records, err := s.Records(e.ctx, []keychain.LinkID{"ab", "nowhere"})
	must(t, err)
	if len(records) != 1 {
		t.Fatalf("records of one link and of none: %v", records)
	}
	again := records[0]
	again.Owner = "me"
	for _, c := range []struct {
		name   string
		change store.Change
		word   string
	}{
		{"a second key for an epoch", store.Change{Record: again, Minted: keychain.Wrapped{KEK: "k", Ciphertext: "vault:v1:other"}, Sites: sites(again.State)}, "key already"},
		{"a turn that falls", store.Change{Record: link.Record{Link: "ab", State: link.New(ids("a"), ids("b")), Revision: again.Revision}, Sites: sites(again.State)}, "never fall"},
	} {
		out, err := s.Commit(e.ctx, []store.Change{c.change})
		must(t, err)
		if !fault.Is(out[0].Err, fault.Refused) || !strings.Contains(out[0].Err.Error(), c.word) {
			t.Errorf("%s: %v, want refused with %q", c.name, out[0].Err, c.word)
		}
	}
	c := store.Change{Record: again, Sites: sites(again.State)}
	out, err := s.Commit(e.ctx, []store.Change{c, c})
	must(t, err)
	must(t, out[0].Err)
	wantKind(t, out[1].Err, fault.Invalid)
}

func testRepeated(t *testing.T, e *env) {
	d := e.drive(e.open(), "ab", ids("a"), ids("b"))
	base := d.rec.Revision
	d.begin()
	first := d.rec.Revision
	c := d.change(keychain.Wrapped{KEK: "kek-ab", Ciphertext: "vault:v1:minted-once-more"})
	c.Record.Revision = base
	out, err := d.s.Commit(e.ctx, []store.Change{c})
	must(t, err)
	must(t, out[0].Err)
	if out[0].Revision != first {
		t.Fatalf("repeating gives revision %d, want %d of the first time", out[0].Revision, first)
	}
	if got := e.holders(c.Minted); len(got) != 0 {
		t.Fatalf("the key of the repeated change stands in %v", got)
	}
	d.next()
	out, err = d.s.Commit(e.ctx, []store.Change{c})
	must(t, err)
	wantKind(t, out[0].Err, fault.Stale)
}

func testLostAnswer(t *testing.T, e *env) {
	w, config := e.wired(t)
	s, other := e.openWith(config), e.open()
	d := e.drive(s, "ab", ids("a"), ids("b"))
	stored := func() link.Record {
		records, err := other.Records(e.ctx, nil)
		if err != nil || len(records) != 1 {
			t.Errorf("read past the wire: %v, %v", records, err)
			return link.Record{}
		}
		return records[0]
	}
	c := d.change(keychain.Wrapped{})
	c.Record.Owner = "me"
	lost := make(chan struct{}, 1)
	w.mend(func() bool {
		if stored().Owner != "me" {
			return true // the answer to reading, before the write
		}
		select {
		case lost <- struct{}{}:
		default:
		}
		return false
	})
	type result struct {
		out []store.Committed
		err error
	}
	done := make(chan result, 1)
	go func() {
		out, err := s.Commit(e.ctx, []store.Change{c})
		done <- result{out, err}
	}()
	receive(t, "the answer to the write gets lost", lost)
	w.isDown(t)
	w.mend(nil)
	got := receive(t, "the commit", done)
	must(t, got.err)
	must(t, got.out[0].Err)
	if rec := stored(); rec.Revision != got.out[0].Revision {
		t.Fatalf("stored is revision %d, committed %d", rec.Revision, got.out[0].Revision)
	}
}

func testSegment(t *testing.T, e *env) {
	var nodes []keychain.NodeID
	for i := range 500 {
		nodes = append(nodes, keychain.NodeID(fmt.Sprintf("router-%03d", i)))
	}
	s := e.open()
	st := link.New(nodes, nodes)
	d := &driver{tb: t, ctx: e.ctx, s: s, rec: link.Record{Link: "area", State: st}}
	d.commit(keychain.Wrapped{})
	from := d.rec.Revision
	d.begin()
	if got := len(e.holders(wrapped("area", 1))); got != 501 {
		t.Fatalf("the first key stands in %d documents, want the record and 500 orders", got)
	}
	if msg := e.torn(from, d.rec.Revision); msg != "" {
		t.Fatal(msg)
	}
}
