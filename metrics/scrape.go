package metrics

import (
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// freshFor is how long figures are given out again: several scrapers cost as much
// as one.
const freshFor = time.Second

// figures are the fleet at one moment.
type figures struct {
	at                             time.Time
	phases                         []int // by phase
	declared, keyless              int
	quarantined, overWarn, overMax int
	held, ages                     spread
	campaigns                      map[string]int
	drift                          map[link.DriftKind]int
	nodes                          int
	present                        int
}

// figures are those of now, or of less than a second ago.
func (f *fleet) figures() figures {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if f.shown != nil && now.Sub(f.shown.at) < freshFor {
		return *f.shown
	}
	f.update()
	g := figures{at: now, phases: make([]int, len(link.Phases())), campaigns: make(map[string]int), drift: make(map[link.DriftKind]int)}
	for _, l := range f.links {
		g.add(l, now)
	}
	slices.Sort(g.held)
	slices.Sort(g.ages)
	for _, c := range f.view.Campaigns() {
		g.campaigns[string(c.State)]++
	}
	nodes := f.view.Topology().Nodes
	ids := make([]keychain.NodeID, len(nodes))
	for i, n := range nodes {
		ids[i] = n.Name
	}
	g.nodes, g.present = len(ids), len(f.view.Present(ids))
	f.shown = &g
	return g
}

// add takes in one link.
func (g *figures) add(l fact, now time.Time) {
	if l.declared {
		g.declared++
		if !l.keyed {
			g.keyless++
		}
	}
	if !l.recorded {
		return
	}
	if int(l.phase) < len(g.phases) {
		g.phases[l.phase]++
	}
	if l.quarantined {
		g.quarantined++
	}
	for k, n := range l.drift {
		g.drift[k] += n
	}
	if d, held := l.heldFor(now); held {
		g.held = append(g.held, d)
	}
	if l.made.IsZero() {
		return
	}
	age := max(now.Sub(l.made), 0)
	g.ages = append(g.ages, age)
	if l.age.Warn > 0 && age > l.age.Warn {
		g.overWarn++
	}
	if l.age.Max > 0 && age > l.age.Max {
		g.overMax++
	}
}

// scrape gives out the figures. While no view is watched there are none, which is
// not the same as a fleet without links.
type scrape struct {
	of    *atomic.Pointer[fleet]
	descs map[string]*prometheus.Desc
}

func newScrape(s *set, of *atomic.Pointer[fleet]) scrape {
	c := scrape{of: of, descs: make(map[string]*prometheus.Desc)}
	for _, d := range fleetDeclarations() {
		c.descs[d.Name] = s.find(d.Name, Gauge).desc()
	}
	return c
}

// Describe implements prometheus.Collector.
func (c scrape) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c scrape) Collect(to chan<- prometheus.Metric) {
	f := c.of.Load()
	if f == nil {
		return
	}
	g := f.figures()
	give := func(name string, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(c.descs[name], prometheus.GaugeValue, v, labels...)
	}
	for _, p := range link.Phases() {
		give(nameLinks, float64(g.phases[p]), p.String())
	}
	give(nameDeclared, float64(g.declared))
	give(nameKeyless, float64(g.keyless))
	give(nameQuarantined, float64(g.quarantined))
	give(nameHeld, float64(len(g.held)))
	for i, than := range names(heldSteps()) {
		give(nameHeldLonger, float64(g.held.over(heldSteps()[i])), than)
	}
	for i, than := range names(ageSteps()) {
		give(nameKeyOlder, float64(g.ages.over(ageSteps()[i])), than)
	}
	for _, s := range []struct {
		stat string
		q    float64
	}{{statP50, 0.5}, {statP99, 0.99}, {statMax, 1}} {
		give(nameHeldSeconds, g.held.quantile(s.q), s.stat)
		give(nameKeyAge, g.ages.quantile(s.q), s.stat)
	}
	give(nameOverdue, float64(g.overWarn), levelWarn)
	give(nameOverdue, float64(g.overMax), levelMax)
	for _, s := range campaignStates() {
		give(nameCampaigns, float64(g.campaigns[s]), s)
	}
	for _, k := range link.DriftKinds() {
		give(nameDrift, float64(g.drift[k]), string(k))
	}
	give(nameNodes, float64(g.present), strconv.FormatBool(true))
	give(nameNodes, float64(g.nodes-g.present), strconv.FormatBool(false))
}
