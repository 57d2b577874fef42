package e2e_test

import (
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
