package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/workflows"
)

// inFlight are the phases in which something can be killed.
var inFlight = []link.Phase{link.Staging, link.Switching, link.Draining, link.Retiring}

// rotatingWorld is three sites on their first keys, with traffic.
func rotatingWorld(t *testing.T) *world {
	w := newWorld(t)
	w.declare(threeSites)
	w.staff()
	w.rotate(0, "--all")
	w.traffic()
	return w
}

// slowly makes every operation of every device take long enough to hit a phase.
func (w *world) slowly(d time.Duration) {
	for _, n := range w.topo.Nodes {
		w.Lab.Network.Node(n.Name).Slow(d)
	}
}

func result(t *testing.T, r rotation, id keychain.LinkID) workflows.Result {
	t.Helper()
	for _, l := range r.Links {
		if l.Link == id {
			return l
		}
	}
	t.Fatalf("no result for %s in %+v", id, r)
	return workflows.Result{}
}

func TestThreeSitesOneDoesNotAnswer(t *testing.T) {
	w := rotatingWorld(t)
	w.agents["dc3"].Kill()
	r := w.rotate(4, "--all", "--timeout", "3s")
	for id, want := range map[keychain.LinkID]link.Outcome{
		"dc1-dc2": link.Rotated, "dc2-dc1": link.Rotated, "dc1-dc3": link.Held, "dc3-dc1": link.Held,
	} {
		got := result(t, r, id)
		if got.Outcome != want {
			t.Errorf("%s: %+v, want %s", id, got, want)
		}
		if want == link.Held && got.Reason == "" {
			t.Errorf("%s is held without a reason", id)
		}
		sends := keychain.Epoch(2)
		if want == link.Held {
			sends = 1
		}
		if s := w.record(id).State; s.Sends().Epoch != sends {
			t.Errorf("%s sends %v in %v, want epoch %d", id, s.Sends(), s.Phase, sends)
		}
	}
	if why := w.keyorch(0, "why", "dc1-dc3").Out; !strings.Contains(why, "dc3-spine1") {
		t.Errorf("why does not name the node that is awaited:\n%s", why)
	}
	w.startAgent("dc3")
	for _, l := range w.topo.Links {
		w.settled(l.Name, 2)
	}
	w.noLoss()
}

func TestKilledInEachPhase(t *testing.T) {
	w := rotatingWorld(t)
	w.slowly(100 * time.Millisecond)
	kill := map[string]func(){
		"worker":           func() { w.worker.Kill(); w.startWorker() },
		"upstream agent":   func() { w.agents["dc1"].Kill(); w.startAgent("dc1") },
		"downstream agent": func() { w.agents["dc2"].Kill(); w.startAgent("dc2") },
		"servers":          w.restartStack,
	}
	const id = "dc1-dc2"
	for _, who := range []string{"worker", "upstream agent", "downstream agent", "servers"} {
		for _, phase := range inFlight {
			w.run(who+" in "+phase.String(), func(t *testing.T) {
				before := w.record(id).State.To.Epoch
				ended := w.rotating("--all")
				w.untilPhase(id, phase)
				kill[who]()
				if who != "servers" { // the operator's own connections are gone, too
					ended(0)
				}
				for _, l := range w.topo.Links {
					w.settled(l.Name, before+1)
				}
				w.noLoss()
			})
		}
	}
}

func TestAbortInEachPhase(t *testing.T) {
	w := rotatingWorld(t)
	w.slowly(100 * time.Millisecond)
	const id = "dc1-dc2"
	for _, phase := range inFlight {
		w.run(phase.String(), func(t *testing.T) {
			before := w.record(id).State
			ended := w.rotating(id)
			w.untilPhase(id, phase)
			if phase == link.Retiring {
				said := w.keyorch(3, "abort", id)
				if !strings.Contains(said.Err, "too late") {
					t.Errorf("abort while retiring says: %s", said.Err)
				}
				ended(0)
				w.settled(id, before.Highest+1)
				return
			}
			w.keyorch(0, "abort", id, "--reason", "a change of mind")
			ended(5)
			w.settled(id, before.To.Epoch)
			after := w.record(id)
			if after.State.To.Epoch != before.To.Epoch || after.State.Highest != before.Highest+1 {
				t.Errorf("after the abort the link is on %v, highest %d; it came from %v, highest %d",
					after.State.To, after.State.Highest, before.To, before.Highest)
			}
			if after.Last.Outcome != link.Aborted || after.Last.Reason != "a change of mind" {
				t.Errorf("the record says %+v", after.Last)
			}
		})
	}
	w.rotate(0, id)
	w.noLoss()
}

func TestTwoRotationsOfOneLink(t *testing.T) {
	w := rotatingWorld(t)
	w.Lab.Network.Node("dc2-spine1").Slow(300 * time.Millisecond)
	ended := w.rotating("dc1-dc2")
	w.untilPhase("dc1-dc2", link.Staging)
	first := w.record("dc1-dc2").Last.Campaign
	if said := w.keyorch(3, "rotate", "dc1-dc2"); !strings.Contains(said.Err, first) {
		t.Errorf("the second rotation got %q, want it refused with the name of %s", said.Err, first)
	}
	ended(0)
	w.noLoss()
}

func TestTwoAgentsOneActs(t *testing.T) {
	w := rotatingWorld(t)
	second, err := w.Agent(t.Context(), "dc2", "--state-dir", w.Lab.Dir+"/other-state")
	must(t, err)
	defer second.Kill()
	w.rotate(0, "--all")
	before, _ := w.view.Agent("dc2-spine1")
	if before.PID != w.agents["dc2"].PID() {
		t.Errorf("the node is served by process %d, not by the first agent", before.PID)
	}
	// When the first goes, the second takes over.
	if code := w.agents["dc2"].Terminate(); code != 0 {
		t.Errorf("the agent ended with %d on SIGTERM", code)
	}
	w.until("the second agent serves dc2", func() bool {
		a, ok := w.view.Agent("dc2-spine1")
		b, both := w.view.Agent("dc2-spine2")
		return ok && both && a.PID == second.PID() && b.PID == second.PID()
	})
	w.rotate(0, "--all")
	w.noLoss()
}

func TestLostCounterGetsANewEpoch(t *testing.T) {
	w := rotatingWorld(t)
	before := w.record("dc1-dc2").State.To.Epoch
	w.Lab.Network.Node("dc1-spine1").RebootLosingKeys()
	w.settled("dc1-dc2", before+1)
	w.settled("dc1-dc3", before+1)
	sent := w.Lab.Network.Stats("dc1-dc2").Sent
	w.until("dc1-spine1 sends again", func() bool { return w.Lab.Network.Stats("dc1-dc2").Sent > sent })
	for _, l := range w.topo.Links {
		if s := w.Lab.Network.Stats(l.Name); s.Reused > 0 {
			t.Errorf("%s: %d packets went out with a counter used before", l.Name, s.Reused)
		}
	}
}

func TestAdoptsWhatATerminatedWorkflowLeft(t *testing.T) {
	w := rotatingWorld(t)
	w.agents["dc3"].Kill()
	w.rotate(4, "dc1-dc3", "--timeout", "2s")
	w.terminate(w.record("dc1-dc3").Last.Campaign)
	w.terminate(w.record("dc1-dc3").Owner)
	w.startAgent("dc3")
	r := w.rotate(0, "dc1-dc3")
	if got := result(t, r, "dc1-dc3"); got.Epoch != 2 {
		t.Errorf("the adopted rotation led to %+v, want epoch 2, which was staged already", got)
	}
	w.noLoss()
}
