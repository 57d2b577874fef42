package campaign_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// says compares what is said with all that is wanted.
func says(t *testing.T, what, said string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(said, w) || w == "" && said != "" {
			t.Errorf("%s says %q, want %q", what, said, w)
		}
	}
}

func TestExplainCampaign(t *testing.T) {
	for _, c := range []struct {
		name              string
		drive             func(*driven)
		minute            float64
		summary, awaiting string
		next, command     string
		wakes             float64
	}{
		{"a wave that waits", func(d *driven) { d.next(none(), "0 1", running, "") }, 3,
			"campaign c1 is in wave w1 (1 of 2); 0 of 120 links rotated", "20 links of wave w1",
			"when 20 links of wave w1 are done, at the latest at 2026-03-02T12:10:00Z, it soaks for 5m0s, and then wave w2 begins", "keyorch promote c1", 10},
		{"a soak", func(d *driven) {
			d.next(none(), "0 1", running, "")
			d.at(1).count(1, tally{Rotated: 20}).next(none(), "", running, "")
		}, 3, "20 of 120 links rotated, 100 not begun", "the soak of wave w1, until 2026-03-02T12:06:00Z",
			"wave w2 begins at 2026-03-02T12:06:00Z", "keyorch promote c1", 6},
		{"a pause", func(d *driven) {
			d.next(none(), "0 1", running, "")
			d.at(1).count(1, tally{Rotated: 10, Held: 3, InFlight: 7}).next(none(), "", paused, "3 of 20")
		}, 3, "campaign c1 is paused in wave w1 (1 of 2): 3 of 20 links of the wave failed, and its budget is 10%; 10 of 120 links rotated",
			"an operator who resumes it", "nothing more begins until an operator resumes it", "keyorch resume c1", 10},
		{"a wave without batches left", func(d *driven) {
			d.next(none(), "0 1", running, "")
			d.at(1).count(1, tally{Rotated: 20}).next(none(), "", running, "")
			d.at(6).next(none(), "2 3", running, "")
		}, 7, "is in wave w2 (2 of 2)", "100 links of wave w2", "more links of wave w2 begin as others of it are done", "", 16},
		{"an abort", func(d *driven) {
			d.next(none(), "0 1", running, "")
			d.at(1).count(1, tally{Rotated: 10, InFlight: 10}).next(campaign.Asks{Abort: true}, "", aborting, "aborted")
		}, 3, "campaign c1 is being aborted: aborted by an operator; 10 of 120", "10 links that go back", "it ends when 10 links have gone back or are done", "", 11},
		{"an end with a tail", func(d *driven) {
			d.next(campaign.Asks{Abort: true}, "", ended, "aborted by an operator")
			d.count(1, tally{Held: 2}).next(none(), "", ended, "aborted by an operator")
		}, 3, "campaign c1 has ended: 0 of 120 links rotated, 2 held, 118 not begun; aborted by an operator",
			"the nodes of 2 links, which go on by themselves", "2 links that it began go on by themselves", "keyorch retry c1", 0},
		{"an end", func(d *driven) {
			d.next(campaign.Asks{Abort: true}, "", ended, "aborted by an operator")
			d.count(1, tally{Rotated: 20}).count(2, tally{Rotated: 100}).next(none(), "", ended, "aborted by an operator")
		}, 3, "campaign c1 has ended: all 120 links rotated", "", "", "", 0},
		{"a step that nobody takes", func(d *driven) { d.next(none(), "0 1", running, "") }, 10.5,
			"is in wave w1", "a worker: the next step is due, and nobody takes it", "", "keyorch worker", 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := begin(t, topology.PauseWhenSpent, 20, 100)
			c.drive(d)
			x := campaign.ExplainCampaign(d.r, nil, at(time.Duration(c.minute*float64(time.Minute))))
			says(t, "the summary", x.Summary, c.summary)
			says(t, "awaiting", x.Awaiting, c.awaiting)
			says(t, "the command", x.Command, c.command)
			if c.command != "keyorch worker" {
				says(t, "next", x.Next, c.next)
				if want := at(time.Duration(c.wakes * float64(time.Minute))); !x.At.Equal(want) && (c.wakes != 0 || !x.At.IsZero()) {
					t.Errorf("at %v, want %v", x.At, want)
				}
			}
			if x.State != d.r.State || x.For != at(time.Duration(c.minute*float64(time.Minute))).Sub(d.r.Since) {
				t.Errorf("%s for %v", x.State, x.For)
			}
			if _, err := json.Marshal(x); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTroublesAreGrouped(t *testing.T) {
	d := begin(t, topology.PauseWhenSpent, 20, 100)
	var standings []campaign.Standing
	for i := range 12 {
		standings = append(standings, campaign.Standing{Link: keychain.LinkID(fmt.Sprintf("l%02d", 19-i)), Outcome: "held",
			Reason: fmt.Sprintf("waiting for n1 to accept epoch %d: no agent serves it", i)})
	}
	standings = append(standings, campaign.Standing{Link: "x", Outcome: "refused", Reason: "frozen: quarter end"},
		campaign.Standing{Link: "y", Outcome: "rotated", Reason: "never shown"}, campaign.Standing{Link: "z", Outcome: campaign.NotBegun})
	x := campaign.ExplainCampaign(d.r, standings, noon())
	if len(x.Troubles) != 2 || x.Troubles[0].Count != 12 || x.Troubles[1].Count != 1 || len(x.Troubles[0].Links) != 5 || x.Troubles[0].Links[0] != "l08" {
		t.Errorf("%+v", x.Troubles)
	}
	says(t, "the summary", x.Summary, "12 held: waiting for n1 to accept epoch 0: no agent serves it")
	says(t, "look", x.Look, "keyorch why l19")
	if x.Tally.Held != 12 || x.Tally.Links != 15 {
		t.Errorf("%+v", x.Tally)
	}
	// Other numbers tell reasons apart.
	for reasons, want := range map[[2]string]int{
		{"epoch 3 (a1b2c3d4e5) is missing", "epoch 4 (0102030405) is missing"}: 1,
		{"it accepts epochs 3 and 4", "it accepts epochs 7 and 8"}:             1,
		{"port 3 is down", "port 4 is down"}:                                   2,
		{"epoch 3 on port 3", "epoch 3 on port 4"}:                             2,
	} {
		x := campaign.ExplainCampaign(d.r, []campaign.Standing{{Link: "a", Outcome: "held", Reason: reasons[0]}, {Link: "b", Outcome: "held", Reason: reasons[1]}}, noon())
		if len(x.Troubles) != want {
			t.Errorf("%v are %d troubles, want %d", reasons, len(x.Troubles), want)
		}
	}
}

// awaiting has link a wait for n2, which says nothing or what is wrong.
func awaiting(s *scene) {
	s.staged(time.Minute)
	s.change(func(r *link.Record) { r.State.Awaiting = ids("n2") })
}

func TestExplainNodeAndSite(t *testing.T) {
	for _, c := range []struct {
		name    string
		set     func(*scene)
		node    keychain.NodeID
		summary string // of the node, and the others too
		next    string
		command string
		awaited string
	}{
		{"all is well", func(*scene) {}, "n2", "node n2 is well: none of its 2 links waits for it", "", "", ""},
		{"no agent", func(s *scene) { awaiting(s); s.absent = ids("n2") }, "n2", "node n2: no agent serves it; 1 link: no agent serves it",
			"the link that waits for it goes on by itself when it has answered", "start the agent of site dc2", "a n2 to accept epoch 4"},
		{"no agent, and nobody waits", func(s *scene) { s.absent = ids("n2") }, "n2", "node n2: no agent serves it", "", "start the agent of site dc2", ""},
		{"what the device says", func(s *scene) {
			awaiting(s)
			s.reports = []keychain.Report{{Node: "n2", Fault: "refused", Message: "no licence"}}
		}, "n2", "node n2: 2 links: no licence", "the link that waits for it", "look at node n2 and what it says", "a n2 to accept epoch 4"},
		{"another node is waited for", awaiting, "n3", "node n3 is well: none of its 2 links", "", "", ""},
		{"it is excluded", func(s *scene) {
			s.Standing.Exclusions = []topology.Exclusion{{Node: "n2", Since: noon(), Reason: "stolen"}}
		}, "n2",
			"node n2: excluded since 2026-03-02T12:00:00Z: stolen", "it gets no new keys until it is readmitted", "keyorch readmit --node n2", ""},
		{"its site is in maintenance", func(s *scene) {
			s.Standing.Maintenance = []topology.Maintenance{{Site: "dc2", Until: at(time.Hour), Reason: "power"}}
		}, "n2", "node n2: in maintenance until 2026-03-02T13:00:00Z: power", "are caught up after 2026-03-02T13:00:00Z", "", ""},
		{"it was left behind", func(s *scene) { s.change(func(r *link.Record) { r.Quarantined = []link.Quarantine{{Node: "n2"}} }) }, "n2",
			"node n2: 1 link goes on without it", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := calm()
			c.set(s)
			p, err := campaign.ExplainNode(s.Facts, c.node)
			if err != nil {
				t.Fatal(err)
			}
			says(t, "the summary", p.Summary, c.summary)
			says(t, "next", p.Next, c.next)
			says(t, "the command", p.Command, c.command)
			var got []string
			for _, a := range p.Awaited {
				got = append(got, fmt.Sprintf("%s %s %s", a.Link, a.Node, a.For))
			}
			says(t, "awaited", strings.Join(got, ", "), c.awaited)
			site, err := campaign.ExplainSite(s.Facts, p.Site)
			if err != nil || len(site.Awaited) < len(p.Awaited) || site.Maintenance != p.Maintenance || site.Nodes < p.Nodes {
				t.Errorf("the site: %+v %v", site, err)
			}
		})
	}
}

func TestExplainSiteWithSomeAgents(t *testing.T) {
	s := calm()
	s.absent = ids("spare")
	p, err := campaign.ExplainSite(s.Facts, "dc3")
	if err != nil || p.Nodes != 2 || p.Links != 2 || !slices.Equal(p.Absent, ids("spare")) {
		t.Fatalf("%+v %v", p, err)
	}
	says(t, "the summary", p.Summary, "site dc3: no agent serves spare")
	says(t, "the command", p.Command, "start the agent of site dc3")
	s.Standing.Exclusions = []topology.Exclusion{{Site: "dc3", Since: noon()}}
	p, _ = campaign.ExplainSite(s.Facts, "dc3")
	says(t, "the command", p.Command, "keyorch readmit --site dc3")
}

func TestExplainWhatIsNotDeclared(t *testing.T) {
	if _, err := campaign.ExplainNode(calm().Facts, "x"); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	if _, err := campaign.ExplainSite(calm().Facts, "x"); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}
