package e2e_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// TestCampaigns tells stories in one world: each begins and ends with every link on
// one confirmed key.
func TestCampaigns(t *testing.T) {
	w := campaignWorld(t)
	var lost string
	for _, c := range []struct {
		name string
		test func(t *testing.T)
	}{
		{"Temporal's history is lost", func(t *testing.T) { lost = w.historyLost(t) }},
		{"waves", w.inWaves},
		{"the budget is spent by the canary", w.budgetPauses},
		{"the budget is spent and it goes back", w.budgetAborts},
		{"the next campaign adopts the tail", w.adoptsTheTail},
		{"a repaired device is retried", w.retried},
		{"the retry of an ended campaign", w.retriedAnew},
		{"an abort takes back what has switched", w.abortedAfterTheSwitch},
		{"what was lost is buried", func(t *testing.T) {
			c := w.is(lost, campaign.Ended)
			if !strings.Contains(c.Reason, "its workflow was lost") {
				t.Errorf("%s ended because %q", lost, c.Reason)
			}
		}},
	} {
		if t.Failed() {
			return // the next would begin where this one got stuck
		}
		w.run(c.name, func(t *testing.T) {
			w.sound()
			c.test(t)
			w.dead(false, "n1", "n2", "n3", "n4")
			w.Lab.Network.Node("n4").Refuse(false)
			w.sound()
		})
	}
}

// historyLost deletes Temporal's database while two links are held. The next
// campaign goes on with the key that is young, and discards the one that is old.
func (w *world) historyLost(t *testing.T) (lost string) {
	before := w.epochs()
	w.dead(true, "n3")
	lost, _ = w.campaigning("a", "brief", "--policy", "quick") // nobody waits for it
	w.untilPhase("a", link.Staging)
	w.untilPhase("brief", link.Staging)
	w.worker.Kill()
	w.stopView()
	must(t, w.Lab.Stack.Stop(t.Context()))
	w.loseHistory()
	w.startWorker()
	if w.runs(lost) {
		t.Fatal("the workflow is still there: nothing was lost")
	}
	w.after(w.record("brief").State.Since.Add(4 * time.Second)) // its tail is three
	ended := w.rotating("a", "brief", "--policy", "quick")
	w.until("the new campaign has both", func() bool {
		return w.record("a").Last.Campaign != lost && w.record("brief").Last.Campaign != lost
	})
	w.dead(false, "n3")
	ended(0)
	w.on(raised(raised(before, 1, "a"), 2, "brief"))
	return lost
}

// loseHistory starts the servers, which are stopped, without anything that Temporal
// knew. The data moves, because SQLite keeps a file that it has open in this process.
func (w *world) loseHistory() {
	w.t.Helper()
	data := filepath.Join(w.Lab.Dir, "data-after")
	must(w.t, os.Rename(filepath.Join(w.Lab.Dir, "data"), data))
	files, err := filepath.Glob(filepath.Join(data, "temporal.*"))
	must(w.t, err)
	if len(files) < 2 {
		w.t.Fatalf("only %v was found of Temporal's", files)
	}
	for _, f := range files {
		must(w.t, os.Remove(f))
	}
	w.Lab.Stack, err = devstack.Start(w.t.Context(), devstack.Options{Data: data})
	must(w.t, err)
	w.look()
}

// inWaves rotates with a canary chosen by its label, and is promoted.
func (w *world) inWaves(t *testing.T) {
	before := w.epochs()
	planned := w.plan("-l", "tier!=odd", "--policy", "waves")
	if len(planned) != 2 || planned[0] != "canary[a]" {
		t.Errorf("planned %v", planned)
	}
	name, ended := w.campaigning("--policy", "waves", "--reason", "spring", "-l", "tier!=odd")
	w.until("the canary is done", func() bool { c := w.campaign(name); return len(c.Waves) == 2 && !c.Waves[0].Ended.IsZero() })
	if got := w.waves(name); !slices.Equal(got, planned) {
		t.Errorf("it runs %v, and %v was planned", got, planned)
	}
	c := w.campaign(name)
	if c.State != campaign.Running || c.Waves[1].Launched > 0 || c.Waves[0].Tally.Rotated != 1 {
		t.Errorf("after the canary it is %+v", c)
	}
	if status := w.keyorch(0, "status").Out; !strings.Contains(status, name) {
		t.Errorf("status does not tell of it:\n%s", status)
	}
	if get := w.keyorch(0, "get", "campaigns", name).Out; !strings.Contains(get, "running") {
		t.Errorf("get does not tell that it runs:\n%s", get)
	}
	if why := w.keyorch(0, "why", name).Out; !strings.Contains(why, "promote") {
		t.Errorf("why does not tell how to go on:\n%s", why)
	}
	w.keyorch(3, "resume", name)
	w.keyorch(0, "promote", name)
	ended(0)
	if c := w.is(name, campaign.Ended); c.Tally.Rotated != 7 {
		t.Errorf("it ended with %+v", c)
	}
	w.on(raised(before, 1, append(w.rest("a"), "a")...))
	for _, verb := range []string{"pause", "resume", "promote", "abort", "retry"} {
		w.keyorch(3, verb, name) // it has ended
	}
}

// budgetPauses has the canary's site dead.
func (w *world) budgetPauses(t *testing.T) {
	before := w.epochs()
	w.dead(true, "n3")
	name, ended := w.campaigning("-l", "tier!=odd", "--policy", "waves")
	c := w.is(name, campaign.Paused)
	if !strings.Contains(c.Reason, "1 of 1 link of the wave failed") {
		t.Errorf("it is paused because %q", c.Reason)
	}
	ended(4)
	if got := w.epochs(); !slices.Equal(w.rest("a"), w.same(got, before, w.rest("a"))) {
		t.Errorf("the rest is on %v after %v", got, before)
	}
	if status := w.keyorch(0, "status").Out; !strings.Contains(status, "keyorch resume "+name) {
		t.Errorf("status does not say how to go on:\n%s", status)
	}
	w.dead(false, "n3")
	w.settled("a", before["a"]+1) // by itself
	w.keyorch(0, "resume", name)
	w.until("the rest has begun", func() bool { return w.campaign(name).Wave == 1 || w.campaign(name).Waves[0].Promoted || w.soaks(name) })
	w.keyorch(0, "promote", name)
	w.is(name, campaign.Ended)
	w.on(raised(before, 1, append(w.rest("a"), "a")...))
}

// soaks reports whether a campaign waits after its first wave.
func (w *world) soaks(name string) bool {
	c := w.campaign(name)
	return c.State == campaign.Running && !c.Waves[0].Ended.IsZero()
}

// same is those of ids whose epochs are the same in both.
func (w *world) same(a, b map[keychain.LinkID]keychain.Epoch, ids []keychain.LinkID) (out []keychain.LinkID) {
	for _, id := range ids {
		if a[id] == b[id] {
			out = append(out, id)
		}
	}
	return out
}

// budgetAborts has a receiver of the first wave dead.
func (w *world) budgetAborts(t *testing.T) {
	before := w.epochs()
	w.dead(true, "n2") // b and f receive there
	name, ended := w.campaigning("-l", "tier!=odd", "--policy", "back")
	c := w.is(name, campaign.Aborting)
	if !strings.Contains(c.Reason, "failed") {
		t.Errorf("it is aborted because %q", c.Reason)
	}
	w.dead(false, "n2")
	if c = w.is(name, campaign.Ended); !c.Aborted || c.Waves[1].Launched > 0 {
		t.Errorf("it ended as %+v", c)
	}
	ended(5)
	w.sound()
	after := w.epochs()
	for _, id := range []keychain.LinkID{"b", "f", "last"} {
		if after[id] != before[id] {
			t.Errorf("%s is on epoch %d, and had not switched from %d", id, after[id], before[id])
		}
	}
	if b := w.record("b"); b.State.Highest != b.State.To.Epoch+1 || b.Last.Outcome != link.Aborted || b.Last.Reason == "" {
		t.Errorf("the record of b is %+v", b)
	}
}

// adoptsTheTail takes a held link over from the workflow of a campaign that has
// ended, with its key.
func (w *world) adoptsTheTail(t *testing.T) {
	before := w.used()
	w.dead(true, "n4")
	name, ended := w.campaigning("last", "--policy", "waves")
	w.is(name, campaign.Ended)
	ended(4)
	old := w.record("last").Owner
	if old == "" || !w.runs(old) {
		t.Fatalf("the tail is driven by %q", old)
	}
	next, ended := w.campaigning("last", "--policy", "quick")
	w.until("the next campaign has the link", func() bool { return w.record("last").Last.Campaign == next })
	w.dead(false, "n4")
	ended(0)
	w.on(raised(before, 1, "last"), "last")
	w.until("the old workflow has given way", func() bool { return !w.runs(old) })
}

// retried has a device say no until it is repaired, in a campaign that is paused.
func (w *world) retried(t *testing.T) {
	before := w.used()
	n4 := w.Lab.Network.Node("n4")
	n4.Refuse(true)
	name, ended := w.campaigning("last", "b", "--policy", "lastfirst")
	w.is(name, campaign.Paused)
	ended(4)
	n4.Refuse(false)
	w.until("the failure is counted", func() bool { return w.campaign(name).Tally.Failed() > 0 })
	w.keyorch(0, "retry", name)
	w.settled("last", before["last"]+2)
	w.keyorch(0, "resume", name)
	if c := w.is(name, campaign.Ended); c.Tally.Rotated != 2 {
		t.Errorf("it ended as %+v", c)
	}
	w.on(raised(raised(before, 2, "last"), 1, "b"), "last", "b")
}

// retriedAnew has a campaign end with a link held, which a new one takes up.
func (w *world) retriedAnew(t *testing.T) {
	before := w.used()
	n4 := w.Lab.Network.Node("n4")
	n4.Refuse(true)
	name, ended := w.campaigning("last", "--policy", "waves")
	c := w.is(name, campaign.Ended)
	if c.Tally.Held != 1 {
		t.Errorf("it ended as %+v", c)
	}
	ended(4)
	n4.Refuse(false)
	known := w.view.Campaigns()
	w.keyorch(0, "retry", name)
	if c := w.newest(known); c.Kind != campaign.Retry || c.Tally.Links != 1 {
		t.Errorf("the retry is %+v", c)
	}
	w.on(raised(before, 2, "last"), "last")
}

// abortedAfterTheSwitch takes back a whole campaign while a link drains.
func (w *world) abortedAfterTheSwitch(t *testing.T) {
	before := w.epochs()
	w.dead(true, "n4")
	name, ended := w.campaigning("last", "slow", "--policy", "quick")
	w.untilPhase("slow", link.Draining)
	w.keyorch(0, "abort", name, "--switched", "--reason", "second thoughts")
	w.dead(false, "n4")
	c := w.is(name, campaign.Ended)
	if !c.Aborted || !strings.Contains(c.Reason, "second thoughts") {
		t.Errorf("it ended as %+v", c)
	}
	ended(5)
	w.on(before)
	if why := w.keyorch(3, "abort", name).Err; !strings.Contains(why, "has ended") {
		t.Errorf("another abort is refused with %q", why)
	}
	w.keyorch(2, "abort", "nothing-of-that-name")
}
