package storetest

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/store"
)

func testOutbox(t *testing.T, e *env) {
	s := e.open()
	docs, guard, err := s.Outbox(e.ctx)
	must(t, err)
	if len(docs) != 0 || guard != 0 {
		t.Fatalf("a new outbox has %v, guarded by %d", docs, guard)
	}
	put := func(keys ...string) (out []store.Document) {
		for _, k := range keys {
			out = append(out, store.Document{Key: k, Value: []byte(`{"of":"` + k + `"}`)})
		}
		return out
	}
	first, err := s.WriteOutbox(e.ctx, store.OutboxChange{Head: []byte("1"), Put: put("queue/a/1", "told/link.held/ab")})
	must(t, err)
	_, err = s.WriteOutbox(e.ctx, store.OutboxChange{Head: []byte("other"), Put: put("queue/a/2")})
	wantKind(t, err, fault.Stale)
	_, err = s.WriteOutbox(e.ctx, store.OutboxChange{Head: []byte("other"), Guard: first + 1, Put: put("queue/a/2")})
	wantKind(t, err, fault.Stale)
	// Who has sent something needs no guard, and leaves the head alone.
	_, err = s.WriteOutbox(e.ctx, store.OutboxChange{Put: put("receivers/a"), Delete: []string{"queue/a/1"},
		Records: []audit.Record{{Kind: audit.Operator, Verb: "notify test"}}})
	must(t, err)
	docs, guard, err = s.Outbox(e.ctx)
	must(t, err)
	want := append([]store.Document{{Key: "head", Value: []byte("1")}}, put("receivers/a", "told/link.held/ab")...)
	if guard != first || !reflect.DeepEqual(docs, want) {
		t.Errorf("guard %d, want %d; the outbox has\n%s\nwant\n%s", guard, first, docs, want)
	}
	var many []string
	for i := range 3000 {
		many = append(many, fmt.Sprintf("queue/a/%05d", i))
	}
	_, err = s.WriteOutbox(e.ctx, store.OutboxChange{Head: []byte("2"), Guard: first, Put: put(many...)})
	must(t, err)
	_, err = s.WriteOutbox(e.ctx, store.OutboxChange{Put: put(append(many, many...)...)})
	wantKind(t, err, fault.Invalid)
	view, err := s.View(e.ctx)
	must(t, err)
	if broken := view.Broken(); len(broken) != 0 {
		t.Errorf("a view follows the outbox: %v", broken)
	}
}

// testCatchUpInQuiet has watches begin after the last write that there is.
func testCatchUpInQuiet(t *testing.T, e *env) {
	quiet := func(what string, watch func(ctx context.Context, s *store.Store, began func())) {
		s := e.open()
		view, err := s.View(e.ctx)
		must(t, err)
		ctx, stop := context.WithCancel(e.ctx)
		began, over := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(over)
			watch(ctx, s, sync.OnceFunc(func() { close(began) }))
		}()
		<-began
		watching := time.NewTimer(300 * time.Millisecond) // its watch is about to begin
		<-watching.C
		soon, cancel := context.WithTimeout(e.ctx, 5*time.Second)
		defer cancel()
		if err := view.CatchUp(soon); err != nil {
			t.Errorf("beside %s it does not catch up: %v", what, err)
		}
		stop()
		<-over
	}
	quiet("a duty", func(ctx context.Context, s *store.Store, began func()) {
		_ = s.Lead(ctx, "quiet", func(ctx context.Context) error { began(); <-ctx.Done(); return nil })
	})
	quiet("the inboxes", func(ctx context.Context, s *store.Store, began func()) {
		must(t, s.Append(ctx, audit.Record{Kind: audit.Operator, Verb: "look"})) // which no view follows
		_ = s.Trail().Inbox(ctx, 0, func([]audit.Waiting) error { began(); return nil })
	})
}
