package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/recovery"
)

// eachPhase is a link for each phase, on nodes of its own, so that each can be held
// there.
func eachPhase() string {
	var b strings.Builder
	b.WriteString("apiVersion: keyorch/v1\nkind: Site\nmetadata: {name: dc1}\n---\napiVersion: keyorch/v1\nkind: Site\nmetadata: {name: dc2}\n")
	b.WriteString("---\napiVersion: keyorch/v1\nkind: Policy\nmetadata: {name: quick}\nspec: {drain: 300ms}\n")
	b.WriteString("---\napiVersion: keyorch/v1\nkind: Policy\nmetadata: {name: slow}\nspec: {drain: 20s}\n")
	for _, p := range link.Phases() {
		name := strings.ToLower(p.String())
		for i := range 2 {
			counted := i == 0 // one of each two senders
			fmt.Fprintf(&b, "---\napiVersion: keyorch/v1\nkind: Node\nmetadata: {name: up%d-%s}\nspec: {site: dc1, device: {kind: sim, network: \"$SIM\", counterBound: %v}}\n", i, name, counted)
			fmt.Fprintf(&b, "---\napiVersion: keyorch/v1\nkind: Node\nmetadata: {name: down%d-%s}\nspec: {site: dc2, device: {kind: sim, network: \"$SIM\"}}\n", i, name)
		}
		policy := "quick"
		if p == link.Draining {
			policy = "slow"
		}
		fmt.Fprintf(&b, "---\napiVersion: keyorch/v1\nkind: Link\nmetadata: {name: %s}\nspec: {upstream: [up0-%[1]s, up1-%[1]s], downstream: [down0-%[1]s, down1-%[1]s], policy: %[2]s}\n", name, policy)
	}
	return b.String()
}

// inEachPhase has one link Steady and the others in the midst of a rotation, one in
// each phase, held by a device that does not answer. The returned function has them
// answer again.
func (w *world) inEachPhase() (revive func()) {
	w.t.Helper()
	node := w.Lab.Network.Node
	node("down1-staging").Dead(true)
	node("up1-switching").Dead(true)
	w.rotating("staging", "switching", "draining", "retiring")
	w.untilPhase("retiring", link.Draining)
	node("down1-retiring").Dead(true)
	w.untilPhase("staging", link.Staging)
	w.untilPhase("switching", link.Switching)
	w.untilPhase("retiring", link.Retiring)
	w.until("half of switching has switched", func() bool {
		for _, r := range w.view.Reports("switching") {
			if to := w.record("switching").State.To; r.Node == "up0-switching" && r.Sends.Epoch == to.Epoch {
				return true
			}
		}
		return false
	})
	w.untilPhase("draining", link.Draining)
	return func() {
		for _, n := range []keychain.NodeID{"down1-staging", "up1-switching", "down1-retiring"} {
			node(n).Dead(false)
		}
	}
}

// data is a part of the stack's data directory.
func (w *world) data(part string) string { return filepath.Join(w.Lab.Stack.Data, part) }

// disaster stops the servers, changes what they keep, and starts them again.
func (w *world) disaster(change func()) {
	w.t.Helper()
	w.stopView()
	must(w.t, w.Lab.Stack.Stop(w.t.Context()))
	change()
	stack, err := devstack.Start(w.t.Context(), devstack.Options{Data: w.Lab.Stack.Data})
	must(w.t, err)
	w.Lab.Stack = stack
	must(w.t, w.Lab.Stack.EnrolAgain(w.t.Context(), w.topo.Sites))
	w.look()
}

// withoutTemporal moves what the servers keep to another place, without Temporal's
// database: SQLite, in this process, does not let go of a file's name.
func (w *world) withoutTemporal() {
	w.t.Helper()
	before := w.Lab.Stack.Data
	w.Lab.Stack.Data = before + "-again"
	must(w.t, exec.Command("cp", "-a", before, w.Lab.Stack.Data).Run())
	files, err := filepath.Glob(w.data("temporal*"))
	must(w.t, err)
	for _, f := range files {
		must(w.t, os.Remove(f))
	}
}

// supervise starts the worker and the agents again, which end when etcd has no user for
// them any more.
func (w *world) supervise() {
	w.t.Helper()
	w.restartWorker()
	for _, s := range w.topo.Sites {
		w.agents[s.Name].Kill()
		w.startAgent(s.Name)
	}
}

// emptied is an etcd that has nothing.
func (w *world) emptied() { must(w.t, os.RemoveAll(w.data("etcd"))) }

// recovers runs recover, and gives what became of each link.
func (w *world) recovers(code int, args ...string) map[keychain.LinkID]recovery.Outcome {
	w.t.Helper()
	said := w.administrator(code, append([]string{"recover", "-o", "json"}, args...)...)
	var results []struct {
		Link    keychain.LinkID
		Outcome recovery.Outcome
		Reason  string
	}
	if err := json.Unmarshal([]byte(said.Out), &results); err != nil {
		w.t.Fatalf("%v in %s", err, said.Out)
	}
	outcomes := map[keychain.LinkID]recovery.Outcome{}
	for _, r := range results {
		outcomes[r.Link] = r.Outcome
		w.t.Logf("%s: %s: %s", r.Link, r.Outcome, r.Reason)
	}
	return outcomes
}

// reportedEpochs is the highest epoch that any node of each link has on its device.
func (w *world) reportedEpochs() map[keychain.LinkID]keychain.Epoch {
	epochs := map[keychain.LinkID]keychain.Epoch{}
	for _, l := range w.topo.Links {
		for _, r := range w.view.Reports(l.Name) {
			epochs[l.Name] = max(epochs[l.Name], r.Sends.Epoch)
			for _, a := range r.Accepts {
				epochs[l.Name] = max(epochs[l.Name], a.Epoch)
			}
		}
	}
	return epochs
}

// ahead wants every record to be above what was there before, and no epoch to be used
// again.
func (w *world) ahead(turns map[keychain.LinkID]keychain.Turn, epochs map[keychain.LinkID]keychain.Epoch) {
	w.t.Helper()
	for _, l := range w.topo.Links {
		s := w.record(l.Name).State
		if s.Turn <= turns[l.Name] || s.Highest < epochs[l.Name] {
			w.t.Errorf("%s went back: turn %d after %d, highest epoch %d after %d", l.Name, s.Turn, turns[l.Name], s.Highest, epochs[l.Name])
		}
	}
}

func (w *world) turns() map[keychain.LinkID]keychain.Turn {
	turns := map[keychain.LinkID]keychain.Turn{}
	for _, l := range w.topo.Links {
		turns[l.Name] = w.record(l.Name).State.Turn
	}
	return turns
}

// normal wants two more rotations of everything to go as usual: the first brings what
// is in flight to its end.
func (w *world) normal() {
	w.t.Helper()
	for range 2 {
		w.rotate(0, "--all")
	}
	for _, l := range w.topo.Links {
		if s := w.record(l.Name).State; s.Phase != link.Steady || s.To.Bare {
			w.t.Errorf("%s is %+v", l.Name, s)
		}
	}
	w.noLoss()
	all := w.Lab.Network.Total()
	w.t.Logf("%d packets sent until now, %d lost", all.Sent, all.Lost.Total())
}

// TestEtcdEmptied loses all that etcd has, under traffic, with rotations in every
// phase; and in the second round Temporal's memory with it.
func TestEtcdEmptied(t *testing.T) {
	w := newWorld(t)
	w.declare(eachPhase())
	w.staff()
	w.rotate(0, "--all")
	w.traffic()
	for _, both := range []bool{false, true} {
		w.run(fmt.Sprintf("Temporal too: %v", both), func(t *testing.T) {
			revive := w.inEachPhase()
			turns, epochs := w.turns(), w.reportedEpochs()
			w.disaster(func() {
				w.emptied()
				if both {
					w.withoutTemporal()
				}
			})
			revive()
			w.supervise()
			w.declare(eachPhase())
			w.until("the agents are back, and have told what they hold", func() bool { return len(w.reportedEpochs()) == len(w.topo.Links) })
			if !both {
				w.refused(t)
			}
			w.recovers(0, "--dry-run")
			if n := len(w.view.Records()); n > 0 && !both {
				t.Errorf("a dry run has written %d records", n)
			}
			got := w.recovers(0)
			for id, want := range map[keychain.LinkID]recovery.Outcome{
				"steady": recovery.Rebuilt, "staging": recovery.InFlight, "switching": recovery.InFlight,
				"draining": recovery.InFlight, "retiring": recovery.InFlight,
			} {
				if got[id] != want {
					t.Errorf("%s: %s, want %s", id, got[id], want)
				}
			}
			w.until("the view has the records", func() bool { return len(w.view.Records()) == len(w.topo.Links) })
			w.ahead(turns, epochs)
			time.Sleep(2 * time.Second) // the agents obey, and nothing is to come of it
			w.noLoss()
			for id, o := range w.recovers(0) {
				if o != recovery.Kept {
					t.Errorf("a second time %s is %s", id, o)
				}
			}
			w.normal()
		})
	}
}

// refused wants a rotation on an etcd that knows less than its agents to be refused,
// naming what to do.
func (w *world) refused(t *testing.T) {
	t.Helper()
	said := w.keyorch(3, "rotate", "steady")
	if !strings.Contains(said.Out+said.Err, "keyorch recover") {
		t.Errorf("%s%s", said.Out, said.Err)
	}
}

// TestEtcdPutBack puts an etcd back that knows nothing of the last three rotations,
// under traffic, with rotations in every phase.
func TestEtcdPutBack(t *testing.T) {
	w := newWorld(t)
	w.declare(eachPhase())
	w.staff()
	w.rotate(0, "--all")
	w.traffic()
	copied := filepath.Join(w.Lab.Dir, "etcd-copy")
	w.disaster(func() { must(t, os.CopyFS(copied, os.DirFS(w.data("etcd")))) })
	for range 3 {
		w.rotate(0, "--all")
	}
	revive := w.inEachPhase()
	turns, epochs := w.turns(), w.reportedEpochs()
	w.disaster(func() {
		w.emptied()
		must(t, os.CopyFS(w.data("etcd"), os.DirFS(copied)))
	})
	revive()
	w.until("the agents have told that the records are old", func() bool {
		for _, l := range w.topo.Links {
			if _, why := w.record(l.Name).State.Behind(w.view.Reports(l.Name)); why == "" {
				return false
			}
		}
		return true
	})
	w.refused(t)
	w.noLoss()
	w.recovers(0)
	w.until("the view has the records", func() bool { return w.record("steady").State.Turn > turns["steady"] })
	w.ahead(turns, epochs)
	w.normal()
}
