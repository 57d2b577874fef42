package e2e_test

import (
	"crypto/rand"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/secret"
)

// drifts is what `drift -o json` says.
type drifts struct {
	Drift []struct {
		Link keychain.LinkID
		link.Finding
		ByItself bool
		Command  string
	}
	Repaired []struct {
		Link keychain.LinkID
		Node keychain.NodeID
		keychain.Repair
	}
}

func (w *world) drift(code int) drifts {
	w.t.Helper()
	var d drifts
	must(w.t, json.Unmarshal([]byte(w.keyorch(code, "drift", "--all", "-o", "json").Out), &d))
	return d
}

// repaired reports whether a node was found with something and put right.
func (d drifts) repaired(id keychain.LinkID, n keychain.NodeID, what string) bool {
	for _, r := range d.Repaired {
		if r.Link == id && r.Node == n && strings.Contains(r.What, what) {
			return true
		}
	}
	return false
}

// foreign is a key that nobody ordered.
func foreign(t *testing.T) secret.Key {
	t.Helper()
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return secret.New(b)
}

// TestDrift changes devices behind keyorch's back, in a freeze.
func TestDrift(t *testing.T) {
	w := rotatingWorld(t)
	w.rotate(0, "--all")
	w.declare(strings.Replace(threeSites, "{drain: 300ms}", "{drain: 300ms, "+frozen+"}", 1))
	w.noLoss()
	said(t, w.keyorch(0, "drift", "--all").Out, "every node is")
	w.run("what an order can put right is put right and recorded", w.putRight)
	w.run("another key is reported, and is not for an agent to mend", w.anotherKey)
	for _, l := range w.topo.Links {
		if s := w.Lab.Network.Stats(l.Name); s.Reused > 0 {
			t.Errorf("%s: %d packets with a counter used before", l.Name, s.Reused)
		}
	}
}

// putRight has one device restart that counts its packets, one with a key too many,
// and one that has gone back to an old key.
func (w *world) putRight(t *testing.T) {
	before := w.keysOf("dc1-dc2", "dc1-dc3", "dc2-dc1", "dc3-dc1")
	w.Lab.Network.Node("dc1-spine1").RebootLosingKeys()
	must(t, w.Lab.Network.Node("dc2-spine2").Upstream().Switch(t.Context(),
		keychain.SA{Link: "dc2-dc1", Ref: keychain.Ref{Epoch: 1}}, foreign(t)))
	must(t, w.Lab.Network.Node("dc3-spine1").Downstream().Install(t.Context(),
		keychain.SA{Link: "dc1-dc3", Ref: keychain.Ref{Epoch: 77}}, foreign(t)))
	// A sender without its counter gets another key at once, whatever is closed.
	for _, id := range []keychain.LinkID{"dc1-dc2", "dc1-dc3"} {
		w.settled(id, before[id]+1)
		if r := w.record(id); r.State.To.Epoch != before[id]+1 || !r.Last.Urgent {
			t.Errorf("%s is %+v, from epoch %d", id, r, before[id])
		}
	}
	w.eventually("the others are put right", func() bool {
		d := w.drift(0)
		return d.repaired("dc2-dc1", "dc1-spine1", "epoch 2 was missing") && d.repaired("dc2-dc1", "dc2-spine2", "epoch 1 was sent with")
	})
	for _, id := range []keychain.LinkID{"dc2-dc1", "dc3-dc1"} {
		if now := w.record(id).State.To.Epoch; now != before[id] {
			t.Errorf("%s went from epoch %d to %d", id, before[id], now)
		}
	}
	for _, r := range w.view.Reports("dc1-dc3") {
		if r.Node == "dc3-spine1" && len(r.Accepts) != 1 {
			t.Errorf("dc3-spine1 accepts %v", r.Accepts)
		}
	}
	said(t, w.keyorch(0, "drift", "--all").Out, "every node is", "epoch 1 was sent with")
	w.eventually("packets flow and arrive again", func() bool {
		before := w.Lab.Network.Total()
		w.keyorch(0, "status") // takes a while
		now := w.Lab.Network.Total()
		return now.Sent > before.Sent && now.Lost.Total() == before.Lost.Total()
	})
}

func (w *world) anotherKey(t *testing.T) {
	w.Lab.Network.Node("dc3-spine1").LieKCV(true)
	w.agents["dc3"].Kill() // whoever starts looks at once
	w.startAgent("dc3")
	w.until("it is seen", func() bool {
		return slices.ContainsFunc(w.view.Reports("dc1-dc3"), func(r keychain.Report) bool { return r.Fault == "mismatch" })
	})
	d := w.drift(4)
	found := false
	for _, f := range d.Drift {
		found = found || f.Link == "dc1-dc3" && f.Node == "dc3-spine1" && f.Kind == link.WrongKCV && !f.ByItself && f.Command != ""
	}
	if !found {
		t.Errorf("drift says %+v", d.Drift)
	}
	said(t, w.keyorch(0, "why", "dc1-dc3").Out, "KCV", "dc3-spine1")
	w.Lab.Network.Node("dc3-spine1").LieKCV(false)
	w.agents["dc3"].Kill()
	w.startAgent("dc3")
	w.eventually("it is over", func() bool { return w.Run(t.Context(), nil, "drift", "--all").Code == 0 })
}
