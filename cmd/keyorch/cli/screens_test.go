package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/cmd/keyorch/tui"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// fakeFacts is a world of links between two nodes each.
type fakeFacts struct {
	topology  topology.Topology
	standing  topology.Standing
	records   []link.Record
	campaigns []campaign.Record
	denials   map[string][]campaign.Denial
	absent    keychain.NodeID
	broken    []error
	away      error
}

func (f *fakeFacts) CatchUp(context.Context) error             { return f.away }
func (f *fakeFacts) Topology() topology.Topology               { return f.topology }
func (f *fakeFacts) Standing() topology.Standing               { return f.standing }
func (f *fakeFacts) Records() []link.Record                    { return f.records }
func (f *fakeFacts) Reports(keychain.LinkID) []keychain.Report { return nil }
func (f *fakeFacts) Campaigns() []campaign.Record              { return f.campaigns }
func (f *fakeFacts) Denials(name string) []campaign.Denial     { return f.denials[name] }
func (f *fakeFacts) Broken() []error                           { return f.broken }
func (f *fakeFacts) Present(n []keychain.NodeID) []keychain.NodeID {
	return slices.DeleteFunc(slices.Clone(n), func(n keychain.NodeID) bool { return n == f.absent })
}

func (f *fakeFacts) Record(id keychain.LinkID) (link.Record, bool) {
	i, ok := slices.BinarySearchFunc(f.records, id, byLink)
	if !ok {
		return link.Record{}, false
	}
	return f.records[i], true
}

var morning = time.Date(2026, 4, 12, 6, 0, 0, 0, time.UTC)

func linkName(i int) keychain.LinkID { return keychain.LinkID(fmt.Sprintf("l%05d", i)) }

// fleetOf is n links that nightly has rotated.
func fleetOf(n int) *fakeFacts {
	f := &fakeFacts{denials: map[string][]campaign.Denial{}}
	f.topology.Nodes = []topology.Node{{Name: "a1"}, {Name: "b1"}}
	for i := range n {
		id := linkName(i)
		f.topology.Links = append(f.topology.Links, topology.Link{Name: id, Upstream: []keychain.NodeID{"a1"}, Downstream: []keychain.NodeID{"b1"}})
		r := link.Record{Link: id, State: link.New([]keychain.NodeID{"a1"}, []keychain.NodeID{"b1"})}
		r.State.To = link.Key{Ref: keychain.Ref{Epoch: 2}}
		r.State.Since = morning.Add(-time.Minute)
		r.Last = link.Attempt{Campaign: "nightly", Outcome: link.Rotated, Begun: morning.Add(-2 * time.Minute), Ended: morning.Add(-time.Minute)}
		r.Completed = r.Last
		f.records = append(f.records, r)
	}
	f.campaigns = []campaign.Record{{
		Name: "nightly", Kind: campaign.Rotation, State: campaign.Running, Wait: 10 * time.Minute, Wave: 0,
		Begun: morning.Add(-15 * time.Minute),
		Waves: []campaign.WaveStatus{{Name: "all", First: 0, Count: 1, Begun: morning.Add(-15 * time.Minute), Tally: campaign.Tally{Links: n}}},
	}}
	return f
}

// stuck puts link i in a phase for some time.
func (f *fakeFacts) stuck(i int, phase link.Phase, since time.Duration) {
	r := &f.records[i]
	r.State.Phase, r.State.Since, r.State.From = phase, morning.Add(-since), link.Key{Ref: keychain.Ref{Epoch: 1}}
	r.State.Awaiting = []keychain.NodeID{"b1"}
	r.Last.Begun, r.Last.Ended, r.Last.Outcome = morning.Add(-since), time.Time{}, ""
	r.Completed = link.Attempt{}
}

func (f *fakeFacts) screens(t *testing.T) (*screens, *int) {
	t.Helper()
	told := 0
	s := newScreens(f, func(context.Context, string, int, int) ([]campaign.Batch, error) {
		var ids []keychain.LinkID
		for _, l := range f.topology.Links {
			ids = append(ids, l.Name)
		}
		return []campaign.Batch{{Links: ids}}, nil
	})
	s.now = func() time.Time { return morning }
	s.explain = func(id keychain.LinkID) link.Explanation {
		told++
		r, _ := f.Record(id)
		return link.Explanation{Link: id, Phase: r.State.Phase, Reason: "waiting for b1", Awaiting: []link.Wait{{Node: "a1"}, {Node: "b1", Fault: "unavailable"}}}
	}
	s.tell = func(id keychain.LinkID) string { return "told of " + string(id) }
	return s, &told
}

func screenOf(t *testing.T, s *screens) tui.Screen {
	t.Helper()
	x, err := s.Screen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestTheScreenOfACampaignCountsEveryLink(t *testing.T) {
	f := fleetOf(1000)
	f.stuck(3, link.Staging, 12*time.Minute)                       // held
	f.stuck(4, link.Switching, time.Minute)                        // late
	f.stuck(5, link.Staging, time.Second)                          // under way
	f.stuck(6, link.Draining, topology.DefaultDrain+5*time.Second) // drains, as it must
	f.records[7].Last.Outcome, f.records[7].Last.Reason, f.records[7].Completed = link.Aborted, "by the operator", link.Attempt{}
	f.records[8].Last, f.records[8].Completed = link.Attempt{}, link.Attempt{}
	f.denials["nightly"] = []campaign.Denial{{Link: linkName(8), Reason: "its device cannot stage", At: morning}}
	f.absent = "b1"
	s, told := f.screens(t)
	x := screenOf(t, s)
	if x.Campaign == nil || x.Campaign.Name != "nightly" || len(x.Waves) != 1 {
		t.Fatalf("it shows %+v", x.Campaign)
	}
	if want := (tui.Tally{Total: 1000, Rotated: 994, InFlight: 3, Held: 1, Failed: 2}); x.Waves[0].Tally != want {
		t.Errorf("it counts %+v, not %+v", x.Waves[0].Tally, want)
	}
	var rows []string
	for _, h := range x.Held {
		rows = append(rows, fmt.Sprintf("%s %s %s %s", h.Link, h.Phase, h.Node, h.Reason))
	}
	want := []string{
		"l00003 Staging b1 waiting for b1", "l00004 Switching b1 waiting for b1",
		"l00007 aborted  by the operator", "l00008 refused  its device cannot stage",
	}
	if !slices.Equal(rows, want) || x.HeldTotal != 4 || *told != 2 {
		t.Errorf("it lists %q of %d, and explained %d", rows, x.HeldTotal, *told)
	}
	if !slices.Equal(x.Absent, []string{"b1"}) || x.Fleet.Held != 1 || x.Fleet.Links != 1000 {
		t.Errorf("absent %q, fleet %+v", x.Absent, x.Fleet)
	}
}

func TestOnlySomeLinksAreExplained(t *testing.T) {
	f := fleetOf(10000)
	for i := range 5000 {
		f.stuck(i, link.Staging, time.Minute+time.Duration(i)*time.Millisecond)
	}
	s, told := f.screens(t)
	x := screenOf(t, s)
	if *told != explained || len(x.Held) != explained || x.HeldTotal != 5000 || x.Phases[1].Count != 5000 {
		t.Errorf("explained %d, listed %d of %d, phases %v", *told, len(x.Held), x.HeldTotal, x.Phases)
	}
	if x.Held[0].Link != string(linkName(4999)) {
		t.Errorf("the oldest is not first: %s", x.Held[0].Link)
	}
}

func TestWhichCampaignIsWatched(t *testing.T) {
	f := fleetOf(10)
	older := f.campaigns[0]
	older.Name, older.State, older.Ended, older.Begun = "older", campaign.Ended, morning.Add(-time.Hour), morning.Add(-2*time.Hour)
	older.Tally = campaign.Tally{Links: 10, Rotated: 9, Held: 1}
	other := f.campaigns[0]
	other.Name, other.Begun = "other", morning.Add(-20*time.Minute)
	f.campaigns = append(f.campaigns, other, older)
	s, _ := f.screens(t)
	x := screenOf(t, s)
	if x.Campaign.Name != "nightly" || !strings.Contains(strings.Join(x.Messages, "\n"), "campaign other is running, too") {
		t.Errorf("it watches %s and says %q", x.Campaign.Name, x.Messages)
	}
	s.campaign = "older"
	if x = screenOf(t, s); x.Campaign.Name != "older" || x.Campaign.State != "ended" {
		t.Errorf("asked for older it watches %+v", x.Campaign)
	}
	s.campaign = ""
	f.campaigns = f.campaigns[2:]
	x = screenOf(t, s)
	if x.Campaign != nil || x.Fleet.LastCampaign != "older" || !strings.Contains(x.Fleet.LastEnd, "9 of 10 links rotated, 1 held") {
		t.Errorf("with none running it shows %+v and %+v", x.Campaign, x.Fleet)
	}
}

func TestTheStateOfWaves(t *testing.T) {
	ended := morning.Add(-time.Minute)
	c := campaign.Record{State: campaign.Running, Wave: 1, Waves: []campaign.WaveStatus{
		{Begun: ended, Ended: ended, Soak: time.Hour},
		{Begun: ended, Ended: ended, Soak: 5 * time.Minute},
		{},
	}}
	for i, want := range []tui.WaveState{tui.Ended, tui.Soaking, tui.Waiting} {
		if got, _ := waveState(c, i, morning); got != want {
			t.Errorf("wave %d is %s, not %s", i, got, want)
		}
	}
	if _, until := waveState(c, 1, morning); !until.Equal(morning.Add(4 * time.Minute)) {
		t.Errorf("it soaks until %v", until)
	}
	for name, change := range map[string]func(*campaign.Record){
		"promoted":       func(c *campaign.Record) { c.Waves[1].Promoted = true },
		"soaked":         func(c *campaign.Record) { c.Waves[1].Soak = time.Second },
		"of what ended":  func(c *campaign.Record) { c.State = campaign.Ended },
		"the last there": func(c *campaign.Record) { c.Waves = c.Waves[:2] },
	} {
		changed := c
		changed.Waves = slices.Clone(c.Waves)
		change(&changed)
		if got, _ := waveState(changed, 1, morning); got != tui.Ended {
			t.Errorf("a wave that is %s %s", name, got)
		}
	}
	c.Waves[1].Ended = time.Time{}
	if got, _ := waveState(c, 1, morning); got != tui.Running {
		t.Errorf("a wave that has not ended is %s", got)
	}
}

func TestWhatElseAnOperatorIsTold(t *testing.T) {
	f := fleetOf(3)
	f.records = f.records[:2] // the third was never rotated
	f.standing = topology.Standing{
		Maintenance: []topology.Maintenance{{Site: "dc1", Until: morning.Add(time.Hour), Reason: "fibre"}, {Site: "dc2", Until: morning.Add(-time.Hour)}},
		Exclusions:  []topology.Exclusion{{Node: "b1", Reason: "stolen"}, {Site: "dc3", Reason: "sold"}},
	}
	f.broken = []error{errors.New("/keyorch/v1/links/x: not readable")}
	s, _ := f.screens(t)
	x := screenOf(t, s)
	want := []string{
		"site dc1 in maintenance until Sun 07:00: fibre", "node b1 is excluded: stolen", "site dc3 is excluded: sold",
		"/keyorch/v1/links/x: not readable",
	}
	if !slices.Equal(x.Messages, want) {
		t.Errorf("it says %q", x.Messages)
	}
	if last := x.Phases[len(x.Phases)-1]; last != (tui.Phase{Name: "no key", Count: 1}) || x.Phases[0].Count != 2 || x.Fleet.Links != 3 {
		t.Errorf("phases %v of %d", x.Phases, x.Fleet.Links)
	}
	f.away = errors.New("etcd is away")
	if _, err := s.Screen(t.Context()); !errors.Is(err, f.away) {
		t.Errorf("etcd is away, and it says %v", err)
	}
	if why, _ := s.Why(t.Context(), "l00001"); why != "told of l00001" {
		t.Errorf("why says %q", why)
	}
}

func BenchmarkScreenOfTenThousandLinks(b *testing.B) {
	f := fleetOf(10000)
	for i := range 500 {
		f.stuck(i, link.Staging, time.Minute)
	}
	s := newScreens(f, func(context.Context, string, int, int) ([]campaign.Batch, error) { return nil, nil })
	s.now, s.explain = time.Now, func(keychain.LinkID) link.Explanation { return link.Explanation{} }
	for b.Loop() {
		if _, err := s.Screen(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
