package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// keys are all that are stored.
func (w *world) keys() []store.Key {
	w.t.Helper()
	s, err := w.Lab.Store(w.t.Context())
	must(w.t, err)
	defer func() { _ = s.Close() }()
	keys, err := s.Keys(w.t.Context())
	must(w.t, err)
	return keys
}

// TestKEKsAreRotatedUnderTraffic rotates KEKs over and over while links are rotated
// over and over: no packet is lost, no rotation stops, and what was wrapped before
// opens no more.
func TestKEKsAreRotatedUnderTraffic(t *testing.T) {
	w := rotatingWorld(t)
	w.slowly(20 * time.Millisecond)
	stolen := w.keys()
	if len(stolen) == 0 {
		t.Fatal("there is no key to steal")
	}
	stop, ended := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { ended <- n }()
		for {
			select {
			case <-stop:
				return
			default:
			}
			if said := w.Run(t.Context(), nil, "rotate", "--all"); said.Code != 0 {
				t.Errorf("rotate --all: exit %d\n%s%s", said.Code, said.Out, said.Err)
				return
			}
			n++
		}
	}()
	const times = 8
	for range times {
		t.Log(w.keyorch(0, "kek", "rotate").Out)
	}
	close(stop)
	rotations := <-ended
	for _, l := range w.topo.Links {
		w.settled(l.Name, keychain.Epoch(1+rotations))
	}
	w.noLoss()
	if rotations == 0 {
		t.Error("no rotation ran beside those of the KEKs")
	}
	t.Logf("%d rotations of all links beside %d of the KEKs", rotations, times)
	w.keyorch(0, "kek", "rotate") // and with nothing under way
	for _, k := range w.keys() {
		if v := custody.Version(k.Wrapped); v != times+2 {
			t.Errorf("epoch %d of %s is under version %d of %s, want %d", k.Epoch, k.Link, v, k.Wrapped.KEK, times+2)
		}
	}
	t.Log(w.keyorch(0, "kek", "list").Out)
	// An agent that comes back opens what it has orders for; what was stolen opens no more.
	w.agents["dc2"].Kill()
	w.Lab.Network.Node("dc2-spine2").RebootLosingKeys()
	w.startAgent("dc2")
	w.rotate(0, "dc1-dc2", "--timeout", "30s")
	w.wantRetired(stolen)
}

// wantRetired has the agents of the very sites try to open keys.
func (w *world) wantRetired(keys []store.Key) {
	w.t.Helper()
	for _, site := range []keychain.SiteID{"dc1"} {
		vault, err := w.Lab.CustodyAs(w.t.Context(), devstack.AgentIdentity(site), nil)
		must(w.t, err)
		for _, k := range keys {
			_, err := vault.Unwrap(w.t.Context(), k.Link, k.Epoch, k.Wrapped)
			if !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "which is retired") {
				w.t.Errorf("epoch %d of %s: %v, want that its version is retired", k.Epoch, k.Link, err)
			}
		}
	}
}

func TestKEKsOfOneSite(t *testing.T) {
	w := rotatingWorld(t)
	before := w.keyorch(0, "kek", "list").Out
	dry := w.keyorch(0, "kek", "rotate", "dc3", "--dry-run").Out
	if w.keyorch(0, "kek", "list").Out != before {
		t.Error("a dry run changed something")
	}
	said := w.keyorch(0, "kek", "rotate", "dc3").Out
	t.Log(before, dry, said, w.keyorch(0, "kek", "list").Out)
	if !strings.Contains(said, "keyorch-sites-dc1.dc3") || strings.Contains(said, "keyorch-sites-dc1.dc2") {
		t.Errorf("rotated others than those of dc3:\n%s", said)
	}
	w.keyorch(2, "kek", "rotate", "nowhere")
	w.rotate(0, "--all")
	w.noLoss()
}
