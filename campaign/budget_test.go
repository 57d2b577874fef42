package campaign_test

import (
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

func TestSpent(t *testing.T) {
	tally := func(links, held, aborted, refused int) campaign.Tally {
		return campaign.Tally{Links: links, Held: held, Aborted: aborted, Refused: refused, Rotated: links - held - aborted - refused}
	}
	none := topology.Amount{}
	for _, c := range []struct {
		name           string
		wave, campaign topology.Amount
		w, all         campaign.Tally
		want           string
	}{
		{"nothing failed, nothing allowed", none, none, tally(5, 0, 0, 0), tally(5, 0, 0, 0), ""},
		{"one failed, nothing allowed in the wave", none, number(9), tally(5, 1, 0, 0), tally(5, 1, 0, 0),
			"1 of 5 links of the wave failed, and its budget allows none"},
		{"one failed, nothing allowed in the campaign", number(9), none, tally(5, 1, 0, 0), tally(50, 1, 0, 0),
			"1 of 50 links of the campaign failed, and its budget allows none"},
		{"what equals a number is inside", number(3), number(3), tally(20, 1, 1, 1), tally(20, 1, 1, 1), ""},
		{"one more is not", number(3), number(9), tally(20, 1, 2, 1), tally(20, 1, 2, 1),
			"4 of 20 links of the wave failed, and its budget is 3"},
		{"what equals a share is inside", percent(10), percent(100), tally(20, 2, 0, 0), tally(20, 2, 0, 0), ""},
		{"one more of a share", percent(10), percent(100), tally(20, 3, 0, 0), tally(20, 3, 0, 0),
			"3 of 20 links of the wave failed, and its budget is 10%"},
		{"a share that floats do not hold", percent(0.1), percent(100), tally(3000, 3, 0, 0), tally(3000, 3, 0, 0), ""},
		{"a share of a small wave is no link", percent(10), percent(10), tally(1, 0, 0, 1), tally(100, 0, 0, 1),
			"1 of 1 link of the wave failed, and its budget is 10%"},
		{"the very last link", percent(10), percent(10), tally(10, 2, 0, 0), tally(100, 10, 0, 0),
			"2 of 10 links of the wave failed, and its budget is 10%"},
		{"many waves, each inside", percent(50), percent(10), tally(10, 5, 0, 0), tally(100, 11, 0, 0),
			"11 of 100 links of the campaign failed, and its budget is 10%"},
		{"both at once", number(1), percent(5), tally(20, 2, 0, 0), tally(20, 2, 0, 0),
			"2 of 20 links of the wave failed, and its budget is 1; 2 of 20 links of the campaign failed, and its budget is 5%"},
		{"everything may fail", percent(100), percent(100), tally(7, 7, 0, 0), tally(7, 7, 0, 0), ""},
		{"no links", percent(10), percent(10), campaign.Tally{}, campaign.Tally{}, ""},
		{"skipped and superseded are no failures", none, none, campaign.Tally{Links: 4, Skipped: 2, Superseded: 2},
			campaign.Tally{Links: 4, Skipped: 2, Superseded: 2}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, spent := campaign.Spent(topology.Budget{Wave: c.wave, Campaign: c.campaign}, c.w, c.all)
			if got != c.want || spent != (c.want != "") {
				t.Errorf("%q, %v; want %q", got, spent, c.want)
			}
		})
	}
}

// noon is when things begin in these tests.
func noon() time.Time { return time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC) }

func at(d time.Duration) time.Time { return noon().Add(d) }

func TestStand(t *testing.T) {
	const wait = 10 * time.Minute
	mine := func(o link.Outcome, ended time.Time) link.Attempt {
		return link.Attempt{Campaign: "c1", Outcome: o, Reason: "because", Begun: at(time.Second), Ended: ended}
	}
	other := func(begun time.Duration) link.Attempt { return link.Attempt{Campaign: "c2", Begun: at(begun)} }
	refused := &campaign.Denial{Link: "a", Reason: "no"}
	for _, c := range []struct {
		name   string
		r      link.Record
		begun  time.Time
		now    time.Duration
		denied *campaign.Denial
		want   string
		reason string
	}{
		{"rotated", link.Record{Last: mine(link.Rotated, at(time.Minute))}, noon(), 0, nil, "rotated", "because"},
		{"aborted", link.Record{Last: mine(link.Aborted, at(time.Minute))}, noon(), 0, nil, "aborted", "because"},
		{"an end counts also after the wait", link.Record{Last: mine(link.Rotated, at(time.Hour))}, noon(), 2 * time.Hour, nil, "rotated", "because"},
		{"under way", link.Record{Last: mine("", time.Time{})}, noon(), wait, nil, campaign.InFlight, "because"},
		{"held from the wait on", link.Record{Last: mine("", time.Time{})}, noon(), wait + time.Second, nil, "held", "because"},
		{"a link of a late batch has its own time", link.Record{Last: link.Attempt{Campaign: "c1", Begun: at(9 * time.Minute)}}, noon(), wait + time.Second, nil, campaign.InFlight, ""},
		{"a link that was adopted has the wave's", link.Record{Last: link.Attempt{Campaign: "c1", Begun: at(-time.Hour)}}, noon(), time.Minute, nil, campaign.InFlight, ""},
		{"not begun", link.Record{Last: other(-time.Hour)}, noon(), 0, nil, campaign.NotBegun, ""},
		{"not begun before its wave", link.Record{Last: other(time.Minute)}, time.Time{}, wait * 9, nil, campaign.NotBegun, ""},
		{"no record", link.Record{}, noon(), wait * 9, nil, campaign.NotBegun, ""},
		{"another campaign took it", link.Record{Last: other(time.Minute)}, noon(), 0, nil, campaign.Superseded, "campaign c2 has it"},
		{"another one came after it was done", link.Record{Last: other(time.Minute), Completed: mine(link.Rotated, at(2*time.Second))}, noon(), 0, nil, "rotated", ""},
		{"refused", link.Record{Last: other(-time.Hour)}, noon(), 0, refused, "refused", "no"},
		{"refused because another one has it", link.Record{Last: other(time.Minute)}, noon(), 0, refused, "refused", "no"},
		{"skipped", link.Record{}, noon(), 0, &campaign.Denial{Link: "a", Reason: "maintenance", Site: "dc1"}, campaign.Skipped, "maintenance"},
		{"skipped for its window", link.Record{}, noon(), 0, &campaign.Denial{Link: "a", Reason: "closed", Closed: true}, campaign.Skipped, "closed"},
		{"refused, and begun all the same", link.Record{Last: mine(link.Rotated, at(time.Minute))}, noon(), 0, refused, "rotated", "because"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.r.Link = "a"
			got := campaign.Stand(c.r, "c1", c.begun, at(c.now), wait, c.denied)
			if got.Outcome != c.want || got.Reason != c.reason || got.Link != "a" {
				t.Errorf("%+v, want %s (%s)", got, c.want, c.reason)
			}
		})
	}
}

func TestCount(t *testing.T) {
	var all []campaign.Standing
	for i, o := range []string{campaign.InFlight, "rotated", "held", "aborted", "refused", campaign.Skipped, campaign.Superseded, campaign.NotBegun} {
		for range i + 1 {
			all = append(all, campaign.Standing{Outcome: o})
		}
	}
	want := campaign.Tally{Links: 36, InFlight: 1, Rotated: 2, Held: 3, Aborted: 4, Refused: 5, Skipped: 6, Superseded: 7}
	got := campaign.Count(all)
	if got != want || got.NotBegun() != 8 || got.Done()+got.InFlight+got.NotBegun() != got.Links || got.Failed() != 12 {
		t.Errorf("%+v, want %+v", got, want)
	}
	if text := got.String(); text != "2 of 36 links rotated, 1 in flight, 3 held, 4 aborted, 5 refused, 6 skipped, 7 superseded, 8 not begun" {
		t.Error(text)
	}
}
