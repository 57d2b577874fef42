package e2e_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// maintained is what `maintenance list -o json` says.
func (w *world) maintained() []topology.Maintenance {
	w.t.Helper()
	var l struct{ Items []topology.Maintenance }
	must(w.t, json.Unmarshal([]byte(w.keyorch(0, "maintenance", "list", "-o", "json").Out), &l))
	return l.Items
}

// caughtUp is the campaigns that caught up with what was skipped.
func (w *world) caughtUp() (all []campaign.Record) {
	for _, c := range w.view.Campaigns() {
		if c.Kind == campaign.CatchUp {
			all = append(all, c)
		}
	}
	return all
}

func TestMaintenance(t *testing.T) {
	w := rotatingWorld(t)
	second, err := w.Worker(t.Context()) // whatever one does, two may do
	must(t, err)
	defer second.Kill()
	w.run("what is wrong is refused", w.maintenanceRefused)
	w.run("a campaign skips its links, and they are caught up when it is over", w.maintenanceOver)
	w.noLoss()
	w.run("nor twice, nor what got a key meanwhile", w.maintenanceEnded)
}

func (w *world) maintenanceRefused(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"set dc3 --for 1h", 2, "--reason"},
		{"set dc3 --reason r", 2, "say how long"},
		{"set dc3 --reason r --for 1h --until 2999-01-01T00:00:00Z", 2, "say how long"},
		{"set dc3 --reason r --for -1h", 2, "in the future"},
		{"set dc3 --reason r --until 2020-01-01T00:00:00Z", 2, "in the future"},
		{"set dc3 --reason r --until tomorrow", 2, "with its zone"},
		{"set dc3 --reason r --for 721h", 2, "30 days"},
		{"set nowhere --reason r --for 1h", 2, "nowhere"},
		{"set --reason r --for 1h", 2, "name one site"},
		{"end nowhere", 2, "nowhere"},
		{"end dc3", 3, "there is none"},
	} {
		got := w.keyorch(c.code, append([]string{"maintenance"}, strings.Fields(c.args)...)...)
		if !strings.Contains(got.Err, c.says) {
			t.Errorf("maintenance %s says %q, want %q in it", c.args, got.Err, c.says)
		}
	}
	if m := w.maintained(); len(m) > 0 {
		t.Errorf("after all that there is %+v", m)
	}
}

// skipped rotates everything while dc3 is in maintenance.
func (w *world) skipped(t *testing.T, length, reason string) rotation {
	t.Helper()
	w.keyorch(0, "maintenance", "set", "dc3", "--for", length, "--reason", reason)
	r := w.rotate(4, "--all")
	for id, want := range map[keychain.LinkID]link.Outcome{
		"dc1-dc2": link.Rotated, "dc2-dc1": link.Rotated, "dc1-dc3": link.Skipped, "dc3-dc1": link.Skipped,
	} {
		if got := result(t, r, id); got.Outcome != want || want == link.Skipped && !strings.Contains(got.Reason, reason) {
			t.Errorf("%s: %+v, want it %s", id, got, want)
		}
	}
	return r
}

func (w *world) maintenanceEnded(t *testing.T) {
	w.skipped(t, "1h", "fibre work")
	if m := w.maintained(); len(m) != 1 || m[0].Site != "dc3" || m[0].Reason != "fibre work" {
		t.Errorf("listed is %+v", m)
	}
	w.skipped(t, "2h", "more fibre work") // the same links, by another campaign
	if m := w.maintained(); len(m) != 1 || m[0].Reason != "more fibre work" || time.Until(m[0].Until) < 90*time.Minute || !m[0].Since.Before(m[0].Until.Add(-2*time.Hour)) {
		t.Errorf("set again, listed is %+v", m)
	}
	said(t, w.keyorch(0, "plan", "--all").Out, "more fibre work")
	said(t, w.keyorch(0, "why", "dc1-dc3").Out, "more fibre work")
	// One of the two gets its key for another reason, and needs no other.
	before := w.keysOf("dc1-dc3", "dc3-dc1")
	w.Lab.Network.Node("dc1-spine1").RebootLosingKeys()
	w.settled("dc1-dc3", before["dc1-dc3"]+1)
	w.keyorch(0, "maintenance", "end", "dc3")
	w.settled("dc3-dc1", before["dc3-dc1"]+1)
	w.untilCaughtUp(t, 2, "dc3-dc1")
	if now := w.keysOf("dc1-dc3", "dc3-dc1"); now["dc1-dc3"] != before["dc1-dc3"]+1 || now["dc3-dc1"] != before["dc3-dc1"]+1 {
		t.Errorf("caught up from %v to %v", before, now)
	}
}

// untilCaughtUp wants so many campaigns to have caught up, all of them ended, the
// last one with these links.
func (w *world) untilCaughtUp(t *testing.T, n int, ids ...keychain.LinkID) {
	t.Helper()
	w.until("everything is caught up", func() bool {
		for _, c := range w.caughtUp() {
			if c.State != campaign.Ended {
				return false
			}
		}
		return len(w.caughtUp()) >= n
	})
	all := w.caughtUp()
	if len(all) != n || all[0].Tally.Rotated != len(ids) || len(all[0].Selection.Links) != len(ids) {
		t.Errorf("%d campaigns caught up, want %d with %v: %+v", len(all), n, ids, all[0])
	}
}

func (w *world) maintenanceOver(t *testing.T) {
	before := w.keysOf("dc1-dc3", "dc3-dc1")
	w.skipped(t, "6s", "a short one")
	for id, e := range before {
		w.settled(id, e+1)
	}
	w.untilCaughtUp(t, 1, "dc1-dc3", "dc3-dc1")
	if m := w.maintained(); len(m) > 0 {
		t.Errorf("listed is %+v", m)
	}
	if now := w.keysOf("dc1-dc3", "dc3-dc1"); now["dc1-dc3"] != before["dc1-dc3"]+1 || now["dc3-dc1"] != before["dc3-dc1"]+1 {
		t.Errorf("caught up from %v to %v", before, now)
	}
}
