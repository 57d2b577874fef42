package campaign_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/topology"
)

type tally = campaign.Tally

// driven is a campaign that a test drives: it keeps the tallies, does what Next
// says, and checks what must hold after every step.
type driven struct {
	t      *testing.T
	r      campaign.Record
	now    time.Duration
	waves  []tally
	last   campaign.Decision
	number int // of batches that were launched
}

// begin is a campaign with waves of so many links in batches of ten, a budget
// of a tenth each, a soak of five minutes after each wave and a wait of ten.
func begin(t *testing.T, onSpent topology.OnSpent, links ...int) *driven {
	t.Helper()
	d := &driven{t: t}
	var waves []campaign.WaveStatus
	first := 0
	for i, n := range links {
		d.waves = append(d.waves, tally{Links: n})
		w := campaign.WaveStatus{Name: fmt.Sprintf("w%d", i+1), First: first, Count: (n + 9) / 10, Soak: 5 * time.Minute, Tally: tally{Links: n}}
		waves = append(waves, w)
		first += w.Count
	}
	p := topology.DefaultPolicy()
	p.Budget.OnSpent = onSpent
	d.r = campaign.Begin(campaign.Record{Name: "c1", SideBySide: 2}, p, waves, noon())
	return d
}

// at sets the minute.
func (d *driven) at(minute float64) *driven {
	d.now = time.Duration(minute * float64(time.Minute))
	return d
}

// count sets how links of a wave, counted from one, stand.
func (d *driven) count(wave int, counts tally) *driven {
	counts.Links = d.waves[wave-1].Links
	d.waves[wave-1] = counts
	return d
}

// next asks, and expects the batches launched, the state and part of its reason.
func (d *driven) next(asks campaign.Asks, launch string, state campaign.State, reason string) *driven {
	d.t.Helper()
	got := d.ask(asks)
	if s := strings.Trim(fmt.Sprint(got.Launch), "[]"); s != launch {
		d.t.Errorf("at %v: launches %q, want %q", d.now, s, launch)
	}
	if r := got.Record; r.State != state || !strings.Contains(r.Reason, reason) || reason == "" && r.Reason != "" {
		d.t.Errorf("at %v: %s (%s), want %s (%s)", d.now, r.State, r.Reason, state, reason)
	}
	return d
}

// wakes expects the minute at which the campaign is to be looked at again; zero
// for never.
func (d *driven) wakes(minute float64) *driven {
	d.t.Helper()
	got := time.Duration(0)
	if !d.last.Wake.IsZero() {
		got = d.last.Wake.Sub(noon())
	}
	if want := time.Duration(minute * float64(time.Minute)); got != want {
		d.t.Errorf("at %v: wakes at %v, want %v", d.now, got, want)
	}
	return d
}

func (d *driven) ask(asks campaign.Asks) campaign.Decision {
	d.t.Helper()
	before := d.r.Recount(d.waves)
	copied := before.Recount(nil)
	got := campaign.Next(before, at(d.now), asks)
	for _, b := range got.Launch {
		if b != d.number {
			d.t.Fatalf("at %v: batch %d is launched after %d batches", d.now, b, d.number)
		}
		d.number++
	}
	state := got.Record.State
	switch {
	case !slices.Equal(before.Waves, copied.Waves):
		d.t.Fatal("Next changed its input")
	case len(got.Launch) > 0 && state != campaign.Running:
		d.t.Fatalf("at %v: launches while %s", d.now, state)
	case state != campaign.Running && got.Record.Reason == "":
		d.t.Fatalf("at %v: %s without a reason", d.now, state)
	case !got.Wake.IsZero() && !got.Wake.After(at(d.now)):
		d.t.Fatalf("at %v: is to wake at %v", d.now, got.Wake)
	case state == campaign.Running && got.Wake.IsZero() && got.Next == "":
		d.t.Fatalf("at %v: runs, and nothing is next", d.now)
	}
	d.r, d.last = got.Record, got
	again := campaign.Next(d.r, at(d.now), campaign.Asks{Idle: asks.Idle && len(got.Launch) == 0})
	if again.Changed || len(again.Launch) > 0 || again.Abort || again.Wake != got.Wake || again.Next != got.Next {
		d.t.Fatalf("at %v: asked again it says %+v after %+v", d.now, again, got)
	}
	return got
}

func none() campaign.Asks { return campaign.Asks{} }

const (
	running  = campaign.Running
	paused   = campaign.Paused
	aborting = campaign.Aborting
	ended    = campaign.Ended
)

func TestCampaignFromWaveToWave(t *testing.T) {
	d := begin(t, "", 1, 10, 15)
	d.next(none(), "0", running, "").wakes(10)
	d.at(1).count(1, tally{InFlight: 1}).next(none(), "", running, "").wakes(10)
	d.at(2).count(1, tally{Rotated: 1}).next(none(), "", running, "").wakes(7) // soaks
	d.at(6.9).next(none(), "", running, "").wakes(7)
	d.at(7).next(none(), "1", running, "").wakes(17)
	d.at(8).count(2, tally{Rotated: 9, Held: 1}).next(none(), "", running, "").wakes(13)
	d.at(13).next(none(), "2 3", running, "")
	d.at(14).count(3, tally{Rotated: 14, InFlight: 1}).next(none(), "", running, "").wakes(23)
	d.at(15).count(3, tally{Rotated: 15}).next(none(), "", ended, "25 of 26 links rotated, 1 held").wakes(0)
	if d.r.Ended != at(15*time.Minute) || d.r.Waves[2].Ended != d.r.Ended || !strings.Contains(d.last.Next, "1 link that it began") {
		t.Errorf("%+v %s", d.r, d.last.Next)
	}
	d.at(99).count(2, tally{Rotated: 10}).next(campaign.Asks{Pause: true, Resume: true, Abort: true, Promote: true}, "", ended, "25 of 26")
	if d.r.Tally.Rotated != 26 {
		t.Error("the tail is not counted")
	}
}

func TestBatchesSideBySide(t *testing.T) {
	d := begin(t, "", 60)
	d.next(none(), "0 1", running, "") // as many as two batches have
	d.at(1).count(1, tally{Rotated: 3, InFlight: 17}).next(none(), "", running, "")
	d.at(2).count(1, tally{Rotated: 15, InFlight: 5}).next(none(), "2 3", running, "") // five stragglers take no place
	d.at(3).count(1, tally{Rotated: 15, InFlight: 25}).next(none(), "", running, "")
	// Stragglers that are held have left their places.
	d.at(12).count(1, tally{Rotated: 34, Held: 6}).next(none(), "4 5", running, "").wakes(22)
}

func TestEmptyCampaign(t *testing.T) {
	begin(t, "").next(none(), "", ended, "there were no links")
}

func TestBudgetSpentPauses(t *testing.T) {
	d := begin(t, topology.PauseWhenSpent, 20, 100)
	d.next(none(), "0 1", running, "")
	d.at(1).count(1, tally{Rotated: 10, Aborted: 2, InFlight: 8}).next(none(), "", running, "")
	d.at(2).count(1, tally{Rotated: 10, Aborted: 3, InFlight: 7}).next(none(), "", paused, "3 of 20 links of the wave failed, and its budget is 10%")
	d.at(3).count(1, tally{Rotated: 17, Aborted: 3}).next(none(), "", paused, "3 of 20")
	// What was seen is forgiven, and the soak has run out in the meantime.
	d.at(9).next(campaign.Asks{Resume: true}, "2 3", running, "")
	if d.r.Forgiven != 3 || d.r.Waves[0].Forgiven != 3 || d.r.Waves[1].Forgiven != 0 {
		t.Errorf("forgiven: %+v", d.r)
	}
	// More failures spend it again: ten of the new wave are inside of it.
	d.at(10).count(2, tally{Held: 10}).next(none(), "4", running, "")
	d.at(11).count(2, tally{Held: 11}).next(none(), "", paused, "since it was resumed, 11 of 100 links of the wave failed")
}

func TestWhatComesRightIsForgivenNoLonger(t *testing.T) {
	d := begin(t, topology.PauseWhenSpent, 20, 20)
	d.next(none(), "0 1", running, "")
	d.at(1).count(1, tally{Held: 4, InFlight: 16}).next(none(), "", paused, "4 of 20")
	d.at(2).next(campaign.Asks{Resume: true}, "", running, "")
	d.at(3).count(1, tally{Rotated: 4, InFlight: 16}).next(none(), "", running, "") // they came right
	if d.r.Forgiven != 0 || d.r.Waves[0].Forgiven != 0 {
		t.Errorf("still forgiven: %+v", d.r)
	}
	d.at(4).count(1, tally{Rotated: 4, Held: 3, InFlight: 13}).next(none(), "", paused, "3 of 20")
}

func TestBudgetSpentAborts(t *testing.T) {
	d := begin(t, topology.AbortWhenSpent, 20, 100)
	d.next(none(), "0 1", running, "")
	d.at(2).count(1, tally{Rotated: 10, Held: 3, InFlight: 7}).next(none(), "", aborting, "3 of 20").wakes(12)
	if !d.last.Abort || !d.r.Aborted {
		t.Error("nobody is told to go back")
	}
	d.at(3).count(1, tally{Rotated: 11, Held: 1, Aborted: 8}).next(none(), "", aborting, "3 of 20")
	if d.last.Abort {
		t.Error("they are told twice")
	}
	d.at(4).count(1, tally{Rotated: 11, Aborted: 9}).next(none(), "", ended,
		"11 of 120 links rotated, 9 aborted, 100 not begun; 3 of 20 links of the wave failed")
}

func TestAbortDoesNotWaitForEver(t *testing.T) {
	d := begin(t, topology.AbortWhenSpent, 20)
	d.next(none(), "0 1", running, "")
	d.at(2).count(1, tally{Rotated: 10, InFlight: 10}).next(campaign.Asks{Abort: true, Reason: "wrong night"}, "", aborting, "aborted by an operator: wrong night").wakes(12)
	d.at(12).count(1, tally{Rotated: 10, Aborted: 8, Held: 2}).next(none(), "", ended, "10 of 20 links rotated, 2 held, 8 aborted; aborted by an operator: wrong night")
}

func TestBudgetSpentAtTheVeryLastLink(t *testing.T) {
	for _, on := range []topology.OnSpent{topology.PauseWhenSpent, topology.AbortWhenSpent} {
		d := begin(t, on, 20)
		d.next(none(), "0 1", running, "")
		d.at(1).count(1, tally{Rotated: 17, Refused: 2, InFlight: 1}).next(none(), "", running, "")
		// There is nothing left that a pause or an abort could stop.
		d.at(2).count(1, tally{Rotated: 17, Refused: 3}).next(none(), "", ended,
			"17 of 20 links rotated, 3 refused; 3 of 20 links of the wave failed, and its budget is 10%")
		if d.last.Abort || d.r.Aborted {
			t.Errorf("%s: it is aborted", on)
		}
	}
}

func TestBudgetSpentAtTheLastLinkAbortsTheHeld(t *testing.T) {
	d := begin(t, topology.AbortWhenSpent, 20)
	d.next(none(), "0 1", running, "")
	d.at(10).count(1, tally{Rotated: 17, Held: 3}).next(none(), "", aborting, "3 of 20")
	d.at(11).count(1, tally{Rotated: 17, Aborted: 3}).next(none(), "", ended, "17 of 20 links rotated, 3 aborted; 3 of 20")
}

func TestBudgetSpentAtTheLastLinkOfAWave(t *testing.T) {
	d := begin(t, topology.PauseWhenSpent, 1, 50)
	d.next(none(), "0", running, "")
	d.at(1).count(1, tally{Refused: 1}).next(none(), "", paused, "1 of 1 link of the wave failed").wakes(6)
	d.at(2).next(campaign.Asks{Resume: true}, "", running, "").wakes(6) // the soak of the wave that ended at 1
	d.at(6).next(none(), "1 2", running, "")
}

func TestWhatIsUnfinishedAfterTheWaitCountsAsHeld(t *testing.T) {
	d := begin(t, topology.PauseWhenSpent, 20, 50)
	d.next(none(), "0 1", running, "")
	d.at(9.9).count(1, tally{Rotated: 10, InFlight: 3}).next(none(), "", running, "").wakes(10)
	d.at(10).next(none(), "", paused, "10 of 20 links of the wave failed") // seven never began
	d.at(30).next(campaign.Asks{Resume: true}, "2 3", running, "")         // and are forgiven
}

func TestNothingRunsAnyMore(t *testing.T) {
	d := begin(t, topology.PauseWhenSpent, 20, 50)
	d.next(none(), "0 1", running, "")
	idle := campaign.Asks{Idle: true}
	d.at(1).count(1, tally{Rotated: 18})
	d.r.Waves[0].Soak = 0
	if got := d.ask(idle); fmt.Sprint(got.Launch) != "[2 3]" {
		t.Errorf("two links that never begin are waited for: %+v", got)
	}
	d.at(2).count(1, tally{Rotated: 18, Held: 2}).next(campaign.Asks{Abort: true, Idle: true}, "", ended, "aborted by an operator")
}

func TestLinksThatNeverBeginLeaveTheirPlaces(t *testing.T) {
	d := begin(t, topology.PauseWhenSpent, 60)
	d.next(none(), "0 1", running, "").wakes(10)
	d.at(10).next(none(), "", paused, "20 of 60 links of the wave failed")
	d.at(11).next(campaign.Asks{Resume: true}, "2 3", running, "").wakes(21)
}

func TestAbortWaitsForWhatIsAboutToBegin(t *testing.T) {
	d := begin(t, "", 20, 10)
	d.next(none(), "0 1", running, "")
	d.at(1).next(campaign.Asks{Abort: true}, "", aborting, "aborted").wakes(11)
	d.at(2).next(campaign.Asks{Idle: true}, "", ended, "0 of 30 links rotated, 30 not begun; aborted by an operator")
}

func TestNothingIsPausedWhenAllHasBegun(t *testing.T) {
	d := begin(t, topology.PauseWhenSpent, 20)
	d.next(none(), "0 1", running, "")
	d.at(1).count(1, tally{Refused: 3, InFlight: 17}).next(none(), "", running, "").wakes(10)
	d.at(2).count(1, tally{Refused: 3, Rotated: 17}).next(none(), "", ended, "3 of 20")
}

func TestPauseWhileAWaveEnds(t *testing.T) {
	d := begin(t, "", 10, 10)
	d.next(none(), "0", running, "")
	d.at(1).count(1, tally{Rotated: 10}).next(campaign.Asks{Pause: true, Reason: "lunch"}, "", paused, "paused by an operator: lunch").wakes(6)
	if d.r.Waves[0].Ended != at(time.Minute) || d.r.Wave != 0 {
		t.Errorf("%+v", d.r)
	}
	d.at(7).next(none(), "", paused, "lunch").wakes(0)
	if d.r.Wave != 0 {
		t.Errorf("wave %d begins in a pause", d.r.Wave)
	}
	d.at(8).next(campaign.Asks{Pause: true, Resume: true}, "", paused, "lunch")
	d.at(60).next(campaign.Asks{Resume: true}, "1", running, "").wakes(70)
	// A pause stops nothing once all has begun, and the campaign ends.
	d.at(61).next(campaign.Asks{Pause: true}, "", paused, "paused")
	d.at(62).count(2, tally{Rotated: 10}).next(none(), "", ended, "all 20 links rotated").wakes(0)
}

func TestPauseInTheMiddleOfAWave(t *testing.T) {
	d := begin(t, "", 60, 10)
	d.next(none(), "0 1", running, "")
	d.at(1).count(1, tally{Rotated: 20}).next(campaign.Asks{Pause: true}, "", paused, "paused")
	d.at(30).next(none(), "", paused, "paused").wakes(0)
	d.at(31).next(campaign.Asks{Resume: true}, "2 3", running, "").wakes(41)
}

func TestResumeWhenTheWaveHasRunOutOfTime(t *testing.T) {
	d := begin(t, topology.PauseWhenSpent, 20, 10)
	d.next(none(), "0 1", running, "")
	d.at(1).count(1, tally{InFlight: 20}).next(campaign.Asks{Pause: true}, "", paused, "paused").wakes(10)
	d.at(20).count(1, tally{Rotated: 15, Held: 5}).next(none(), "", paused, "paused by an operator").wakes(25)
	d.at(21).next(campaign.Asks{Resume: true}, "", running, "").wakes(25)
	d.at(25).next(none(), "2", running, "")
}

func TestPromote(t *testing.T) {
	promote := campaign.Asks{Promote: true}
	d := begin(t, "", 1, 60, 10)
	d.next(none(), "0", running, "")
	d.at(1).count(1, tally{Rotated: 1}).next(none(), "", running, "").wakes(6)
	d.at(2).next(promote, "1 2", running, "") // in its soak
	d.at(3).count(2, tally{Rotated: 10, InFlight: 10}).next(promote, "3", running, "")
	// What has not begun is begun all the same, and only then the next wave.
	d.at(4).count(2, tally{Rotated: 25, InFlight: 5}).next(none(), "4 5", running, "")
	if d.r.Wave != 1 {
		t.Errorf("wave %d", d.r.Wave)
	}
	d.at(5).count(2, tally{Rotated: 45, InFlight: 5}).next(none(), "6 7", running, "").wakes(15)
	if err := d.r.CanPromote(); err == nil {
		t.Error("the last wave can be promoted")
	}
}

func TestPromoteForgivesNothing(t *testing.T) {
	d := begin(t, topology.PauseWhenSpent, 20, 10)
	d.next(none(), "0 1", running, "")
	d.at(1).count(1, tally{Held: 3, InFlight: 17}).next(campaign.Asks{Promote: true}, "", paused, "3 of 20")
}

func TestAbortWhenAllHasEnded(t *testing.T) {
	d := begin(t, "", 10)
	d.next(none(), "0", running, "")
	// The last confirmation and the abort come together: nothing is left to go back.
	d.at(1).count(1, tally{Rotated: 10}).next(campaign.Asks{Abort: true}, "", ended, "all 10 links rotated; aborted by an operator")
	if d.r.CanAbort() == nil {
		t.Error("what has ended can be aborted")
	}
}

func TestAbortInASoakAndInAPause(t *testing.T) {
	d := begin(t, "", 1, 10)
	d.next(none(), "0", running, "")
	d.at(1).count(1, tally{Rotated: 1}).next(none(), "", running, "")
	d.at(2).next(campaign.Asks{Pause: true}, "", paused, "paused")
	d.at(3).next(campaign.Asks{Abort: true, Pause: true, Resume: true}, "", ended, "1 of 11 links rotated, 10 not begun; aborted by an operator")
	if !d.r.Aborted || !d.last.Abort {
		t.Errorf("%+v", d.last)
	}
}
