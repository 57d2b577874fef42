package e2e_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// stolen is three sites, of which dc3 is going to be excluded: it receives on both
// and sends on into, and is alone on one side of last. It is no part of away. All of
// it may be rotated never, and what is lost at once spends the budget.
const stolen = `
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
metadata: {name: one}
spec: {site: dc1, device: {kind: sim, network: "$SIM", counterBound: true}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: two}
spec: {site: dc2, device: {kind: sim, network: "$SIM"}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: bad}
spec: {site: dc3, device: {kind: sim, network: "$SIM"}}
---
apiVersion: keyorch/v1
kind: Policy
metadata: {name: quick}
spec: {drain: 300ms, budget: {campaign: 0, wave: 0}}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: both}
spec: {upstream: [one], downstream: [two, bad], policy: quick}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: into}
spec: {upstream: [one, bad], downstream: [two], policy: quick}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: last}
spec: {upstream: [one], downstream: [bad], policy: quick}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: away}
spec: {upstream: [two], downstream: [one], policy: quick}
`

// shared is the links that go on without dc3.
var shared = []keychain.LinkID{"both", "into"}

// stolenWorld is stolen on its first keys, with traffic between those that stay.
func stolenWorld(t *testing.T) *world {
	w := newWorld(t)
	w.declare(stolen)
	w.staff()
	w.rotate(0, "--all")
	w.trafficAmong("one", "two")
	return w
}

// trafficAmong has only these nodes send and receive: what an excluded node sends,
// and what is sent to it, is meant to be lost.
func (w *world) trafficAmong(nodes ...keychain.NodeID) {
	among := func(side []keychain.NodeID) []keychain.NodeID {
		return slices.DeleteFunc(slices.Clone(side), func(n keychain.NodeID) bool { return !slices.Contains(nodes, n) })
	}
	for _, l := range w.topo.Links {
		w.Lab.Network.Traffic(l.Name, among(l.Upstream), among(l.Downstream), 2*time.Millisecond)
	}
}

// lostNothing is noLoss for the links between those that stay.
func (w *world) lostNothing() {
	w.t.Helper()
	for _, id := range append(slices.Clone(shared), "away") {
		if s := w.Lab.Network.Stats(id); s.Sent == 0 || s.Lost.Total() > 0 || s.Reused > 0 || s.Silent > 0 {
			w.t.Errorf("%s: of those that stay, %+v", id, s)
		}
	}
}

// exposure is what `compromise --report -o json` says.
type exposure struct {
	topology.Exclusion
	Exposures []struct {
		Link  keychain.LinkID
		Epoch keychain.Epoch
		Until time.Time
		Now   string
	}
}

func (w *world) compromise(code int, args ...string) exposure {
	w.t.Helper()
	said := w.keyorch(code, append([]string{"compromise", "-o", "json"}, args...)...)
	var x exposure
	if err := json.Unmarshal([]byte(said.Out), &x); err != nil {
		w.t.Fatalf("compromise -o json: %v\n%s", err, said.Out)
	}
	return x
}

// wanted is every key that the orders of a node name, by link.
func (w *world) wanted(site keychain.SiteID, node keychain.NodeID) map[keychain.LinkID][]store.Wanted {
	w.t.Helper()
	s, err := w.Lab.Store(w.t.Context())
	must(w.t, err)
	defer func() { _ = s.Close() }()
	ctx, stop := context.WithCancel(w.t.Context())
	defer stop()
	all := map[keychain.LinkID][]store.Wanted{}
	_ = s.WatchOrders(ctx, site, node, func(u store.OrderUpdate) {
		for _, o := range u.Orders {
			all[o.Link] = o.Accept
			if !o.Send.IsZero() {
				all[o.Link] = append(all[o.Link], o.Send)
			}
		}
		stop()
	})
	return all
}

// opens asks Vault, as the agent of a site, for every key of a list.
func (w *world) opens(site keychain.SiteID, id keychain.LinkID, keys []store.Wanted) (opened []keychain.Epoch) {
	w.t.Helper()
	vault, err := w.Lab.CustodyAs(w.t.Context(), devstack.AgentIdentity(site), nil)
	must(w.t, err)
	for _, k := range keys {
		key, err := vault.Unwrap(w.t.Context(), id, k.Epoch, k.Wrapped)
		switch {
		case err == nil:
			key.Wipe()
			opened = append(opened, k.Epoch)
		case !fault.Is(err, fault.Refused):
			w.t.Errorf("open epoch %d of %s at %s: %v", k.Epoch, id, site, err)
		}
	}
	return opened
}

// without wants links to be Steady, free and without bad, past an epoch each.
func (w *world) without(bad keychain.NodeID, past map[keychain.LinkID]keychain.Epoch) {
	w.t.Helper()
	for id, e := range past {
		w.settled(id, e+1)
		if s := w.record(id).State; slices.Contains(s.Nodes(), bad) {
			w.t.Errorf("%s is still part of %s: %+v", bad, id, s)
		}
	}
}

func (w *world) keysOf(ids ...keychain.LinkID) map[keychain.LinkID]keychain.Epoch {
	now := map[keychain.LinkID]keychain.Epoch{}
	for _, id := range ids {
		now[id] = w.record(id).State.To.Epoch
	}
	return now
}

// TestASiteIsExcluded tells the whole story of one emergency, though nothing may be
// rotated now.
func TestASiteIsExcluded(t *testing.T) {
	w := stolenWorld(t)
	w.declare(strings.Replace(stolen, "{drain: 300ms,", `{drain: 300ms, quiet: 1h, freezes: [{from: "2020-01-01", to: "2999-01-01", reason: a freeze}],`, 1))
	w.keyorch(0, "maintenance", "set", "dc2", "--for", "1h", "--reason", "fibre work")
	before, first := w.keysOf(shared...), w.record("away").State.To.Epoch

	dry := w.keyorch(0, "compromise", "--site", "dc3", "--reason", "stolen", "--dry-run").Out
	said(t, dry, "both   gets a new key", "last   has nobody left on one side: stop its traffic", "3 keys would be exposed; nothing was changed")
	if old := w.opens("dc3", "both", w.wanted("dc3", "bad")["both"]); len(old) != 1 {
		t.Fatalf("dc3 cannot open the key that it has: %v", old)
	}

	began := time.Now()
	x := w.compromise(3, "--site", "dc3", "--reason", "stolen")
	t.Logf("new keys within %v", time.Since(began))
	w.without("bad", before)
	w.reported(t, x, began)
	if s := w.record("last"); s.State.To.Epoch != 1 || s.Owner != "" || s.State.Phase != link.Steady {
		t.Errorf("last is %+v, want it left alone on the key that it has", s)
	}
	said(t, w.keyorch(0, "compromise", "--site", "dc3", "--report").Out, "site dc3 is excluded since", "stolen", "still in use")
	for _, d := range w.view.Denials(x.Campaign) {
		if d.Link != "last" || !strings.Contains(d.Reason, "empty side") {
			t.Errorf("it was refused: %+v", d)
		}
	}

	w.run("its token opens nothing that is new", w.opensNothing)
	w.run("its agent is ignored", func(t *testing.T) { w.isIgnored(t) })
	w.run("asked for twice, it is done twice, and no more is exposed", func(t *testing.T) {
		now := w.keysOf(shared...)
		again := w.compromise(3, "--site", "dc3", "--reason", "stolen, truly")
		w.without("bad", now)
		if !slices.Equal(w.exposedNow(again), w.exposedNow(x)) || !again.Since.Equal(x.Since) {
			t.Errorf("it says %+v, and said %+v", again, x)
		}
	})
	w.run("rotate and apply leave it out", func(t *testing.T) {
		w.keyorch(0, "maintenance", "end", "dc2")
		// Windows may be ignored, but a rotation that is no emergency waits for quiet.
		must(t, os.WriteFile(w.Lab.Dir+"/network.yaml", []byte(os.Expand(stolen, os.Getenv)), 0o600))
		w.keyorch(0, "apply", "-f", w.Lab.Dir+"/network.yaml")

		now := w.keysOf(shared...)
		w.rotate(0, "both", "into", "--ignore-windows", "--timeout", "20s")
		w.without("bad", now)
		w.opensNothing(t)
	})
	w.lostNothing()
	if e := w.record("away").State.To.Epoch; e != first {
		t.Errorf("a link that it was no part of went from epoch %d to %d", first, e)
	}
	w.run("readmitted, it joins", w.isReadmitted)
}

// exposedNow is the keys that a report names.
func (w *world) exposedNow(x exposure) []topology.Exposed {
	var keys []topology.Exposed
	for _, e := range x.Exposures {
		keys = append(keys, topology.Exposed{Link: e.Link, Epoch: e.Epoch})
	}
	return keys
}

// reported wants the report of the first exclusion.
func (w *world) reported(t *testing.T, x exposure, began time.Time) {
	t.Helper()
	if want := []topology.Exposed{{Link: "both", Epoch: 1}, {Link: "into", Epoch: 1}, {Link: "last", Epoch: 1}}; !slices.Equal(w.exposedNow(x), want) {
		t.Fatalf("exposed are %v, want %v", w.exposedNow(x), want)
	}
	for _, e := range x.Exposures {
		used := e.Until.IsZero()
		if used != (e.Link == "last") || !used && (e.Until.Before(began) || e.Until.After(time.Now())) {
			t.Errorf("of the key of %s it says that it was in use until %v, and is now %s", e.Link, e.Until, e.Now)
		}
	}
}

func (w *world) opensNothing(t *testing.T) {
	for _, id := range shared {
		keys := w.wanted("dc2", "two")[id]
		if len(keys) == 0 {
			t.Errorf("%s has no key", id)
		}
		if got := w.opens("dc3", id, keys); len(got) > 0 {
			t.Errorf("the excluded site opens epochs %v of %s", got, id)
		}
		if got := w.opens("dc2", id, keys); len(got) != len(keys) {
			t.Errorf("the others open %v of %s", got, id)
		}
	}
	for id := range w.wanted("dc3", "bad") {
		if id != "last" {
			t.Errorf("there is still an order about %s", id)
		}
	}
}

// isIgnored has the excluded node restart, report and lie, with its agent running.
func (w *world) isIgnored(t *testing.T) {
	before := w.record("both")
	w.Lab.Network.Node("bad").LieKCV(true)
	w.Lab.Network.Node("bad").RebootLosingKeys()
	w.agents["dc3"].Kill()
	w.startAgent("dc3")
	w.until("the agent is there again", func() bool {
		a, ok := w.view.Agent("bad")
		return ok && a.PID == w.agents["dc3"].PID()
	})
	w.until("it has reported", func() bool {
		return slices.ContainsFunc(w.view.Reports("last"), func(r keychain.Report) bool { return r.Node == "bad" && (r.Fault != "" || len(r.Repaired) > 0) })
	})
	if after := w.record("both"); after.Revision != before.Revision || after.State.Phase != link.Steady {
		t.Errorf("what it says changed %+v into %+v", before, after)
	}
	w.Lab.Network.Node("bad").LieKCV(false)
}

func (w *world) isReadmitted(t *testing.T) {
	w.declareAgain(stolen) // the freeze is over
	before := w.keysOf(shared...)
	w.keyorch(0, "readmit", "--site", "dc3", "--reason", "found again")
	for id, e := range before {
		w.settled(id, e+1)
		if s := w.record(id).State; !slices.Contains(s.Nodes(), "bad") {
			t.Errorf("it is no part of %s: %+v", id, s)
		}
	}
	if got := w.opens("dc3", "both", w.wanted("dc3", "bad")["both"]); len(got) == 0 {
		t.Error("it can open nothing")
	}
	w.trafficAmong("one", "two", "bad")
	n := w.Lab.Network.Stats("both").Sent
	w.eventually("packets flow", func() bool { return w.Lab.Network.Stats("both").Sent > n+200 })
	w.rotate(0, "--all", "--timeout", "20s")
	w.noLoss()
	said(t, w.keyorch(3, "readmit", "--site", "dc3", "--reason", "twice").Err, "it is not excluded")
	said(t, w.keyorch(3, "compromise", "--site", "dc3", "--report").Err, "not excluded")
}

// declareAgain applies documents with nothing but apply: the lab's own provisioning
// knows nothing of who is excluded.
func (w *world) declareAgain(documents string) {
	w.t.Helper()
	file := filepath.Join(w.Lab.Dir, "network.yaml")
	must(w.t, os.WriteFile(file, []byte(os.Expand(documents, os.Getenv)), 0o600))
	w.keyorch(0, "apply", "-f", file)
}
