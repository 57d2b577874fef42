package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// ruledBy is twoSenders with more in its policy, and with other senders.
func ruledBy(policy string, senders ...string) string {
	d := strings.Replace(twoSenders, "drain: 300ms", policy, 1)
	if len(senders) > 0 {
		d = strings.Replace(d, "[one, other]", "["+strings.Join(senders, ", ")+"]", 1)
	}
	return d
}

// laterToday is a window that opens in two hours, and when that is.
func laterToday() (window string, opens time.Time) {
	opens = time.Now().UTC().Truncate(time.Minute).Add(2 * time.Hour)
	return fmt.Sprintf(`windows: [{from: "%s", to: "%s"}]`, opens.Format("15:04"), opens.Add(time.Hour).Format("15:04")), opens
}

const frozen = `freezes: [{from: "2020-01-01", to: "2999-01-01", reason: end of the year}]`

func TestGates(t *testing.T) {
	w := newWorld(t)
	w.declare(twoSenders)
	w.staff()
	w.rotate(0, "l1")
	w.traffic()
	w.run("a closed window refuses", w.windowRefuses)
	w.run("a freeze refuses", w.freezeRefuses)
	w.run("a freeze that comes before the switch holds it", w.freezeHoldsTheSwitch)
	w.run("what an operator wants in spite of it is not held", w.ignoresTheFreeze)
	w.noLoss()
	w.run("who goes on sending with the old key holds it", w.quietHolds)
}

func (w *world) windowRefuses(t *testing.T) {
	window, opens := laterToday()
	w.declare(ruledBy("drain: 300ms, " + window))
	before := w.record("l1")
	said(t, w.keyorch(3, "rotate", "l1").Err, opens.Format("2006-01-02T15:04"), "--ignore-windows")
	said(t, w.keyorch(3, "plan", "l1").Out, opens.Format("2006-01-02T15:04"))
	if after := w.record("l1"); after.Revision != before.Revision {
		t.Errorf("what was refused changed %+v into %+v", before, after)
	}
	w.rotate(0, "l1", "--ignore-windows", "--timeout", "20s")
	w.settled("l1", before.State.To.Epoch+1)
}

func (w *world) freezeRefuses(t *testing.T) {
	w.declare(ruledBy("drain: 300ms, " + frozen))
	said(t, w.keyorch(3, "rotate", "l1").Err, "end of the year", "2999-01-01")
}

// freezeHoldsTheSwitch has a link begin in time, and wait for a node until it may
// not switch any more.
func (w *world) freezeHoldsTheSwitch(t *testing.T) {
	w.declare(twoSenders)
	before := w.record("l1").State.To.Epoch
	w.Lab.Network.Node("far").Dead(true)
	w.rotate(4, "l1", "--timeout", "1s")
	w.declare(ruledBy("drain: 300ms, " + frozen))
	w.Lab.Network.Node("far").Dead(false)
	w.until("far accepts both", func() bool {
		reports := w.view.Reports("l1")
		i := slices.IndexFunc(reports, func(r keychain.Report) bool { return r.Node == "far" })
		return i >= 0 && reports[i].Fault == "" && len(reports[i].Accepts) == 2
	})
	w.eventually("why says what holds it", func() bool {
		return strings.Contains(w.keyorch(0, "why", "l1").Out, "end of the year")
	})
	if s := w.record("l1").State; s.Phase != link.Staging {
		t.Errorf("in the freeze it went on to %v", s.Phase)
	}
	w.declare(twoSenders)
	w.settled("l1", before+1)
}

// ignoresTheFreeze has the same wait, for somebody who did not want to.
func (w *world) ignoresTheFreeze(t *testing.T) {
	w.declare(ruledBy("drain: 300ms, " + frozen))
	before := w.record("l1").State.To.Epoch
	w.Lab.Network.Node("far").Dead(true)
	w.rotate(4, "l1", "--ignore-windows", "--timeout", "1s")
	w.Lab.Network.Node("far").Dead(false)
	w.settled("l1", before+1)
	w.declare(twoSenders)
}

// quietHolds takes a sender out of the link, which its device does not know: it goes
// on with the old key. The link waits until that is silent, and can go back.
func (w *world) quietHolds(t *testing.T) {
	const quiet = 3 * time.Second
	w.declare(ruledBy("drain: 100ms, quiet: 3s", "one"))
	one, both := []keychain.NodeID{"one"}, []keychain.NodeID{"one", "other"}
	far := []keychain.NodeID{"far"}
	w.Lab.Network.Traffic("l1", both, far, 2*time.Millisecond)
	before := w.record("l1").State
	r := w.rotate(4, "l1", "--timeout", "5s") // longer than quiet
	if got := result(t, r, "l1"); got.Phase != link.Draining || !strings.Contains(got.Reason, "still arrive at far") {
		t.Errorf("with a sender on the old key it is %+v", got)
	}
	said(t, w.keyorch(0, "why", "l1").Out, "still arrive at far")

	w.keyorch(0, "abort", "l1", "--reason", "somebody sends still")
	w.untilPhase("l1", link.Switching)
	w.until("it is back and drains", func() bool { s := w.record("l1").State; return s.Reverting && s.Phase == link.Draining })
	w.settled("l1", before.To.Epoch)
	if s := w.record("l1").State; s.To.Epoch != before.To.Epoch || s.Highest != before.Highest+1 {
		t.Errorf("aborted while it drained it is %+v, from %+v", s, before)
	}

	ended := w.rotating("l1")
	w.untilPhase("l1", link.Draining)
	w.Lab.Network.Traffic("l1", one, far, 2*time.Millisecond)
	silent := time.Now()
	ended(0)
	if took := time.Since(silent); took < quiet {
		t.Errorf("it waited for silence for %v only", took)
	}
	if s := w.Lab.Network.Stats("l1"); s.Lost.Total() > 0 {
		t.Errorf("packets were lost: %+v", s)
	}
}
