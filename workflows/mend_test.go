package workflows_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/workflows"
)

// starter is Temporal as Mend sees it: an ID starts once.
type starter struct {
	w       *world
	fails   func(id string) bool
	started []string
	begins  bool // what was started takes its link over
}

func (s *starter) Start(_ context.Context, id string, in workflows.Batch) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	switch {
	case s.fails != nil && s.fails(id):
		return fault.New(fault.Unavailable, "start workflow %s: temporal does not answer", id)
	case slices.Contains(s.started, id):
		return nil
	}
	s.started = append(s.started, id)
	if in.Intent != workflows.ToMend || len(in.Links) != 1 || in.Campaign != id {
		s.w.t.Errorf("it started %+v", in)
	}
	if s.begins {
		r := s.w.records[in.Links[0]]
		r.Owner = id
		s.w.records[in.Links[0]] = r
		s.w.tell(r.Link)
	}
	return nil
}

// ids is what was started so far.
func (s *starter) ids() []string {
	synctest.Wait()
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return slices.Clone(s.started)
}

// mending runs Mend until the test ends, or it is told to stop.
func (s *starter) mending(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		workflows.Mend(ctx, view{s.w}, s, s.w, slog.New(slog.DiscardHandler))
	}()
	return func() { cancel(); <-done }
}

func TestMendStartsOnALossOnlyAndOnce(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"), pair("b"), pair("c"), pair("d"))
		w.established("a", "b")
		w.leftIn("c", link.Draining)
		w.leftIn("d", link.Steady) // between two epochs of its workflow
		w.locked(func() { w.running["dead-1"] = true })
		s := &starter{w: w, begins: true}
		stop := s.mending(t)
		w.change(dead, "b-up")
		w.lose("c-up", "c") // its workflow sees to it
		w.lose("d-up", "d")
		time.Sleep(time.Hour)
		if got := s.ids(); len(got) > 0 {
			t.Fatalf("it started %v with nothing lost", got)
		}
		w.lose("a-up", "a")
		for range 10 { // and again and again
			time.Sleep(time.Minute)
			w.change(func(*node) {}, "a-up", "a-down1", "b-down1")
		}
		if got := s.ids(); !slices.Equal(got, []string{"mend-a-1"}) {
			t.Fatalf("it started %v", got)
		}
		stop()
		stop = s.mending(t) // a restart of the worker starts nothing
		time.Sleep(time.Hour)
		stop()
		if got := s.ids(); len(got) != 1 {
			t.Errorf("after a restart it has started %v", got)
		}
	})
}

// TestMendMindsWhoseOwnerWasTerminated finds a link that its workflow left between
// two epochs.
func TestMendMindsWhoseOwnerWasTerminated(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"))
		w.leftIn("a", link.Steady)
		s := &starter{w: w, begins: true}
		stop := s.mending(t)
		defer stop()
		w.lose("a-up", "a")
		time.Sleep(time.Minute)
		if got := s.ids(); len(got) != 1 || got[0] != "mend-a-2" {
			t.Errorf("it started %v, want mend-a-2", got)
		}
	})
}

// TestMendSeesALossFromBeforeItsStart looks at everything once when it starts.
func TestMendSeesALossFromBeforeItsStart(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"), pair("b"))
		w.established("a", "b")
		w.lose("b-up", "b")
		s := &starter{w: w, begins: true}
		stop := s.mending(t)
		defer stop()
		if got := s.ids(); !slices.Equal(got, []string{"mend-b-1"}) {
			t.Errorf("it started %v", got)
		}
	})
}

// TestMendTriesAgain has the first start fail and a later one succeed: the first
// must not be forgotten over it.
func TestMendTriesAgain(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"), pair("b"), pair("c"))
		w.established("a", "b", "c")
		away := true
		s := &starter{w: w, begins: true, fails: func(id string) bool { return away && id == "mend-a-1" }}
		w.lose("a-up", "a")
		w.lose("b-up", "b")
		stop := s.mending(t)
		defer stop()
		time.Sleep(time.Second)
		w.lose("c-up", "c")
		if got := s.ids(); !slices.Equal(got, []string{"mend-b-1", "mend-c-1"}) {
			t.Errorf("it started %v", got)
		}
		w.locked(func() { away = false })
		time.Sleep(time.Minute)
		if got := s.ids(); !slices.Contains(got, "mend-a-1") || len(got) != 3 {
			t.Errorf("it started %v, want mend-a-1 too", got)
		}
	})
}

// TestWhatMendStartsMends runs what Mend starts.
func TestWhatMendStartsMends(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"))
		w.established("a")
		s := &starter{w: w}
		stop := s.mending(t)
		w.lose("a-up", "a")
		ids := s.ids()
		if len(ids) != 1 {
			t.Fatalf("it started %v", ids)
		}
		in := workflows.Batch{Campaign: ids[0], Intent: workflows.ToRotate, Links: []keychain.LinkID{"a"}}
		want(t, w.newRun(ids[0]).outcome(in), res("a", link.Rotated, 2))
		time.Sleep(time.Hour)
		stop()
		if got := s.ids(); len(got) != 1 {
			t.Errorf("it started %v", got)
		}
	})
}
