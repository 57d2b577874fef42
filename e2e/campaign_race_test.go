package e2e_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// TestCampaignRaces has everything happen at the same time, and then again with the
// worker killed in the middle of it.
func TestCampaignRaces(t *testing.T) {
	w := campaignWorld(t)
	for _, c := range []struct {
		name  string
		again int // without a kill
		race  func(t *testing.T, turn int, kill func())
	}{
		{"the budget is spent by the very last link", 1, w.lastLinkFails},
		{"an abort with the last confirmation", 5, w.abortAtTheEnd},
		{"a pause while a wave ends", 4, w.pauseAtTheEnd},
		{"two campaigns over the same links", 2, w.twoAtOnce},
	} {
		for turn := range c.again + 1 {
			name, kill := c.name, func() {}
			if turn == c.again {
				name, kill = name+", and the worker is killed", w.restartWorker
			}
			if t.Failed() {
				return // the next would begin where this one got stuck
			}
			w.run(name, func(t *testing.T) {
				w.sound()
				c.race(t, turn, kill)
				w.Lab.Network.Node("n4").Refuse(false)
				w.sound()
			})
		}
	}
}

// lastLinkFails spends the budget when nothing else is left.
func (w *world) lastLinkFails(t *testing.T, _ int, kill func()) {
	before := w.used()
	n4 := w.Lab.Network.Node("n4")
	n4.Refuse(true)
	name, _ := w.campaigning("-l", "tier!=odd", "--policy", "back")
	w.is(name, campaign.Aborting)
	kill()
	c := w.is(name, campaign.Ended)
	if !c.Aborted || !strings.Contains(c.Reason, "failed") || c.Tally.Rotated != 6 || c.Tally.Aborted+c.Tally.Held != 1 {
		t.Errorf("it ended as %+v", c)
	}
	n4.Refuse(false)
	w.sound()
	if s := w.record("last").State; s.To.Epoch > before["last"] || s.Highest != before["last"]+1 {
		t.Errorf("last is on epoch %d, and the highest is %d after %d", s.To.Epoch, s.Highest, before["last"])
	}
}

// abortAtTheEnd aborts a campaign while its links are confirmed, a little later
// every turn: from before the first confirmation to after the last.
func (w *world) abortAtTheEnd(t *testing.T, turn int, kill func()) {
	before := w.used()
	defer w.slowly(0)
	for n, d := range map[keychain.NodeID]time.Duration{"n2": 20, "n3": 70, "n4": 120} {
		w.Lab.Network.Node(n).Slow(d * time.Millisecond)
	}
	name, ended := w.campaigning("a", "b", "last", "--policy", "quick")
	w.until("the first has confirmed", func() bool {
		r := w.record("b")
		return r.Last.Campaign == name && slices.ContainsFunc(w.view.Reports("b"), func(x keychain.Report) bool { return len(x.Accepts) == 2 })
	})
	w.after(time.Now().Add(time.Duration(turn) * 60 * time.Millisecond))
	aborted := make(chan int, 1)
	go func() { aborted <- w.Lab.Keyorch(t.Context(), "abort", name).Code }() // it takes less time than a process
	kill()
	code := <-aborted
	if code != 0 && code != 3 && code != 4 {
		t.Errorf("abort ended with %d", code)
	}
	c := w.is(name, campaign.Ended)
	if code == 0 != c.Aborted && code != 4 {
		t.Errorf("abort ended with %d, and the campaign as %+v", code, c)
	}
	t.Logf("abort ended with %d, and the campaign with %s", code, c.Tally)
	ended(map[bool]int{true: 5, false: 0}[c.Tally.Aborted > 0])
	w.sound()
	for _, id := range []keychain.LinkID{"a", "b", "last"} {
		if s := w.record(id).State; s.Highest > before[id]+1 {
			t.Errorf("%s has used epoch %d after %d", id, s.Highest, before[id])
		}
	}
}

// pauseAtTheEnd pauses a campaign when the last link of a wave comes to rest, and
// resumes it.
func (w *world) pauseAtTheEnd(t *testing.T, turn int, kill func()) {
	before := w.used()
	name, ended := w.campaigning("-l", "tier!=odd", "--policy", "thirds", "--timeout", "0")
	wave := turn % 2
	var first []keychain.LinkID
	s, err := w.Lab.Store(t.Context())
	must(t, err)
	defer func() { _ = s.Close() }()
	x := w.campaign(name).Waves[wave]
	batches, err := s.Batches(t.Context(), name, x.First, x.Count)
	must(t, err)
	for _, b := range batches {
		first = append(first, b.Links...)
	}
	w.until("a wave is about to end", func() bool {
		return !slices.ContainsFunc(first, func(id keychain.LinkID) bool {
			r := w.record(id)
			return r.Last.Campaign != name || r.State.Phase != link.Retiring && r.State.Phase != link.Steady
		})
	})
	paused := make(chan int, 1)
	go func() { paused <- w.Run(t.Context(), nil, "pause", name, "--reason", "a look").Code }()
	kill()
	code := <-paused
	if code == 0 {
		w.until("it is paused, or was about to end", func() bool {
			c := w.campaign(name)
			return c.State == campaign.Paused || c.State == campaign.Ended
		})
		begun := w.campaign(name)
		if begun.State == campaign.Paused {
			ended(4)
			w.until("what has begun is done", func() bool {
				return !slices.ContainsFunc(w.topo.Links, func(l topology.Link) bool { return w.record(l.Name).Owner != "" })
			})
			if c := w.campaign(name); launched(c) != launched(begun) {
				t.Errorf("it launched %d batches, and %d while it was paused", launched(begun), launched(c)-launched(begun))
			}
			if launched(begun) < 3 { // else it ends by itself
				w.keyorch(0, "resume", name)
			}
		}
		t.Logf("the pause found it %s in wave %d", begun.State, begun.Wave)
	} else if code != 3 && code != 6 {
		t.Errorf("pause ended with %d", code)
	}
	w.until("it has ended, or is paused by an answer that came late", func() bool {
		s := w.campaign(name).State
		return s == campaign.Ended || s == campaign.Paused && code != 0
	})
	if w.campaign(name).State == campaign.Paused {
		w.keyorch(0, "resume", name)
	}
	if c := w.is(name, campaign.Ended); c.Tally.Rotated != 7 {
		t.Errorf("it ended as %+v", c)
	}
	w.on(raised(before, 1, append(w.rest("a"), "a")...), append(w.rest("a"), "a")...)
}

// launched is how many batches a campaign has launched.
func launched(c campaign.Record) (n int) {
	for _, x := range c.Waves {
		n += x.Launched
	}
	return n
}

// twoAtOnce starts two campaigns over the same links in the same moment.
func (w *world) twoAtOnce(t *testing.T, _ int, kill func()) {
	before := w.used()
	known := w.view.Campaigns()
	codes := make(chan int, 2)
	for range 2 {
		go func() {
			codes <- w.Run(t.Context(), nil, "rotate", "-l", "tier!=odd", "--policy", "thirds", "--timeout", "1m").Code
		}()
	}
	one := w.newest(known)
	two := w.newest(append(known, one))
	w.until("some link is under way", func() bool {
		return slices.ContainsFunc(w.view.Records(), func(r link.Record) bool { return r.Last.Campaign == one.Name || r.Last.Campaign == two.Name })
	})
	kill()
	for range 2 {
		if code := <-codes; code != 0 && code != 3 && code != 4 {
			t.Errorf("rotate ended with %d", code)
		}
	}
	for _, name := range []string{one.Name, two.Name} {
		w.until(name+" stands still", func() bool {
			s := w.campaign(name).State
			return s == campaign.Ended || s == campaign.Paused
		})
		c := w.campaign(name)
		if c.Reason == "" || c.Tally.Failed() > 0 && c.Tally.Refused == 0 {
			t.Errorf("%s is %+v", name, c)
		}
		t.Logf("one is %s: %s", c.State, c.Reason)
		if c.State == campaign.Paused { // each may have refused what the other has
			w.until("what it has begun is done", func() bool {
				return !slices.ContainsFunc(w.view.Records(), func(r link.Record) bool { return r.Last.Campaign == name && r.Owner != "" })
			})
			w.keyorch(0, "abort", name, "--reason", "the other one has them")
			w.is(name, campaign.Ended)
		}
	}
	w.sound()
	for _, id := range append(w.rest("a"), "a") {
		if s := w.record(id).State; s.Highest > before[id]+2 || s.To.Epoch != s.Highest {
			t.Errorf("%s is on epoch %d, has used %d, and came from %d", id, s.To.Epoch, s.Highest, before[id])
		}
	}
}
