package workflows_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/workflows"
)

// awaiting is an Await under way.
type awaiting struct {
	news []workflows.News
	err  error
	took time.Duration
	back chan struct{} // closed when it has come back; the rest is set then
	stop chan struct{} // closed when its worker is to stop
}

// await starts Await over links as a workflow that has just written them would.
func (w *world) await(t *testing.T, a *workflows.Activities, ids ...keychain.LinkID) *awaiting {
	q := workflows.AwaitRequest{Owner: theCampaign}
	for _, id := range ids {
		r := w.record(id)
		q.Links = append(q.Links, workflows.Watch{
			Link: id, Revision: r.Revision, FromKCV: r.State.From.KCV, ToKCV: r.State.To.KCV,
			Awaiting: r.State.Awaiting, Lost: r.State.Lost,
		})
	}
	x := &awaiting{back: make(chan struct{}), stop: make(chan struct{})}
	go func() {
		defer close(x.back)
		var suite testsuite.WorkflowTestSuite
		suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
		env := suite.NewTestActivityEnvironment()
		env.RegisterActivity(a.Await)
		env.SetWorkerStopChannel(x.stop)
		begun := time.Now()
		v, err := env.ExecuteActivity(a.Await, q)
		if err == nil {
			err = v.Get(&x.news)
		}
		x.err, x.took = err, time.Since(begun)
	}()
	synctest.Wait()
	return x
}

// quiet lets time pass and wants Await still waiting.
func (x *awaiting) quiet(t *testing.T, d time.Duration, why string) {
	t.Helper()
	time.Sleep(d)
	synctest.Wait()
	select {
	case <-x.back:
		t.Fatalf("Await came back after %v with %+v, %v: %s", x.took, x.news, x.err, why)
	default:
	}
}

// ended wants Await back within a second.
func (x *awaiting) ended(t *testing.T) []workflows.News {
	t.Helper()
	time.Sleep(time.Second)
	synctest.Wait()
	select {
	case <-x.back:
	default:
		t.Fatal("Await did not come back")
	}
	if x.err != nil {
		t.Fatal(x.err)
	}
	return x.news
}

// owned is a link left in a phase whose owner is the workflow under test.
func (w *world) owned(id keychain.LinkID, p link.Phase) {
	w.leftIn(id, p)
	w.locked(func() {
		r := w.records[id]
		r.Owner = theCampaign
		w.records[id] = r
	})
}

func TestAwaitReturnsOnNewsOnly(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"), pair("b"))
		w.owned("a", link.Staging)
		w.owned("b", link.Staging)
		x := w.await(t, w.activities(), "a", "b")
		x.quiet(t, time.Minute, "nothing happened")
		r := w.record("a").State
		w.says("a", keychain.Report{Node: "a-down1", Turn: r.Turn - 1, Accepts: []keychain.Ref{{Epoch: 1, KCV: kcv("a", 1)}}})
		x.quiet(t, time.Minute, "an old report is no news")
		w.says("a", keychain.Report{Node: "a-down1", Turn: r.Turn, Fault: "unavailable", Message: "it does not answer",
			Accepts: []keychain.Ref{{Epoch: 1, KCV: kcv("a", 1)}}})
		x.quiet(t, time.Minute, "a fault confirms nothing")
		w.tellAll()
		x.quiet(t, time.Minute, "a signal is no news")
		w.says("a", keychain.Report{Node: "a-down1", Turn: r.Turn, Message: "a long story", Counters: []keychain.Counter{{Epoch: 1, Packets: 7}},
			Accepts: []keychain.Ref{{Epoch: 1, KCV: kcv("a", 1)}, {Epoch: 2, KCV: kcv("a", 2)}}})
		news := x.ended(t)
		if len(news) != 1 || news[0].Link != "a" || news[0].Proceed || news[0].Gone != "" {
			t.Fatalf("the news is %+v", news)
		}
		for _, report := range news[0].Reports {
			if report.Message != "" || report.Counters != nil {
				t.Errorf("a report brings what no step looks at into the history: %+v", report)
			}
		}
	})
}

// TestAwaitOnAnOlderEtcd has a view that has caught up, and shows less than the
// workflow itself has written: etcd was put back, or emptied. The link is let go.
func TestAwaitOnAnOlderEtcd(t *testing.T) {
	for name, lose := range map[string]func(w *world){
		"put back": func(w *world) {
			old := w.records["a"]
			old.Owner, old.Revision = "", old.Revision-1
			w.shown["a"] = old
		},
		"emptied": func(w *world) { w.shown["a"] = link.Record{} },
	} {
		t.Run(name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := newWorld(t, pair("a"))
				w.owned("a", link.Staging)
				w.locked(func() { lose(w) })
				w.change(alive, "a-down1", "a-down2", "a-up") // they obey
				x := w.await(t, w.activities(), "a")
				if news := x.ended(t); len(news) != 1 || !strings.Contains(news[0].Gone, "keyorch recover") {
					t.Errorf("the news is %+v", news)
				}
			})
		})
	}
}

// TestAwaitStopsWithItsWorker comes back empty-handed, so that another worker
// goes on.
func TestAwaitStopsWithItsWorker(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"))
		w.owned("a", link.Staging)
		x := w.await(t, w.activities(), "a")
		x.quiet(t, time.Minute, "nothing happened")
		close(x.stop)
		if news := x.ended(t); len(news) != 0 {
			t.Errorf("the news is %+v", news)
		}
	})
}

// TestTheGatesAreAsked lets nobody switch before all are there, and nothing be
// forgotten that is still sent with.
func TestTheGatesAreAsked(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"), pair("b"))
		w.owned("a", link.Staging)
		w.locked(func() {
			for _, n := range []keychain.NodeID{"a-down1", "a-down2"} {
				report := w.obey(w.nodes[n], "a")
				w.report("a", report)
				w.step("a", link.Reported{Report: report})
			}
			w.nodes["a-up"].dead = true
		})
		x := w.await(t, w.activities(), "a")
		x.quiet(t, time.Minute, "no agent serves a-up")
		w.change(alive, "a-up")
		if news := x.ended(t); !news[0].Proceed {
			t.Errorf("the news is %+v", news)
		}

		w.owned("b", link.Draining)
		back := w.nodes["b-up"]
		r := w.readBack(back, back.at["b"])
		r.Sends = keychain.Ref{Epoch: 1, KCV: kcv("b", 1)}
		w.says("b", r)
		x = w.await(t, w.activities(), "b")
		x.quiet(t, time.Minute, "b-up sends with the old key again")
		w.change(alive, "b-up")
		if news := x.ended(t); !news[0].Proceed {
			t.Errorf("the news is %+v", news)
		}
	})
}

// TestDrainingIsMeasuredFromFirstSight trusts no clock but its own: neither that
// of the worker that wrote the record, nor that of the record's phase.
func TestDrainingIsMeasuredFromFirstSight(t *testing.T) {
	for _, off := range []time.Duration{-24 * time.Hour, 0, 24 * time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := newWorld(t, draining("a"))
				w.owned("a", link.Draining)
				w.locked(func() {
					r := w.records["a"]
					r.State.Since = time.Now().Add(off)
					w.records["a"] = r
				})
				a := w.activities()
				x := w.await(t, a, "a")
				x.quiet(t, 50*time.Second, "it drains for a minute")
				close(x.stop) // the same worker is asked again: its clock goes on
				x.ended(t)
				x = w.await(t, a, "a")
				x.quiet(t, 8*time.Second, "it drains for a minute")
				time.Sleep(time.Second)
				if news := x.ended(t); !news[0].Proceed {
					t.Errorf("the news is %+v", news)
				}
			})
		})
	}
}

// TestAnotherWorkerDrainsAnew has no first sight of its own yet.
func TestAnotherWorkerDrainsAnew(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, draining("a"))
		w.owned("a", link.Draining)
		x := w.await(t, w.activities(), "a")
		x.quiet(t, 50*time.Second, "it drains for a minute")
		close(x.stop)
		x.ended(t)
		x = w.await(t, w.activities(), "a")
		x.quiet(t, 58*time.Second, "it drains for a minute")
		time.Sleep(time.Second)
		x.ended(t)
	})
}

// TestNoHotLoop holds a link for six hours with nodes that do not agree on the
// key, and that report again every ten seconds. Who comes first decides which key
// is the link's; nobody may make the workflow go round and round.
func TestNoHotLoop(t *testing.T) {
	downs := []keychain.NodeID{"a-down1", "a-down2", "a-down3"}
	for _, c := range []struct {
		name  string
		liars []keychain.NodeID
		first keychain.NodeID
	}{
		{"the first lies", downs[:1], downs[0]},
		{"the second lies", downs[1:2], downs[0]},
		{"the last lies", downs[2:], downs[0]},
		{"a liar comes first", downs[2:], downs[2]},
		{"two lie", downs[1:], downs[2]},
		{"a dead node", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				l := pair("a")
				l.Downstream = downs
				w := newWorld(t, l)
				w.established("a")
				for i, n := range downs {
					w.change(func(n *node) { n.delay = time.Duration(i+1) * time.Second }, n)
				}
				w.change(func(n *node) { n.lies = 2 }, c.liars...)
				if c.first != "" {
					w.change(func(n *node) { n.delay = time.Millisecond }, c.first)
				} else {
					w.change(dead, downs[1])
				}
				r := w.newRun(theCampaign)
				commits, begun := 0, time.Now()
				time.AfterFunc(time.Minute, func() { w.locked(func() { commits = w.commits }) })
				go func() {
					for time.Since(begun) < 6*time.Hour {
						time.Sleep(10 * time.Second)
						w.change(func(*node) {}, downs...)
					}
					w.locked(func() { commits = w.commits - commits })
					w.change(func(n *node) { n.lies, n.dead = 0, false }, downs...)
					time.Sleep(time.Minute)
					r.abort(workflows.AbortRequest{}) // where a liar came first, the truth does not help
				}()
				_ = r.outcome(batch("a"))
				awaits := slices.DeleteFunc(r.trace, func(c command) bool { return c.Name != "Await" })
				if len(awaits) > 20 || commits > 0 {
					t.Errorf("%d Awaits and %d commits in six hours of being held", len(awaits), commits)
				}
			})
		})
	}
}

// TestALostLinkDoesNotWaitForOthers gets its new epoch while Begin is being told
// to wait for another link.
func TestALostLinkDoesNotWaitForOthers(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, draining("a"), pair("b"))
		w.established("a", "b")
		w.mint = mintFails("b", fault.Unavailable)
		lost := time.Time{}
		w.when("a", in(link.Draining), func() { w.lose("a-up", "a") })
		w.when("a", func(r link.Record) bool { return r.State.Phase == link.Steady && r.State.To.Epoch == 2 }, func() { w.locked(func() { lost = time.Now() }) })
		w.when("a", func(r link.Record) bool { return r.State.To.Epoch == 3 }, func() {
			w.locked(func() {
				w.mint = nil
				if took := time.Since(lost); took > 100*time.Millisecond {
					t.Errorf("a silent link waited %v for its new epoch", took)
				}
			})
		})
		want(t, w.rotate("a", "b"), res("a", link.Rotated, 3), res("b", link.Rotated, 2))
	})
}

// tellAll wakes every subscription for nothing.
func (w *world) tellAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.subs {
		select {
		case s.c <- struct{}{}:
		default:
		}
	}
}
