package cli

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

var update = flag.Bool("update", false, "write testdata anew")

// fakeFleet is a world with reports and histories.
type fakeFleet struct {
	*fakeFacts
	reports map[keychain.LinkID][]keychain.Report
	pasts   map[keychain.LinkID][]link.Entry
}

func (f *fakeFleet) Reports(id keychain.LinkID) []keychain.Report { return f.reports[id] }

func (f *fakeFleet) sight() *sight {
	return &sight{
		view: f, now: morning, topology: f.topology, standing: f.standing, closed: &closures{},
		batches: func(_ context.Context, _ string, first, count int) ([]campaign.Batch, error) {
			var ids []keychain.LinkID
			for _, l := range f.topology.Links {
				ids = append(ids, l.Name)
			}
			return []campaign.Batch{{Links: ids}}, nil
		},
		history: func(_ context.Context, id keychain.LinkID) ([]link.Entry, error) { return f.pasts[id], nil },
	}
}

// report adds what a node says.
func (f *fakeFleet) report(id keychain.LinkID, r keychain.Report) {
	f.reports[id] = append(f.reports[id], r)
}

func key(e keychain.Epoch) link.Key {
	return link.Key{Ref: keychain.Ref{Epoch: e, KCV: keychain.KCV(strings.Repeat("ab", 4) + "0" + string('0'+rune(e%10)))}}
}

// smallFleet is three links on their second keys, with nobody missing.
func smallFleet() *fakeFleet {
	f := &fakeFleet{fakeFacts: fleetOf(3), reports: map[keychain.LinkID][]keychain.Report{}, pasts: map[keychain.LinkID][]link.Entry{}}
	f.topology.Sites = []topology.Site{{Name: "oslo"}, {Name: "rome"}}
	f.topology.Nodes = []topology.Node{{Name: "a1", Site: "oslo"}, {Name: "b1", Site: "rome"}}
	for i := range f.records {
		r := &f.records[i]
		r.State.To, r.State.Highest, r.State.Turn = key(2), 2, 8
		r.Completed.Epoch, r.Completed.Minted = 2, morning.Add(-26*time.Hour)
		r.Last.Epoch = 2
	}
	f.campaigns[0].State, f.campaigns[0].Reason, f.campaigns[0].Ended = campaign.Ended, "all done", morning.Add(-time.Minute)
	f.campaigns[0].Tally = campaign.Tally{Links: 3, Rotated: 3}
	f.campaigns[0].Since = morning.Add(-time.Minute)
	return f
}

// staging has link i on its way to epoch 3, waiting for b1.
func (f *fakeFleet) staging(i int) *link.Record {
	f.stuck(i, link.Staging, 2*time.Minute)
	r := &f.records[i]
	r.State.From, r.State.To, r.State.Highest, r.State.Turn = key(2), key(3), 3, 9
	r.Last.Campaign, r.Owner = "again", "again"
	r.Completed = link.Attempt{Campaign: "nightly", Outcome: link.Rotated, Epoch: 2, Begun: morning.Add(-26 * time.Hour), Ended: morning.Add(-26 * time.Hour), Minted: morning.Add(-26 * time.Hour)}
	return r
}

// whyOf is what why prints about a link.
func (f *fakeFleet) whyOf(i int) string {
	var b bytes.Buffer
	printWhy(&b, morning, f.sight().whyLink(linkName(i)))
	return b.String()
}

func TestWhatIsPrinted(t *testing.T) {
	for name, print := range map[string]func(t *testing.T) string{
		"why-absent":         whyAbsent,
		"why-window":         whyWindow,
		"why-quiet":          whyQuiet,
		"why-denied":         whyDenied,
		"why-everything":     whyEverything,
		"why-campaign":       whyPausedCampaign,
		"why-node":           whyNode,
		"status":             statusOfFew,
		"status-summary":     statusOfMany,
		"history":            historyOfAll,
		"history-campaign":   historyOfCampaign,
		"history-link":       historyOfLink,
		"drift":              driftOfAll,
		"get-policies":       func(*testing.T) string { return shown(policies(somePolicies())) },
		"get-exclusions":     func(*testing.T) string { return shown(exclusions(morning, someStanding())) },
		"get-maintenance":    func(*testing.T) string { return shown(maintenance(morning, someStanding())) },
		"get-campaigns":      func(*testing.T) string { return shown(campaigns(morning, []campaign.Record{paused()})) },
		"get-links-labelled": labelledLinks,
	} {
		t.Run(name, func(t *testing.T) {
			got, file := print(t), filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("it prints\n%s\nand %s has\n%s", got, file, want)
			}
		})
	}
}

func shown(l *listed) string {
	var b bytes.Buffer
	table(&b, l.header, l.rows)
	return b.String()
}

func whyAbsent(*testing.T) string {
	f := smallFleet()
	f.staging(0)
	f.absent = "b1"
	return f.whyOf(0)
}

func whyWindow(*testing.T) string {
	f := smallFleet()
	r := f.staging(0)
	f.topology.Policies = []topology.Policy{{Name: "nights", Drain: time.Second, TimeZone: "Europe/Oslo", Windows: []topology.Window{{From: "22:00", To: "04:00"}}}}
	f.topology.Links[0].Policy = "nights"
	f.report(r.Link, keychain.Report{Node: "b1", Turn: 9, At: morning, Accepts: []keychain.Ref{key(2).Ref, key(3).Ref}})
	return f.whyOf(0)
}

// draining has link 0 forget epoch 2, of which b1 counted a packet some time ago.
func draining(last time.Duration) *fakeFleet {
	f := smallFleet()
	r := f.staging(0)
	r.State.Phase, r.State.Turn, r.State.Awaiting = link.Draining, 11, nil
	f.topology.Policies = []topology.Policy{{Name: "quiet", Drain: 5 * time.Second, Quiet: 30 * time.Second}}
	f.topology.Links[0].Policy = "quiet"
	f.report(r.Link, keychain.Report{Node: "a1", Turn: 11, At: morning.Add(-2 * time.Minute), Sends: key(3).Ref})
	f.report(r.Link, keychain.Report{
		Node: "b1", Turn: 11, At: morning.Add(-last), Accepts: []keychain.Ref{key(2).Ref, key(3).Ref}, Counters: []keychain.Counter{{Epoch: 2, Packets: 812}},
	})
	return f
}

func whyQuiet(*testing.T) string { return draining(4 * time.Second).whyOf(0) }

// paused is a campaign that spent its budget.
func paused() campaign.Record {
	return campaign.Record{
		Name: "weekly", Kind: campaign.Rotation, State: campaign.Paused, Reason: "1 of 3 links of the wave failed, and its budget is 10%", By: "schedule weekly",
		Selection: campaign.Selection{All: true}, Begun: morning.Add(-5 * time.Minute), Since: morning.Add(-time.Minute), Wait: time.Minute,
		Tally: campaign.Tally{Links: 3, Held: 1}, Expected: morning.Add(time.Hour),
		Waves: []campaign.WaveStatus{{Name: "all", Count: 1, Begun: morning.Add(-5 * time.Minute), Tally: campaign.Tally{Links: 3, Held: 1}}},
	}
}

// withPaused is a fleet of which weekly has begun link 0, which is held.
func withPaused() *fakeFleet {
	f := smallFleet()
	f.staging(0).Last.Campaign = "weekly"
	f.absent = "b1"
	f.campaigns = append([]campaign.Record{paused()}, f.campaigns...)
	f.denials["weekly"] = []campaign.Denial{{Link: linkName(1), Reason: "site rome is in maintenance", At: morning, Site: "rome"}}
	return f
}

func whyDenied(*testing.T) string { return withPaused().whyOf(1) }

func whyEverything(*testing.T) string {
	f := smallFleet()
	f.topology.Nodes = append(f.topology.Nodes, topology.Node{Name: "b2", Site: "rome"}, topology.Node{Name: "c1", Site: "oslo"}, topology.Node{Name: "d1", Site: "oslo"})
	f.topology.Links[0].Downstream = []keychain.NodeID{"b1", "b2", "c1", "d1"}
	f.standing = someStanding()
	r := &f.records[0]
	r.Quarantined = []link.Quarantine{{Node: "b2", Epoch: 2, Reason: "no agent serves it", Since: morning.Add(-time.Hour)}}
	r.Last = link.Attempt{Campaign: "again", Outcome: link.Aborted, Epoch: 2, Reason: "by the operator", Begun: morning.Add(-3 * time.Minute), Ended: morning.Add(-2 * time.Minute)}
	f.report(r.Link, keychain.Report{
		Node: "b1", Turn: 8, At: morning, Accepts: []keychain.Ref{key(2).Ref}, Repaired: []keychain.Repair{{What: "epoch 2 was missing", At: morning.Add(-time.Hour), Count: 3}},
	})
	return f.whyOf(0)
}

func whyPausedCampaign(t *testing.T) string {
	x, err := withPaused().sight().whyCampaign(t.Context(), "weekly")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	printWhyCampaign(&b, morning, x)
	return b.String()
}

func whyNode(t *testing.T) string {
	var b bytes.Buffer
	for _, x := range []subject{{aNode, "b1"}, {aSite, "rome"}} {
		p, err := withPaused().sight().whyPlace(x)
		if err != nil {
			t.Fatal(err)
		}
		printWhyPlace(&b, morning, p)
	}
	return b.String()
}

func statusOfFew(*testing.T) string {
	s := withPaused().sight()
	var b bytes.Buffer
	printStatus(&b, morning, s.status(s.links()))
	return b.String()
}

// many is a fleet of which a few links are in all kinds of trouble.
func many(n int) *fakeFleet {
	f := withPaused()
	big := fleetOf(n)
	f.topology.Links, f.records, f.denials = big.topology.Links, big.records, big.denials
	for i := range f.records {
		r := &f.records[i]
		r.State.To, r.State.Turn, r.Completed.Minted = key(2), 8, morning.Add(-time.Duration(i)*time.Second)
		r.Last.Begun, r.Completed.Begun = morning.Add(-6*time.Minute), morning.Add(-6*time.Minute)
	}
	for i := range 7 {
		f.staging(i * 10).Last.Campaign = "weekly"
	}
	f.records[5].Last = link.Attempt{Campaign: "weekly", Outcome: link.Aborted, Reason: "by the operator", Begun: morning.Add(-time.Minute), Ended: morning}
	f.records[6].State, f.records[6].Last, f.records[6].Completed = link.New([]keychain.NodeID{"a1"}, []keychain.NodeID{"b1"}), link.Attempt{}, link.Attempt{}
	f.denials["weekly"] = []campaign.Denial{{Link: linkName(8), Reason: "its device cannot stage", At: morning}}
	f.topology.Policies = []topology.Policy{{Name: "short", KeyAge: topology.KeyAge{Warn: 5 * time.Second, Max: 10 * time.Second}}}
	f.topology.Links[7].Policy, f.topology.Links[11].Policy = "short", "short"
	f.campaigns[0].Tally.Links, f.campaigns[0].Waves[0].Tally.Links = n, n
	return f
}

func statusOfMany(t *testing.T) string {
	s := many(1000).sight()
	var b bytes.Buffer
	o := s.status(s.links())
	waves, err := s.waves(t.Context(), o.newest)
	if err != nil {
		t.Fatal(err)
	}
	printSummary(&b, morning, o, waves)
	return b.String()
}

func driftOfAll(*testing.T) string {
	var b bytes.Buffer
	printDrift(&b, morning, drifting().sight().drift([]keychain.LinkID{linkName(0), linkName(1)}, time.Hour))
	return b.String()
}

// drifting is a fleet in which b1 misses a key, and a1 has another one.
func drifting() *fakeFleet {
	f := smallFleet()
	f.report(linkName(0), keychain.Report{Node: "b1", Turn: 8, At: morning, Repaired: []keychain.Repair{{What: "epoch 2 was missing", At: morning.Add(-time.Minute), Count: 2}}})
	f.report(linkName(1), keychain.Report{Node: "a1", Turn: 8, At: morning, Sends: keychain.Ref{Epoch: 2, KCV: "ffffffffff"}})
	return f
}

func somePolicies() topology.Topology {
	p := topology.DefaultPolicy()
	p.Name = "nightly"
	p.Waves = []topology.Wave{{Name: "canary", Selector: "tier=canary"}, {Size: topology.Amount{Percent: 10}}, {Name: "rest"}}
	p.Windows, p.TimeZone = []topology.Window{{Days: []time.Weekday{time.Monday}, From: "22:00", To: "04:00"}}, "Europe/Oslo"
	p.Schedule.Cron, p.Quiet, p.KeyAge.Max = "0 2 * * *", time.Minute, 720*time.Hour
	quick := topology.Policy{Name: "quick", Freezes: []topology.Freeze{{From: "2026-12-20", To: "2027-01-02"}}, Budget: topology.Budget{OnSpent: topology.AbortWhenSpent}}
	return topology.Topology{Policies: []topology.Policy{p, quick}}
}

func someStanding() topology.Standing {
	return topology.Standing{
		Maintenance: []topology.Maintenance{{Site: "rome", Until: morning.Add(4 * time.Hour), Reason: "fibre work", Since: morning.Add(-time.Hour)}, {Site: "oslo", Until: morning}},
		Exclusions:  []topology.Exclusion{{Node: "d1", Reason: "stolen", Since: morning.Add(-time.Hour), Campaign: "compromise-1", Exposed: []topology.Exposed{{Link: "l00000", Epoch: 2}}}},
	}
}

func labelledLinks(t *testing.T) string {
	l := &listed{header: []string{"LINK"}, declared: true}
	l.add("a", topology.Link{Name: "a", Labels: topology.Labels{"tier": "core", "region": "eu"}})
	l.add("b", topology.Link{Name: "b", Labels: topology.Labels{"tier": "edge"}})
	if err := l.matching("links", "tier=core"); err != nil {
		t.Fatal(err)
	}
	l.withLabels()
	if !slices.Equal(l.names, []string{"a"}) {
		t.Errorf("-l keeps %q", l.names)
	}
	return shown(l)
}
