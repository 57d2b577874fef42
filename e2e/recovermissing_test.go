package e2e_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/e2e/lab"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/recovery"
)

// oneMayBeMissing has dc3 receive on one link, send on another, and have no part in the
// third.
const oneMayBeMissing = `
apiVersion: keyorch/v1
kind: Site
metadata: {name: dc1}
---
apiVersion: keyorch/v1
kind: Site
metadata: {name: dc2}
---
apiVersion: keyorch/v1
kind: Site
metadata: {name: dc3}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: dc1-spine1}
spec: {site: dc1, device: {kind: sim, network: "$SIM", counterBound: true}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: dc2-spine1}
spec: {site: dc2, device: {kind: sim, network: "$SIM"}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: dc3-spine1}
spec: {site: dc3, device: {kind: sim, network: "$SIM"}}
---
apiVersion: keyorch/v1
kind: Policy
metadata: {name: quick}
spec: {drain: 300ms}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: apart}
spec: {upstream: [dc1-spine1], downstream: [dc2-spine1], policy: quick}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: fan}
spec: {upstream: [dc1-spine1], downstream: [dc2-spine1, dc3-spine1], policy: quick}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: merge}
spec: {upstream: [dc1-spine1, dc3-spine1], downstream: [dc2-spine1], policy: quick}
`

// stagedOnDC3 loses etcd, and the agent of dc3 with it, when a key of fan has been staged
// on dc3 alone: nobody else knows of its epoch.
func (w *world) stagedOnDC3() (staged keychain.Epoch) {
	w.t.Helper()
	w.agents["dc2"].Kill()
	w.rotating("fan")
	w.until("dc3 has been staged a key", func() bool {
		s := w.record("fan").State
		staged = s.To.Epoch
		for _, r := range w.view.Reports("fan") {
			if r.Node == "dc3-spine1" && s.Phase == link.Staging && !r.Accepted(staged).IsZero() {
				return true
			}
		}
		return false
	})
	w.agents["dc3"].Kill()
	w.worker.Kill()
	w.disaster(w.emptied)
	w.declare(oneMayBeMissing)
	for _, site := range []keychain.SiteID{"dc1", "dc2"} {
		w.agents[site].Kill()
		w.startAgent(site)
	}
	w.startWorker()
	w.until("the agents that are left have told what they hold", func() bool {
		return len(w.view.Reports("apart")) == 2 && len(w.view.Reports("fan")) == 2 && len(w.view.Reports("merge")) == 2
	})
	return staged
}

// recovering runs recover beside the test, as the administrator.
func (w *world) recovering(args ...string) (ended func() lab.Said) {
	w.t.Helper()
	env, err := w.Lab.Stack.Env(w.t.Context(), devstack.Root)
	must(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	w.t.Cleanup(cancel)
	done := make(chan lab.Said, 1)
	go func() { done <- w.Run(ctx, env, append([]string{"recover"}, args...)...) }()
	return func() lab.Said {
		w.t.Helper()
		select {
		case s := <-done:
			return s
		case <-time.After(patience):
			w.t.Fatal("recover did not end")
		}
		return lab.Said{}
	}
}

// TestRecoverWithAgentsMissing loses etcd and an agent, and recovers with the agent
// coming back in time, and without it.
func TestRecoverWithAgentsMissing(t *testing.T) {
	w := newWorld(t)
	w.declare(oneMayBeMissing)
	w.staff()
	w.rotate(0, "--all")
	w.traffic()
	w.run("it says who is missing", w.saysWhoIsMissing)
	w.run("it waits", w.waitsForAnAgent)
	w.rotate(0, "--all") // what is in flight comes to its end
	w.run("it goes on without", w.goesOnWithout)
	w.normal()
}

func (w *world) saysWhoIsMissing(t *testing.T) {
	w.stagedOnDC3()
	said := w.administrator(4, "recover", "--wait", "4s")
	for _, want := range []string{"waiting up to 4s for dc3-spine1 (site dc3: 0 of 2 links)", "no answer within 4s from dc3-spine1 (site dc3: 0 of 2 links)",
		"2 of 3 links wait for them: they go on with the keys that they have, and are not rotated"} {
		if !strings.Contains(said.Err, want) {
			t.Errorf("it does not say %q:\n%s", want, said.Err)
		}
	}
	for _, want := range []string{"1 recovered", "2 held", "keyorch recover --without dc3-spine1", "packets from it may be lost"} {
		if !strings.Contains(said.Out, want) {
			t.Errorf("it does not say %q:\n%s", want, said.Out)
		}
	}
	w.until("the record of the link that has no part in dc3 is there", func() bool { return w.record("apart").State.Turn > 0 })
	if n := len(w.view.Records()); n != 1 {
		t.Errorf("%d records were written, want one:\n%s", n, said.Out)
	}
	for _, l := range []string{"fan", "merge"} {
		if said := w.keyorch(3, "rotate", l); !strings.Contains(said.Out+said.Err, "keyorch recover") {
			t.Errorf("%s%s", said.Out, said.Err)
		}
	}
	w.rotate(0, "apart") // what does not wait, goes on
	w.noLoss()
}

// waitsForAnAgent has the agent of dc3 start while recover waits for it.
func (w *world) waitsForAnAgent(t *testing.T) {
	began := time.Now()
	ended := w.recovering("--wait", "50s", "-o", "json")
	w.startAgent("dc3")
	said := ended()
	took := time.Since(began)
	var results []struct {
		Link    keychain.LinkID
		Outcome recovery.Outcome
		Highest keychain.Epoch
	}
	if err := json.Unmarshal([]byte(said.Out), &results); err != nil || said.Code != 0 || len(results) != 3 {
		t.Fatalf("exit %d, %v: %s%s", said.Code, err, said.Out, said.Err)
	}
	if took > 45*time.Second {
		t.Errorf("it waited %v", took)
	}
	for i, want := range []recovery.Outcome{recovery.Kept, recovery.InFlight, recovery.Rebuilt} {
		if r := results[i]; r.Outcome != want || r.Link == "fan" && r.Highest != 2 {
			t.Errorf("%+v, want %s", r, want)
		}
	}
	t.Logf("recovered %v after it began to wait", took.Round(time.Millisecond))
	w.noLoss()
}

// goesOnWithout recovers without dc3, which is back later with an epoch that nobody
// else knows.
func (w *world) goesOnWithout(t *testing.T) {
	staged := w.stagedOnDC3()
	turns := map[keychain.LinkID]keychain.Turn{}
	for _, l := range w.topo.Links {
		for _, r := range w.view.Reports(l.Name) {
			turns[l.Name] = max(turns[l.Name], r.Turn)
		}
	}
	for id, o := range w.recovers(0, "--without", "dc3-spine1") {
		if o != recovery.Rebuilt {
			t.Errorf("%s is %s", id, o)
		}
	}
	w.until("the view has the records", func() bool { return len(w.view.Records()) == len(w.topo.Links) })
	w.ahead(turns, map[keychain.LinkID]keychain.Epoch{"fan": staged})
	if r := w.record("fan"); len(r.State.Downstream) != 1 || len(r.Quarantined) != 1 || r.Quarantined[0].Node != "dc3-spine1" || r.State.Highest <= staged {
		t.Errorf("fan is %+v", r)
	}
	if r := w.record("merge"); len(r.State.Upstream) != 1 {
		t.Errorf("merge is %+v", r)
	}
	w.noLoss() // dc3 goes on with what it has, and everybody accepts it still
	w.startAgent("dc3")
	w.until("fan has taken dc3 back by itself", func() bool {
		r := w.record("fan")
		return r.State.Phase == link.Steady && r.Owner == "" && len(r.State.Downstream) == 2 && len(r.Quarantined) == 0
	})
	if e := w.record("fan").State.To.Epoch; e <= staged {
		t.Errorf("fan is on epoch %d, and dc3 had another key of epoch %d", e, staged)
	}
	w.noLoss()
	w.rotate(0, "merge")
	if r := w.record("merge"); len(r.State.Upstream) != 2 {
		t.Errorf("merge is %+v", r)
	}
	w.noLoss()
}
