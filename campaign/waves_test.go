package campaign_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

func number(n int) topology.Amount      { return topology.Amount{Number: n} }
func percent(p float64) topology.Amount { return topology.Amount{Percent: p} }

func TestWaves(t *testing.T) {
	canary := topology.Wave{Name: "canary", Selector: "tier=canary", Soak: time.Minute}
	rest := topology.Wave{Name: "rest", Size: percent(100)}
	for _, c := range []struct {
		name  string
		links int
		waves []topology.Wave
		want  string
	}{
		{"no links, no waves", 0, nil, ""},
		{"few links at once", 10, nil, "all 10"},
		{"one, a tenth, the rest", 11, nil, "canary 1, tenth 1, rest 9"},
		{"a tenth counts the canary", 200, nil, "canary 1, tenth 19, rest 180"},
		{"sizes are cumulative", 100, []topology.Wave{{Name: "a", Size: number(5)}, {Name: "b", Size: percent(20)}, rest}, "a 5, b 15, rest 80"},
		{"a share of few is one", 3, []topology.Wave{{Name: "a", Size: percent(1)}, rest}, "a 1, rest 2"},
		{"empty waves are left out", 5, []topology.Wave{{Name: "a", Size: number(5)}, {Name: "b", Size: percent(50)}, rest}, "a 5"},
		{"a selector takes what matches", 50, []topology.Wave{canary, {Name: "half", Size: percent(50)}, rest}, "canary 5, half 20, rest 25"},
		{"or a number of it", 50, []topology.Wave{{Name: "few", Selector: "tier=canary", Size: number(2)}, rest}, "few 2, rest 48"},
		{"or a share of it", 50, []topology.Wave{{Name: "few", Selector: "tier=canary", Size: percent(40)}, rest}, "few 2, rest 48"},
		{"that is not taken yet", 50, []topology.Wave{canary, {Name: "again", Selector: "tier=canary"}, rest}, "canary 5, rest 45"},
		{"a selector without links is left out", 50, []topology.Wave{{Name: "x", Selector: "tier=x"}, rest}, "rest 50"},
		{"the last takes the rest, whatever it says", 50, []topology.Wave{{Name: "a", Size: number(1)}, {Name: "b", Size: number(2)}}, "a 1, b 49"},
		{"also when it selects", 50, []topology.Wave{{Name: "a", Size: number(1)}, canary}, "a 1, canary 49"},
		{"waves without a name are numbered", 4, []topology.Wave{{Size: number(1)}, {Size: percent(100)}}, "wave 1 1, wave 2 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			top := fleet(c.links, 10)
			var got []string
			for _, w := range campaign.Waves(topology.Policy{Waves: c.waves}, top, names(top)) {
				got = append(got, fmt.Sprintf("%s %d", w.Name, len(w.Links)))
				if w.Name == "canary" && c.waves != nil && w.Soak != time.Minute {
					t.Errorf("the canary soaks for %v", w.Soak)
				}
			}
			if s := strings.Join(got, ", "); s != c.want {
				t.Errorf("waves %s, want %s", s, c.want)
			}
		})
	}
}

func TestEveryLinkIsInOneWave(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		top := fleet(1+r.IntN(120), 1+r.IntN(20))
		var p topology.Policy
		for range r.IntN(5) {
			w := topology.Wave{Size: []topology.Amount{{}, number(r.IntN(40)), percent(float64(1 + r.IntN(100)))}[r.IntN(3)]}
			w.Selector = []string{"", "tier=canary", "!tier", "((", "x=y"}[r.IntN(5)]
			p.Waves = append(p.Waves, w)
		}
		asked := append(names(top), names(top)[0], "not-declared")
		r.Shuffle(len(asked), func(i, j int) { asked[i], asked[j] = asked[j], asked[i] })
		waves := campaign.Waves(p, top, asked)
		var all []keychain.LinkID
		for _, w := range waves {
			if len(w.Links) == 0 {
				t.Fatalf("%+v: an empty wave", p)
			}
			all = append(all, w.Links...)
		}
		slices.Sort(all)
		want := append(names(top), "not-declared")
		slices.Sort(want)
		if !slices.Equal(all, want) {
			t.Fatalf("%+v: waves hold %v, want %v", p, all, want)
		}
		r.Shuffle(len(asked), func(i, j int) { asked[i], asked[j] = asked[j], asked[i] })
		if again := campaign.Waves(p, top, asked); !reflect.DeepEqual(again, waves) {
			t.Fatalf("%+v: another order of the links gives other waves", p)
		}
	}
}

func TestWavesAreSpreadOverSites(t *testing.T) {
	top := fleet(100, 10) // ten links to each site, named one site after the other
	p := topology.Policy{Waves: []topology.Wave{{Name: "a", Size: number(5)}, {Name: "b", Size: number(30)}, {Name: "rest"}}}
	waves := campaign.Waves(p, top, names(top))
	for i, want := range []int{5, 10, 10} {
		var nodes []keychain.NodeID
		for _, id := range waves[i].Links {
			l, _ := top.Link(id)
			nodes = append(nodes, l.Downstream...)
		}
		if got := len(top.SitesOf(nodes)); got != want {
			t.Errorf("wave %s reaches %d sites, want %d", waves[i].Name, got, want)
		}
	}
}

func TestAWaveThatSelectsIsSpreadOverSites(t *testing.T) {
	top := fleet(20, 2) // the canaries of the first site come first, that of the second last
	for i := range top.Links {
		top.Links[i].Labels = nil
	}
	for _, i := range []int{0, 1, 2, 19} {
		top.Links[i].Labels = topology.Labels{"tier": "canary"}
	}
	p := topology.Policy{Waves: []topology.Wave{{Selector: "tier=canary", Size: number(2)}, {}}}
	if got := campaign.Waves(p, top, names(top))[0].Links; !slices.Equal(got, []keychain.LinkID{"l00000", "l00019"}) {
		t.Errorf("the wave is %v", got)
	}
}

func TestBatches(t *testing.T) {
	top := fleet(230, 10)
	waves := campaign.Waves(topology.Policy{}, top, names(top))
	for _, c := range []struct {
		size int
		want string // first+count of each wave, and links of each batch
	}{
		{100, "0+1 1+1 2+3: 1 22 69 69 69"},
		{1000, "0+1 1+1 2+1: 1 22 207"},
		{207, "0+1 1+1 2+1: 1 22 207"},
		{206, "0+1 1+1 2+2: 1 22 104 103"},
	} {
		statuses, batches := campaign.Batches(waves, c.size)
		var got []string
		for _, s := range statuses {
			got = append(got, fmt.Sprintf("%d+%d", s.First, s.Count))
		}
		said := strings.Join(got, " ") + ":"
		seen := map[keychain.LinkID]bool{}
		for i, b := range batches {
			said += fmt.Sprintf(" %d", len(b.Links))
			if b.Number != i || !slices.IsSorted(b.Links) {
				t.Errorf("batch %d has number %d, links %v", i, b.Number, b.Links)
			}
			if s := statuses[b.Wave]; i < s.First || i >= s.First+s.Count {
				t.Errorf("batch %d is not one of wave %d", i, b.Wave)
			}
			for _, l := range b.Links {
				if seen[l] || !slices.Contains(waves[b.Wave].Links, l) {
					t.Errorf("batch %d has %s twice, or not from its wave", i, l)
				}
				seen[l] = true
			}
		}
		if said != c.want || len(seen) != 230 {
			t.Errorf("size %d: %s and %d links, want %s", c.size, said, len(seen), c.want)
		}
	}
	if _, batches := campaign.Batches(waves[:2], 0); len(batches) != 23 {
		t.Errorf("size 0 gives %d batches, want one a link", len(batches))
	}
}

func TestUrgentPolicy(t *testing.T) {
	p := topology.DefaultPolicy()
	p.Waves, p.Windows = []topology.Wave{{Size: number(1)}, {}}, []topology.Window{{From: "01:00", To: "02:00"}}
	top := fleet(50, 5)
	u := campaign.Emergency.Policy(p)
	if w := campaign.Waves(u, top, names(top)); len(w) != 1 || len(u.Windows) != 0 || u.Wait > campaign.UrgentWait {
		t.Errorf("%d waves by %+v", len(w), u)
	}
	all := campaign.Tally{Links: 50, Held: 50}
	if reason, spent := campaign.Spent(u.Budget, all, all); spent {
		t.Error(reason)
	}
	if got := campaign.Rotation.Policy(p); !reflect.DeepEqual(got, p) {
		t.Errorf("a rotation follows %+v", got)
	}
}
