package workflows_test

import (
	"context"
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
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/workflows"
)

// call runs one activity by itself.
func call[Q, A any](t *testing.T, activity func(context.Context, Q) (A, error), q Q) (a A, err error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivity(activity)
	v, err := env.ExecuteActivity(activity, q)
	if err == nil {
		err = v.Get(&a)
	}
	return a, err
}

func begin(t *testing.T, w *world, owner string, ids ...keychain.LinkID) ([]workflows.Begun, error) {
	t.Helper()
	return call(t, w.activities().Begin, workflows.BeginRequest{Owner: owner, Campaign: owner, Intent: workflows.ToRotate, Links: ids})
}

// TestBeginIsRepeatable crashes Begin before and after its commit.
func TestBeginIsRepeatable(t *testing.T) {
	for _, c := range []struct {
		name   string
		outage outage
		minted int
	}{
		{"the commit never happened", requestLost, 2},
		{"the commit happened and nobody was told", answerLost, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := newWorld(t, pair("a"))
				w.established("a")
				w.outage = func(n int) outage {
					if n == 1 {
						return c.outage
					}
					return fine
				}
				var revision int64
				if _, err := begin(t, w, theCampaign, "a"); err == nil {
					t.Fatal("the first try did not notice that etcd is away")
				}
				var last workflows.Begun
				for range 3 {
					w.locked(func() { revision = w.records["a"].Revision })
					begun, err := begin(t, w, theCampaign, "a")
					if err != nil {
						t.Fatal(err)
					}
					last = begun[0]
				}
				stored := w.record("a")
				if stored.Revision != revision {
					t.Error("it wrote again what was there")
				}
				if r := last.Record; r.Revision != stored.Revision || r.State.To.Epoch != 2 || r.State.Phase != link.Staging || r.Owner != theCampaign {
					t.Errorf("it answers %+v, the record is %+v", last, stored)
				}
				if stored.State.Highest != 2 || w.minted["a/2"] != c.minted {
					t.Errorf("highest epoch %d, minted %v", stored.State.Highest, w.minted)
				}
			})
		})
	}
}

func TestBeginAndTheOwner(t *testing.T) {
	for _, c := range []struct {
		name    string
		phase   link.Phase
		running bool
		away    bool
		denied  string
		later   string
		epoch   keychain.Epoch
	}{
		{name: "in flight, and its owner runs", phase: link.Switching, running: true, denied: "dead-1"},
		{name: "Steady, and its owner runs", phase: link.Steady, running: true, denied: "dead-1"},
		{name: "in flight, and its owner has ended", phase: link.Switching, epoch: 2},
		{name: "Steady, and its owner has ended", phase: link.Steady, epoch: 3},
		{name: "in flight, and nobody knows", phase: link.Switching, away: true, later: "temporal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := newWorld(t, pair("a"))
				w.leftIn("a", c.phase)
				before := w.record("a")
				w.running["dead-1"] = c.running
				if c.away {
					w.runs = fault.New(fault.Unavailable, "look up dead-1: temporal does not answer")
				}
				begun, err := begin(t, w, theCampaign, "a")
				if err != nil {
					t.Fatal(err)
				}
				b, after := begun[0], w.record("a")
				if c.epoch == 0 {
					if !strings.Contains(b.Denied, c.denied) || !strings.Contains(b.Later, c.later) || b.Denied+b.Later == "" {
						t.Errorf("it answers %+v", b)
					}
					if after.Revision != before.Revision {
						t.Errorf("it wrote %+v", after)
					}
					return
				}
				if b.Record.Owner != theCampaign || b.Record.State.To.Epoch != c.epoch || after.Owner != theCampaign {
					t.Errorf("it answers %+v", b)
				}
				if c.phase == link.Switching && (after.State.Turn != before.State.Turn || len(w.minted) > 0) {
					t.Errorf("it did not adopt the link as it stood: %+v", after)
				}
				// The dead owner's last word comes too late.
				before.State.Turn++
				saved, err := call(t, w.activities().Save, []link.Record{before})
				if err != nil || saved[0].Gone == "" {
					t.Errorf("a Save of the old owner: %+v, %v", saved, err)
				}
			})
		})
	}
}

// TestTwoBeginsRace has two workflows read the same record before either writes.
func TestTwoBeginsRace(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"), pair("b"))
		w.established("a", "b")
		w.running["one"], w.running["two"] = true, true
		w.mint = func(keychain.LinkID) error {
			w.mu.Unlock()
			time.Sleep(time.Second)
			w.mu.Lock()
			return nil
		}
		answers := map[string][]workflows.Begun{}
		for _, owner := range []string{"one", "two"} {
			go func() {
				begun, err := begin(t, w, owner, "a", "b")
				if err != nil {
					t.Error(err)
				}
				w.locked(func() { answers[owner] = begun })
			}()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for i, id := range []keychain.LinkID{"a", "b"} {
			winner := w.record(id).Owner
			loser := map[string]string{"one": "two", "two": "one"}[winner]
			if won := answers[winner][i]; won.Denied+won.Later != "" || won.Record.Revision != w.record(id).Revision {
				t.Errorf("%s has %s and was answered %+v", winner, id, won)
			}
			if lost := answers[loser][i]; lost.Later == "" || lost.Record.Owner == loser {
				t.Errorf("%s lost %s and was answered %+v, want it to look again", loser, id, lost)
			}
			again, err := begin(t, w, loser, id)
			if err != nil || !strings.Contains(again[0].Denied, winner) {
				t.Errorf("asked again, %s is answered %+v, %v, want it refused with the name of %s", loser, again, err, winner)
			}
		}
	})
}

// TestBeginTakesInWhatNodesSay begins on a link whose sender has lost the present
// key: whether there is a way back depends on it later.
func TestBeginTakesInWhatNodesSay(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"))
		w.established("a")
		w.lose("a-up", "a")
		begun, err := begin(t, w, theCampaign, "a")
		if err != nil || !slices.Equal(begun[0].Record.State.Lost, []link.Loss{{Node: "a-up", Epoch: 1}}) {
			t.Errorf("it answers %+v, %v", begun, err)
		}
	})
}

func TestBeginDeniesALinkThatCannotBeWritten(t *testing.T) {
	timeless(t, func(t *testing.T) {
		w := newWorld(t, pair("a"), pair("b"))
		w.established("b")
		w.declared.Nodes = slices.DeleteFunc(w.declared.Nodes, func(n topology.Node) bool { return n.Name == "a-down2" })
		w.declared.Links = append(w.declared.Links, topology.Link{Name: "c"})
		begun, err := begin(t, w, theCampaign, "a", "b", "c")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(begun[0].Denied, "no site") || begun[1].Denied != "" || !strings.Contains(begun[2].Denied, "empty side") {
			t.Errorf("it answers %+v", begun)
		}
	})
}

func TestSaveIsRepeatable(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*link.Record)
	}{
		{"a step", func(r *link.Record) { r.State, _ = link.Step(r.State, link.Abort{Reason: "no"}) }},
		{"a loss", func(r *link.Record) { r.State.Lost = []link.Loss{{Node: "a-up", Epoch: 1}} }},
		{"a member that left", func(r *link.Record) { r.State.Downstream = r.State.Downstream[:1] }},
		{"the end", func(r *link.Record) {
			r.State.Phase, r.State.From, r.State.Awaiting, r.Owner = link.Steady, link.Key{}, nil, ""
			r.State.Turn++
			r.Last.Outcome, r.Last.Ended = link.Rotated, time.Now()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				w := newWorld(t, pair("a"), pair("b"))
				w.established("a", "b")
				begun, err := begin(t, w, theCampaign, "a", "b")
				if err != nil {
					t.Fatal(err)
				}
				records := []link.Record{begun[0].Record, begun[1].Record}
				c.change(&records[0])
				records[1].State, _ = link.Step(records[1].State, link.Abort{})
				w.outage = func(n int) outage {
					if n == 2 {
						return answerLost
					}
					return fine
				}
				if _, err := call(t, w.activities().Save, records); err == nil {
					t.Fatal("the first try did not notice that etcd is away")
				}
				for range 2 {
					saved, err := call(t, w.activities().Save, records)
					if err != nil || saved[0].Gone+saved[1].Gone != "" || saved[0].Revision != w.record("a").Revision || saved[1].Revision != w.record("b").Revision {
						t.Errorf("repeated, it answers %+v, %v", saved, err)
					}
				}
				// Somebody else takes one over: only that one is gone.
				ours := w.record("a")
				for _, take := range []func(*link.Record){
					func(r *link.Record) { r.Owner = "rotate-2" },           // another batch of the campaign
					func(r *link.Record) { r.Last.Campaign = "abort-a" },    // one that has ended since
					func(r *link.Record) { r.State.Turn++ },                 // and has moved it on
					func(r *link.Record) { r.State.Lost = []link.Loss{{}} }, // or was told of another loss
				} {
					theirs := ours
					take(&theirs)
					theirs = w.put(theirs)
					saved, err := call(t, w.activities().Save, records)
					if err != nil || saved[0].Gone == "" || saved[1].Gone != "" || w.record("a").Revision != theirs.Revision {
						t.Errorf("after it was taken over as %+v, it answers %+v, %v", theirs, saved, err)
					}
				}
			})
		})
	}
}
