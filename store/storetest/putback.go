package storetest

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/keychain"
)

// testPutBack puts an etcd back to where it had all that the inboxes' watch was told of, but
// less than what the same connection heard of how far etcd is. The client resumes the watch
// behind the latter, at a revision that is yet to come: until it has, nothing arrives there,
// and nobody on the connection hears how far etcd is.
func testPutBack(t *testing.T, e *env, srv Server) {
	e.config.LeaseTTL = 2 * patience // stopping takes etcd a while
	s := e.open()
	v, err := s.View(e.ctx)
	must(t, err)
	ctx, stop := context.WithCancel(e.ctx)
	taken := make(chan string, 100)
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		for ctx.Err() == nil { // as the scribe does
			_ = s.Trail().Inbox(ctx, 0, func(entries []audit.Waiting) error {
				for _, w := range entries {
					taken <- w.Key
				}
				return nil
			})
		}
	}()
	defer func() { stop(); <-followed }()
	must(t, s.Append(e.ctx, audit.Record{Kind: audit.Operator, Verb: "before"}))
	first := receive(t, "the first entry", taken)
	for range 10 { // the copy is ahead of what the inboxes' watch was told
		e.put("/unrelated", "")
	}
	kept := filepath.Join(t.TempDir(), "etcd")
	srv.Restart(func() { must(t, os.CopyFS(kept, os.DirFS(srv.Data))) })
	e.drive(s, "lost", ids("a"), ids("b"))
	for range 100 {
		e.put("/unrelated", "")
	}
	must(t, v.CatchUp(e.ctx)) // all watches of the connection hear of it
	must(t, v.WaitRevision(e.ctx, e.put("/unrelated", "")))
	srv.Restart(func() {
		must(t, os.RemoveAll(srv.Data))
		must(t, os.CopyFS(srv.Data, os.DirFS(kept)))
	})

	must(t, v.CatchUp(e.ctx))
	if _, ok := v.Record("lost"); ok {
		t.Error("the view shows what never happened")
	}
	must(t, s.Append(e.ctx, audit.Record{Kind: audit.Operator, Verb: "after"}))
	for key := first; key == first; { // which stands there still, and may be taken anew
		key = receive(t, "an entry that was written after etcd was put back", taken)
	}
	d := e.drive(s, "found", ids("a"), ids("b"))
	must(t, v.CatchUp(e.ctx))
	if r, _ := v.Record(keychain.LinkID("found")); r.Revision != d.rec.Revision {
		t.Errorf("the view has revision %d of what was written since, want %d", r.Revision, d.rec.Revision)
	}
}
