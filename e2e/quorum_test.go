package e2e_test

import (
	"slices"
	"testing"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// quorum is one sender and three receivers, of which more than half are enough, and
// an area in which two of the receivers send as well.
const quorum = `
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
metadata: {name: hub}
spec: {site: dc1, device: {kind: sim, network: "$SIM", counterBound: true}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: a}
spec: {site: dc2, device: {kind: sim, network: "$SIM"}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: b}
spec: {site: dc2, device: {kind: sim, network: "$SIM"}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: c}
spec: {site: dc3, device: {kind: sim, network: "$SIM"}}
---
apiVersion: keyorch/v1
kind: Policy
metadata: {name: most}
spec: {drain: 300ms, wait: 4s, quorum: 51%}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: star}
spec: {upstream: [hub], downstream: [a, b, c], policy: most}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: area}
spec: {upstream: [a, b], downstream: [a, b, c], policy: most}
`

func TestQuorum(t *testing.T) {
	w := newWorld(t)
	w.declare(quorum)
	w.staff()
	w.rotate(0, "--all")
	w.trafficAmong("hub", "a", "b")
	w.run("enough are enough", w.enough)
	w.run("a second one counts the declared, too", w.notEnough)
	w.run("who was away rejoins by itself", w.rejoins)
	w.run("a device that does not answer costs no second wait", w.deafDevice)
	w.run("who sends is never left out", w.senderStays)
	w.noLoss()
}

// left wants nodes to be quarantined, and nobody else.
func (w *world) left(id keychain.LinkID, nodes ...keychain.NodeID) {
	w.t.Helper()
	var got []keychain.NodeID
	r := w.record(id)
	for _, q := range r.Quarantined {
		got = append(got, q.Node)
		if slices.Contains(r.State.Downstream, q.Node) {
			w.t.Errorf("%s is quarantined and part of %s", q.Node, id)
		}
	}
	if !slices.Equal(got, nodes) {
		w.t.Errorf("quarantined on %s are %v, want %v", id, got, nodes)
	}
}

func (w *world) enough(t *testing.T) {
	w.agents["dc3"].Terminate()
	w.rotate(0, "star", "--timeout", "20s")
	w.settled("star", 2)
	w.left("star", "c")
	said(t, w.keyorch(0, "why", "star").Out, "c was left behind at epoch 2")
	if keys := w.wanted("dc3", "c")["star"]; len(keys) > 0 {
		t.Errorf("who is left behind has an order still: %+v", keys)
	}
}

func (w *world) notEnough(t *testing.T) {
	w.Lab.Network.Node("b").Dead(true)
	r := w.rotate(4, "star", "--timeout", "4s")
	if got := result(t, r, "star"); got.Outcome != link.Held || got.Epoch != 2 {
		t.Errorf("with one of three it is %+v", got)
	}
	w.left("star", "c")
	w.Lab.Network.Node("b").Dead(false)
	w.settled("star", 3)
	w.left("star", "c")
}

func (w *world) rejoins(t *testing.T) {
	before := w.record("star").State.To.Epoch
	w.startAgent("dc3")
	w.settled("star", before+1)
	w.until("c is back", func() bool { return len(w.record("star").Quarantined) == 0 })
	w.settled("star", before+1)
	if s := w.record("star").State; !slices.Contains(s.Downstream, "c") || s.To.Epoch != before+1 {
		t.Errorf("it has rejoined as %+v, from epoch %d", s, before)
	}
	w.trafficAmong("hub", "a", "b", "c")
	n := w.Lab.Network.Stats("star").Sent
	w.eventually("packets flow", func() bool { return w.Lab.Network.Stats("star").Sent > n+200 })
	w.noLoss()
}

// deafDevice has an agent all the time, but a device that hangs: the link goes on
// without it, and is not kept busy by it.
func (w *world) deafDevice(t *testing.T) {
	w.trafficAmong("hub", "a", "b")
	w.Lab.Network.Node("c").Dead(true)
	for range 2 {
		before := w.record("star").State.To.Epoch
		w.rotate(0, "star", "--timeout", "20s")
		w.settled("star", before+1)
		w.left("star", "c")
	}
	w.Lab.Network.Node("c").Dead(false)
	before := w.record("star").State.To.Epoch
	w.rotate(0, "star", "--timeout", "20s") // whoever rotates takes it back
	w.settled("star", before+1)
	w.left("star")
}

func (w *world) senderStays(t *testing.T) {
	w.Lab.Network.Node("b").Dead(true)
	r := w.rotate(4, "area", "--timeout", "4s")
	if got := result(t, r, "area"); got.Outcome != link.Held || got.Epoch != 1 {
		t.Errorf("without a sender it is %+v", got)
	}
	w.left("area")
	w.Lab.Network.Node("b").Dead(false)
	w.settled("area", 2)
	w.left("area")
}
