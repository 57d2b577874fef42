package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// joiningWorld is the three sites, with a link that is to get a downstream node at
// a site that it did not have before: its keys are wrapped under another KEK then.
func joiningWorld(t *testing.T) (w *world, after string) {
	w = newWorld(t)
	before := strings.Replace(threeSites, "downstream: [dc2-spine1, dc2-spine2]", "downstream: [dc2-spine1]", 1)
	w.declare(before)
	w.staff()
	w.rotate(0, "--all")
	return w, strings.Replace(before, "downstream: [dc2-spine1], policy", "downstream: [dc2-spine1, dc3-spine1], policy", 1)
}

func TestANodeOfAnotherSiteJoins(t *testing.T) {
	w, after := joiningWorld(t)
	w.traffic()
	w.declare(after)
	w.rotate(0, "dc1-dc2", "--timeout", "20s")
	if got := w.record("dc1-dc2").State.Downstream; len(got) != 2 {
		t.Errorf("downstream is %v", got)
	}
	w.rotate(0, "dc1-dc2")
	w.noLoss()
}

// TestWhatIsInUseCanBeOpened declares a change and has an agent and its device
// start anew before the next rotation.
func TestWhatIsInUseCanBeOpened(t *testing.T) {
	w, after := joiningWorld(t)
	w.declare(after)
	w.agents["dc2"].Kill()
	w.Lab.Network.Node("dc2-spine1").RebootLosingKeys()
	w.startAgent("dc2")
	w.rotate(0, "dc1-dc2", "--timeout", "30s")
}

const twoSenders = `
apiVersion: keyorch/v1
kind: Site
metadata: {name: dc1}
---
apiVersion: keyorch/v1
kind: Site
metadata: {name: dc2}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: one}
spec: {site: dc1, device: {kind: sim, network: "$SIM", counterBound: true}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: other}
spec: {site: dc1, device: {kind: sim, network: "$SIM"}}
---
apiVersion: keyorch/v1
kind: Node
metadata: {name: far}
spec: {site: dc2, device: {kind: sim, network: "$SIM"}}
---
apiVersion: keyorch/v1
kind: Policy
metadata: {name: quick}
spec: {drain: 300ms}
---
apiVersion: keyorch/v1
kind: Link
metadata: {name: l1}
spec: {upstream: [one, other], downstream: [far], policy: quick}
`

// TestANodeMovesWithoutItsCounters takes a counter-bound sender out of its link,
// to another site, where nobody knows what it has sent with, and back into the
// link. The move has to wait until the link has let it go.
func TestANodeMovesWithoutItsCounters(t *testing.T) {
	w := newWorld(t)
	w.declare(twoSenders)
	w.staff()
	w.rotate(0, "l1")
	w.traffic()
	w.until("one sends", func() bool { return w.Lab.Network.Stats("l1").Sent > 100 })
	out := strings.Replace(twoSenders, "[one, other]", "[other]", 1)
	moved := strings.Replace(out, "name: one}\nspec: {site: dc1", "name: one}\nspec: {site: dc2", 1)
	w.declare(out)
	w.Lab.Network.Node("one").RebootLosingKeys()
	file := filepath.Join(w.Lab.Dir, "moved.yaml")
	must(t, os.WriteFile(file, []byte(os.Expand(moved, os.Getenv)), 0o600))
	if said := w.keyorch(3, "apply", "-f", file); !strings.Contains(said.Err, "keyorch rotate l1") {
		t.Errorf("it does not say what to do: %s", said.Err)
	}
	w.rotate(0, "l1")
	w.declare(moved)
	w.declare(strings.Replace(moved, "[other]", "[one, other]", 1))
	w.rotate(0, "l1")
	w.noLoss()
}
