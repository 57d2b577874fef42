package e2e_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/recovery"
)

// atNight has a link whose policy declares a schedule.
const atNight = `
---
apiVersion: keyorch/v1
kind: Policy
metadata: {name: nightly}
spec: {drain: 300ms, schedule: {cron: "0 2 * * *"}}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: dc1-dc3}
spec: {upstream: [dc1-spine1], downstream: [dc3-spine1], policy: nightly}
`

// TestTemporalAndVaultAreLost empties both, under traffic and with a rotation under way.
// etcd stays, and so do the processes.
func TestTemporalAndVaultAreLost(t *testing.T) {
	w := newWorld(t)
	w.declare(threeSites)
	w.declare(atNight)
	w.staff()
	w.rotate(0, "--all")
	w.traffic()
	w.keyorch(0, "schedule", "set", "nightly", "--policy", "nightly")
	w.keyorch(0, "schedule", "set", "own", "dc1-dc2", "--cron", "0 4 * * *")
	w.Lab.Network.Node("dc3-spine1").Dead(true)
	w.rotating("dc1-dc3")
	w.untilPhase("dc1-dc3", link.Staging)
	turns := w.turns()
	w.disaster(func() {
		w.withoutTemporal()
		must(t, os.RemoveAll(w.data("vault")))
	})
	w.Lab.Network.Node("dc3-spine1").Dead(false)
	w.run("schedules come back", w.schedulesComeBack)
	w.run("new keys are refused", func(t *testing.T) { w.newKeysAreRefused(t, turns) })
	w.run("KEKs are made anew", w.keksAreMadeAnew)
	w.run("a node has lost its key", w.aNodeHasLostItsKey)
	w.normal()
}

func (w *world) schedulesComeBack(t *testing.T) {
	w.listed()
	said(t, w.keyorch(0, "schedule", "restore").Out, "nightly: created")
	said(t, w.keyorch(0, "schedule", "restore").Out, "every schedule that a policy declares is there")
	if all := w.listed("nightly"); all[0].Policy != "nightly" || all[0].Cron != "0 2 * * *" {
		t.Errorf("it is %+v", all)
	}
}

// newKeysAreRefused has a Vault that lets everybody in, and has no KEK.
func (w *world) newKeysAreRefused(t *testing.T, turns map[keychain.LinkID]keychain.Turn) {
	var refused string
	w.eventually("a rotation is refused", func() bool {
		said := w.Run(t.Context(), nil, "rotate", "dc1-dc2")
		refused = said.Out + said.Err
		return said.Code == 3
	})
	t.Log(refused)
	if !strings.Contains(refused, "vault refuses datakey/wrapped under keyorch-sites-dc1.dc2: it has no key of that name") {
		t.Errorf("it says %s", refused)
	}
	for id, turn := range w.turns() {
		if turn != turns[id] {
			t.Errorf("%s has gone from turn %d to %d", id, turns[id], turn)
		}
	}
	w.noLoss()
}

// keksAreMadeAnew goes by docs/recovery.md.
func (w *world) keksAreMadeAnew(t *testing.T) {
	began := time.Now()
	old := w.keys()
	w.administrator(0, "bootstrap")
	for _, s := range w.topo.Sites {
		w.administrator(0, "enroll", string(s.Name), "--out", filepath.Join(t.TempDir(), "join"))
	}
	w.keyorch(0, "apply", "-f", filepath.Join(w.Lab.Dir, "network.yaml"))
	// Nobody has opened the key that was being staged, and nobody ever will: its rotation
	// would wait for good.
	before := w.reportedEpochs()
	w.recoversAskingVault(t)
	w.rotate(0, "--all", "--timeout", "50s")
	t.Logf("every link has a key of the new Vault after %v", time.Since(began).Round(time.Millisecond))
	for _, l := range w.topo.Links {
		if s := w.record(l.Name).State; s.To.Epoch < before[l.Name] {
			t.Errorf("%s went back from epoch %d to %d", l.Name, before[l.Name], s.To.Epoch)
		}
	}
	now := map[keychain.Wrapped]bool{}
	for _, k := range w.keys() {
		now[k.Wrapped] = true
	}
	for _, k := range old {
		if now[k.Wrapped] {
			t.Errorf("epoch %d of %s is wrapped under the KEK that was lost", k.Epoch, k.Link)
		}
	}
	w.noLoss()
}

// recoversAskingVault has a Vault that opens none of the keys that are stored.
func (w *world) recoversAskingVault(t *testing.T) {
	t.Helper()
	turns := w.turns()
	for id, o := range w.recovers(0, "--ask-vault") {
		if o != recovery.Rebuilt && o != recovery.InFlight {
			t.Errorf("%s is %s", id, o)
		}
	}
	w.until("every record is rebuilt", func() bool {
		for id, turn := range w.turns() {
			if turn < turns[id]+recovery.Leap {
				return false
			}
		}
		return true
	})
}

// aNodeHasLostItsKey has KEKs made anew while a node, and whoever serves it, has forgotten
// the key that it had. Nobody can give it that key any more.
func (w *world) aNodeHasLostItsKey(t *testing.T) {
	w.pauseTraffic() // what it misses meanwhile, it would miss without keyorch, too
	w.agents["dc2"].Kill()
	w.Lab.Network.Node("dc2-spine2").RebootLosingKeys()
	w.loseKEKs()
	said := w.administrator(3, "recover", "--ask-vault", "dc1-dc2", "--wait", "1s")
	if !strings.Contains(said.Err, "make KEKs with keyorch apply first") {
		t.Errorf("without KEKs: %s", said.Err)
	}
	w.keyorch(0, "apply", "-f", filepath.Join(w.Lab.Dir, "network.yaml"))
	w.startAgent("dc2")
	w.rotating("dc1-dc2")
	w.until("the link waits for a node that cannot open its key", func() bool {
		for _, r := range w.view.Reports("dc1-dc2") {
			if r.Node == "dc2-spine2" && strings.Contains(r.Message, "the wrapped key is not of this link and epoch under keyorch-sites-dc1.dc2") {
				return w.record("dc1-dc2").State.Phase == link.Staging
			}
		}
		return false
	})
	t.Log(w.keyorch(0, "why", "dc1-dc2").Out)
	receives, sends := w.record("dc1-dc2").State.Highest, w.record("dc2-dc1").State.Highest
	w.recoversAskingVault(t)
	w.settled("dc2-dc1", sends+1) // whose sender is silent: it gets a new key by itself
	w.rotate(0, "dc1-dc2", "--timeout", "50s")
	w.settled("dc1-dc2", receives+1) // dc2-spine2 has a key that it can open
	w.rotate(0, "--all", "--timeout", "50s")
	for _, k := range w.keys() {
		if custody.Version(k.Wrapped) != 1 {
			t.Errorf("epoch %d of %s is under version %d", k.Epoch, k.Link, custody.Version(k.Wrapped))
		}
	}
	for id, o := range w.recovers(0, "--ask-vault") {
		if o != recovery.Kept {
			t.Errorf("after new keys %s is %s", id, o)
		}
	}
	w.traffic()
}

// pauseTraffic has nobody send anything.
func (w *world) pauseTraffic() {
	for _, l := range w.topo.Links {
		w.Lab.Network.Traffic(l.Name, nil, nil, time.Hour)()
	}
}

// loseKEKs deletes every KEK.
func (w *world) loseKEKs() {
	w.t.Helper()
	for _, l := range w.topo.Links {
		path := "transit/keys/" + custody.KEK(l.Name, w.topo.SitesOf(slices.Concat(l.Upstream, l.Downstream)))
		if found, err := w.root().Logical().ReadWithContext(w.t.Context(), path); err != nil || found == nil {
			continue // two links of the same sites have one
		}
		_, err := w.root().Logical().WriteWithContext(w.t.Context(), path+"/config", map[string]any{"deletion_allowed": true})
		must(w.t, err)
		_, err = w.root().Logical().DeleteWithContext(w.t.Context(), path)
		must(w.t, err)
	}
}
