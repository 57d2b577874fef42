package campaign_test

import (
	"fmt"
	"math"
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

// scene is facts that a test may change one by one: at first nothing stands in
// the way of anything.
type scene struct {
	campaign.Facts
	records map[keychain.LinkID]link.Record
	reports []keychain.Report // about every link that has the node
	absent  []keychain.NodeID
	cannot  map[keychain.NodeID]string
	running []string
}

func calm() *scene {
	s := &scene{records: map[keychain.LinkID]link.Record{}, cannot: map[keychain.NodeID]string{}}
	s.Facts = campaign.Facts{
		Topology: small(), Selection: campaign.Selection{All: true}, Kind: campaign.Rotation, Now: noon(), Campaign: "c1",
		Record:  func(id keychain.LinkID) (link.Record, bool) { r, ok := s.records[id]; return r, ok },
		Reports: func(keychain.LinkID) []keychain.Report { return s.reports },
		Present: func(nodes []keychain.NodeID) []keychain.NodeID {
			return slices.DeleteFunc(slices.Clone(nodes), func(n keychain.NodeID) bool { return slices.Contains(s.absent, n) })
		},
		CannotStage: func(n keychain.NodeID) string { return s.cannot[n] },
		Running:     func(c string) bool { return slices.Contains(s.running, c) },
	}
	for _, l := range s.Topology.Links {
		st := link.New(l.Upstream, l.Downstream)
		st.To, st.Highest, st.Turn, st.Since = link.Key{Ref: keychain.Ref{Epoch: 3}, Serial: 3}, 3, 9, at(-24*time.Hour)
		done := link.Attempt{Campaign: "c0", Outcome: link.Rotated, Minted: at(-25 * time.Hour), Begun: at(-24*time.Hour - 10*time.Second), Ended: at(-24 * time.Hour)}
		s.records[l.Name] = link.Record{Link: l.Name, State: st, Last: done, Completed: done}
	}
	return s
}

// change changes the record of link a.
func (s *scene) change(f func(*link.Record)) {
	r := s.records["a"]
	f(&r)
	s.records["a"] = r
}

// staged has link a staged for so long.
func (s *scene) staged(ago time.Duration) {
	s.change(func(r *link.Record) {
		r.State.From, r.State.To = r.State.To, link.Key{Ref: keychain.Ref{Epoch: 4}, Serial: 4}
		r.State.Phase, r.State.Highest, r.State.Since = link.Staging, 4, at(-ago)
		r.Last = link.Attempt{Campaign: "c0", Outcome: link.Held, Begun: at(-ago)}
	})
}

// policy changes the policy of link a.
func (s *scene) policy(f func(*topology.Policy)) {
	p := topology.DefaultPolicy()
	p.Name = "nightly"
	f(&p)
	s.Topology.Policies = []topology.Policy{p, {Name: "unused"}}
}

func closedNow(p *topology.Policy) { p.Windows = []topology.Window{{From: "22:00", To: "23:00"}} }

func maintenance(s *scene) {
	s.Standing.Maintenance = []topology.Maintenance{{Site: "dc1", Until: at(time.Hour), Reason: "new power"}}
}

func TestPlanFinds(t *testing.T) {
	found := map[string]bool{}
	for _, c := range []struct {
		name string
		set  func(*scene)
		want string // what link a gets: "check severity node site", and after "!" a part of the reason or the remedy
	}{
		{"nothing", func(*scene) {}, ""},
		{"nothing where nothing is known", func(s *scene) {
			s.Record, s.Reports, s.Present, s.CannotStage, s.Running = nil, nil, nil, nil, nil
		}, ""},
		{"nothing for a link without a key", func(s *scene) { clear(s.records) }, ""},
		{"a side without nodes", func(s *scene) {
			s.Standing.Exclusions = []topology.Exclusion{{Node: "n1", Reason: "stolen", Since: noon()}}
		},
			"declared-nodes refuse, excluded-node note n1 dc1!every upstream node is excluded: n1"},
		{"a site that is excluded", func(s *scene) { s.Standing.Exclusions = []topology.Exclusion{{Site: "dc2", Since: noon()}} },
			"declared-nodes refuse, excluded-node note n2 dc2!keyorch readmit --site dc2"},
		{"a node that is not declared", func(s *scene) { s.Topology.Links[0].Upstream = ids("n9") }, "declared-nodes refuse n9!node n9 is not declared"},
		{"a device that cannot stage", func(s *scene) { s.cannot["n2"] = "one key at a time" }, "device-cannot-stage refuse n2 dc2!one key at a time"},
		{"a window that is closed", func(s *scene) { s.policy(closedNow) }, "window-closed refuse!it opens at 2026-03-02T22:00:00Z; keyorch rotate --ignore-windows does not wait"},
		{"which an emergency does not mind", func(s *scene) { s.policy(closedNow); s.Kind = campaign.Emergency }, ""},
		{"and can be ignored", func(s *scene) { s.policy(closedNow); s.IgnoreWindows = true }, ""},
		{"and holds what is staged", func(s *scene) { s.policy(closedNow); s.staged(time.Hour) }, "window-closed hold, staged-key-left-over note"},
		{"and not what has switched", func(s *scene) {
			s.policy(closedNow)
			s.change(func(r *link.Record) { r.State.Phase = link.Draining })
		}, "rotation-left-over note!it is Draining"},
		{"a freeze", func(s *scene) {
			s.policy(func(p *topology.Policy) {
				p.Freezes = []topology.Freeze{{From: "2026-03-01", To: "2026-03-04", Reason: "quarter end"}}
			})
		}, "frozen refuse!quarter end"},
		{"another campaign", func(s *scene) { s.staged(time.Minute); s.running = []string{"c0"} },
			"in-another-campaign refuse, staged-key-left-over note!keyorch abort c0"},
		{"which an emergency takes over", func(s *scene) { s.staged(time.Minute); s.running = []string{"c0"}; s.Kind = campaign.Emergency },
			"in-another-campaign note, staged-key-left-over note!is discarded: an emergency"},
		{"another campaign that runs, and is done with it", func(s *scene) { s.running = []string{"c0"} }, ""},
		{"this campaign", func(s *scene) { s.staged(time.Minute); s.running = []string{"c0"}; s.Campaign = "c0" }, "staged-key-left-over note!is kept"},
		{"a site in maintenance", maintenance, "site-in-maintenance skip  dc1!until 2026-03-02T13:00:00Z: new power"},
		{"that has ended", func(s *scene) { maintenance(s); s.Now = at(time.Hour) }, ""},
		{"or that an emergency does not mind", func(s *scene) { maintenance(s); s.Kind = campaign.Emergency }, ""},
		{"or comes too late", func(s *scene) { maintenance(s); s.staged(time.Hour) }, "staged-key-left-over note!is kept"},
		{"no agent", func(s *scene) { s.absent = ids("n2") }, "agent-absent hold n2 dc2!start the agent of site dc2"},
		{"no agent, and enough others", func(s *scene) {
			s.Topology.Links[0].Downstream = ids("n2", "n3", "spare")
			s.policy(func(p *topology.Policy) { p.Quorum = number(2) })
			s.absent = ids("n2")
		}, "agent-absent note n2 dc2!goes on without it after 5m0s"},
		{"too few others", func(s *scene) {
			s.Topology.Links[0].Downstream = ids("n2", "n3")
			s.policy(func(p *topology.Policy) { p.Quorum = number(2) })
			s.absent = ids("n2")
		}, "agent-absent hold n2 dc2"},
		{"no agent upstream, whatever the quorum", func(s *scene) {
			s.policy(func(p *topology.Policy) { p.Quorum = number(1) })
			s.absent = ids("n1")
		}, "agent-absent hold n1 dc1"},
		{"a node that was left behind", func(s *scene) {
			s.absent = ids("n2")
			s.change(func(r *link.Record) {
				r.Quarantined = []link.Quarantine{{Node: "n2", Epoch: 3, Since: noon(), Reason: "away"}}
			})
		}, "quarantined-node note n2 dc2!did not confirm epoch 3: away"},
		{"a node in trouble", func(s *scene) { s.reports = []keychain.Report{{Node: "n2", Fault: "refused", Message: "no licence"}} },
			"node-in-trouble hold n2 dc2!n2 is in trouble (refused): no licence"},
		{"another link's node in trouble", func(s *scene) { s.reports = []keychain.Report{{Node: "n3", Fault: "refused"}} }, ""},
		{"a clock that is ahead", func(s *scene) { s.reports = []keychain.Report{{Node: "n1", At: at(31 * time.Second)}} }, "clock-far-off note n1 dc1!31s ahead"},
		{"a clock that is about right", func(s *scene) { s.reports = []keychain.Report{{Node: "n1", At: at(30 * time.Second)}} }, ""},
		{"a clock that is far ahead", func(s *scene) { s.reports = []keychain.Report{{Node: "n1", At: at(6 * time.Minute)}} }, "clock-far-off hold n1 dc1!6m0s ahead"},
		{"a clock that is behind", func(s *scene) {
			s.reports = []keychain.Report{{Node: "n1", Turn: 9, At: at(-24*time.Hour - time.Minute)}}
		}, "clock-far-off note n1 dc1!1m0s behind"},
		{"an old report", func(s *scene) { s.reports = []keychain.Report{{Node: "n1", Turn: 8, At: at(-48 * time.Hour)}} }, ""},
		{"a key that is kept", func(s *scene) { s.policy(func(p *topology.Policy) {}); s.staged(24 * time.Hour) }, "staged-key-left-over note!epoch 4 has been staged for 24h0m0s and is kept"},
		{"a key that is too old", func(s *scene) { s.policy(func(p *topology.Policy) {}); s.staged(25 * time.Hour) }, "staged-key-left-over note!is discarded: that is longer than the tail of 24h0m0s"},
		{"a key that a retry replaces", func(s *scene) { s.staged(time.Minute); s.Kind = campaign.Retry }, "staged-key-left-over note!is discarded: a retry"},
		{"the last epoch", func(s *scene) { s.change(func(r *link.Record) { r.State.Highest = math.MaxUint64 }) }, "epoch-exhausted refuse"},
		{"the last serials", func(s *scene) { s.change(func(r *link.Record) { r.State.To.Serial = math.MaxUint32 - 256 - 99 }) },
			"wire-identifier-wraps note!begin anew in 100 rotations"},
		{"the very last serial", func(s *scene) { s.change(func(r *link.Record) { r.State.To.Serial = math.MaxUint32 - 256 }) },
			"wire-identifier-wraps note!begin anew in 1 rotations: the SPI is 4294967295"},
		{"not yet the last serials", func(s *scene) { s.change(func(r *link.Record) { r.State.To.Serial = math.MaxUint32 - 256 - 100 }) }, ""},
		{"an old key", func(s *scene) {
			s.policy(func(p *topology.Policy) { p.KeyAge = topology.KeyAge{Warn: 25*time.Hour - 1, Max: 25 * time.Hour} })
		},
			"key-age note!25h0m0s old, and its policy warns from"},
		{"a key that is too old for its policy", func(s *scene) {
			s.policy(func(p *topology.Policy) { p.KeyAge = topology.KeyAge{Max: 25*time.Hour - 1} })
		}, "key-age note!more than the"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := calm()
			c.set(s)
			p, err := campaign.MakePlan(s.Facts)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			said := ""
			for _, f := range p.Findings {
				if f.Link != "a" {
					continue
				}
				got = append(got, strings.TrimRight(fmt.Sprintf("%s %s %s %s", f.Check, f.Severity, f.Node, f.Site), " "))
				said += f.Reason + "; " + f.Remedy + "\n"
				found[f.Check] = true
			}
			want, part, _ := strings.Cut(c.want, "!")
			if g := strings.Join(got, ", "); g != want || !strings.Contains(said, part) {
				t.Errorf("finds %q (%s), want %q with %q", g, said, want, part)
			}
		})
	}
	for _, name := range campaign.Checks() {
		if !found[name] {
			t.Errorf("no case is about %s", name)
		}
	}
}

func TestPlanOfWaves(t *testing.T) {
	s := calm()
	s.Facts.Topology = fleet(100, 10)
	for i, id := range names(s.Topology) {
		s.records[id] = link.Record{Completed: link.Attempt{Begun: noon(), Ended: at(time.Duration(i+1) * time.Second)}}
	}
	delete(s.records, "l00000")
	s.Topology.Policies = []topology.Policy{{Name: "p", Waves: []topology.Wave{
		{Name: "one", Size: number(1), Soak: time.Minute}, {Name: "half", Size: percent(50), Soak: time.Hour}, {Name: "rest", Soak: time.Hour}}}}
	s.Facts.Policy = "p"
	s.Facts.Selection = campaign.Selection{Node: "hub-r1"}
	p, err := campaign.MakePlan(s.Facts)
	if err != nil || len(p.Waves) != 3 || p.Links != 100 || p.Selection != "--node hub-r1" || p.Policy != "p" {
		t.Fatalf("%+v %v", p, err)
	}
	one, half, rest := p.Waves[0], p.Waves[1], p.Waves[2]
	if len(half.Links) != 49 || !slices.IsSorted(half.Links) || len(half.Sites) != 11 || len(one.Sites) != 2 {
		t.Errorf("%d links at %v", len(half.Links), half.Sites)
	}
	// The first link has no past and counts as all do: 91 s is the ninth decile.
	if one.Expected != 0 || half.Expected == 0 || rest.Expected < half.Expected ||
		p.Expected != 91*time.Second+time.Minute+half.Expected+time.Hour+rest.Expected {
		t.Errorf("expects %v + %v + %v = %v", one.Expected, half.Expected, rest.Expected, p.Expected)
	}
	clear(s.records)
	if p, _ = campaign.MakePlan(s.Facts); p.Expected != 0 {
		t.Errorf("expects %v of nothing", p.Expected)
	}
	s.Kind = campaign.Emergency
	if p, _ = campaign.MakePlan(s.Facts); len(p.Waves) != 1 {
		t.Errorf("an emergency has %d waves", len(p.Waves))
	}
}

func TestTheGravestFindingDecides(t *testing.T) {
	s := calm()
	s.absent = ids("n2", "n3") // holds a, b and c
	maintenance(s)             // skips a and c
	s.cannot["n1"], s.cannot["n2"] = "x", "y"
	s.Selection = campaign.Selection{All: true}
	p, err := campaign.MakePlan(s.Facts)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(p.Refused()); got != 3 || len(p.Gravest()) != 3 {
		t.Errorf("%d are refused: %+v", got, p.Refused())
	}
	clear(s.cannot)
	p, _ = campaign.MakePlan(s.Facts)
	if got := p.Tally(); got != (campaign.Tally{Links: 3, Skipped: 2, Held: 1}) || len(p.Refused()) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestPlanOfBadInput(t *testing.T) {
	for want, f := range map[string]func(*scene){
		`no policy "x" is declared`: func(s *scene) { s.Policy = "x" },
		"no links are selected":     func(s *scene) { s.Selection = campaign.Selection{} },
	} {
		s := calm()
		f(s)
		if _, err := campaign.MakePlan(s.Facts); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
