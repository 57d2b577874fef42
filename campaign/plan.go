package campaign

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// Facts is what a plan and the explanations look at, gathered by somebody else.
// The functions are asked about declared links and nodes; one that is nil knows
// nothing, and the checks that ask it find nothing.
type Facts struct {
	Topology topology.Topology // as declared, with what is excluded
	Standing topology.Standing
	// Campaign is the name of the campaign that is planned, if it has one yet.
	Campaign  string
	Policy    string // its policy; empty: the default
	Selection Selection
	Kind      Kind
	// IgnoreWindows says that windows and freezes do not count.
	IgnoreWindows bool
	Now           time.Time

	Record  func(keychain.LinkID) (link.Record, bool)
	Reports func(keychain.LinkID) []keychain.Report
	// Present is which of the nodes an agent serves now.
	Present func([]keychain.NodeID) []keychain.NodeID
	// CannotStage is why a node's device cannot take part, or empty.
	CannotStage func(keychain.NodeID) string
	// Running reports whether a campaign has not ended.
	Running func(campaign string) bool
}

// Severity is what a finding means for its link.
type Severity string

// The severities, the gravest first.
const (
	Refuse Severity = "refuse" // it is not begun
	Skip   Severity = "skip"   // it is not begun now, and caught up later
	Hold   Severity = "hold"   // it is begun, and will be held before it switches
	Note   Severity = "note"   // it is worth knowing
)

func (s Severity) rank() int { return slices.Index([]Severity{Refuse, Skip, Hold, Note}, s) }

// Finding is one thing that stands in the way of a link, or is worth knowing.
type Finding struct {
	Link     keychain.LinkID `json:"link"`
	Check    string          `json:"check"` // the name of the check, as Checks lists them
	Severity Severity        `json:"severity"`
	Reason   string          `json:"reason"`
	Remedy   string          `json:"remedy,omitempty"`
	// Node and Site are whom it is about, if one.
	Node keychain.NodeID `json:"node,omitempty"`
	Site keychain.SiteID `json:"site,omitempty"`
}

// Plan is what a campaign would do.
type Plan struct {
	Kind      Kind          `json:"kind"`
	Policy    string        `json:"policy,omitempty"`
	Selection string        `json:"selection"` // in the words of the command line
	Links     int           `json:"links"`
	Waves     []PlannedWave `json:"waves"`
	// Expected is how long it takes with its soaks, as far as past rotations tell;
	// zero when they do not. A wave without a past counts as all links do.
	Expected time.Duration `json:"expected,omitempty"`
	// Findings are sorted: the gravest first, then by link and check.
	Findings []Finding `json:"findings"`
}

// PlannedWave is one wave of a plan.
type PlannedWave struct {
	Name  string            `json:"name"`
	Links []keychain.LinkID `json:"links"` // sorted
	Sites []keychain.SiteID `json:"sites"` // of all nodes of its links, sorted
	Soak  time.Duration     `json:"soak,omitempty"`
	// Expected is how long nine of ten of its links took last time at most; zero
	// when none of them has been rotated.
	Expected time.Duration `json:"expected,omitempty"`
}

// MakePlan says what a campaign would do, wave by wave, and what would stand in
// its way. Nothing is touched. Links and waves are those of the topology without
// what is excluded. The error is of kind Invalid: the selection does not resolve,
// or the policy is not declared.
func MakePlan(f Facts) (Plan, error) {
	f = f.complete()
	if f.Policy != "" && !slices.ContainsFunc(f.Topology.Policies, func(p topology.Policy) bool { return p.Name == f.Policy }) {
		return Plan{}, fault.New(fault.Invalid, "policy: no policy %q is declared: see keyorch get policies", f.Policy)
	}
	ids, err := f.Selection.Resolve(f.Topology)
	if err != nil {
		return Plan{}, err
	}
	policy := f.Kind.Policy(f.Topology.PolicyOf(topology.Link{Policy: f.Policy}))
	left := f.Topology.Without(f.Standing)
	p := Plan{Kind: f.Kind, Policy: f.Policy, Selection: f.Selection.String(), Links: len(ids), Findings: []Finding{}}
	past := f.past(ids)
	for _, w := range Waves(policy, left, ids) {
		slices.Sort(w.Links)
		took := f.past(w.Links)
		p.Waves = append(p.Waves, PlannedWave{Name: w.Name, Links: w.Links, Sites: sitesOf(left, w.Links), Soak: w.Soak, Expected: took})
		p.Expected += cmp.Or(took, past)
	}
	for i, w := range p.Waves {
		if i < len(p.Waves)-1 && past > 0 {
			p.Expected += w.Soak
		}
	}
	closed := map[string]closure{}
	for _, id := range ids {
		p.Findings = append(p.Findings, f.findings(id, left, closed)...)
	}
	slices.SortStableFunc(p.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Severity.rank(), b.Severity.rank()), cmp.Compare(a.Link, b.Link))
	})
	return p, nil
}

// Expected is how long waves take with their soaks, as far as past rotations of
// their links tell; zero when they do not.
func Expected(waves []Wave, record func(keychain.LinkID) (link.Record, bool)) time.Duration {
	f := Facts{Record: record}
	var all []keychain.LinkID
	for _, w := range waves {
		all = append(all, w.Links...)
	}
	past := f.past(all)
	if past == 0 {
		return 0
	}
	var total time.Duration
	for i, w := range waves {
		total += cmp.Or(f.past(w.Links), past)
		if i < len(waves)-1 {
			total += w.Soak
		}
	}
	return total
}

// complete puts functions that know nothing in the place of those that are
// missing.
func (f Facts) complete() Facts {
	if f.Record == nil {
		f.Record = func(keychain.LinkID) (link.Record, bool) { return link.Record{}, false }
	}
	if f.Reports == nil {
		f.Reports = func(keychain.LinkID) []keychain.Report { return nil }
	}
	if f.Present == nil {
		f.Present = func(nodes []keychain.NodeID) []keychain.NodeID { return nodes }
	}
	if f.CannotStage == nil {
		f.CannotStage = func(keychain.NodeID) string { return "" }
	}
	if f.Running == nil {
		f.Running = func(string) bool { return false }
	}
	return f
}

// All is every link of the plan, sorted.
func (p Plan) All() []keychain.LinkID {
	var ids []keychain.LinkID
	for _, w := range p.Waves {
		ids = append(ids, w.Links...)
	}
	slices.Sort(ids)
	return ids
}

// Gravest is the gravest finding of each link that has one, which decides what
// becomes of the link; in the order of Findings.
func (p Plan) Gravest() []Finding {
	seen := map[keychain.LinkID]bool{}
	var out []Finding
	for _, f := range p.Findings {
		if !seen[f.Link] {
			out = append(out, f)
		}
		seen[f.Link] = true
	}
	return out
}

// Refused is one finding for each link that would be refused.
func (p Plan) Refused() []Finding {
	return slices.DeleteFunc(p.Gravest(), func(f Finding) bool { return f.Severity != Refuse })
}

// Tally is how many links would be refused, skipped and held; the others are
// counted in Links alone.
func (p Plan) Tally() Tally {
	t := Tally{Links: p.Links}
	for _, f := range p.Gravest() {
		switch f.Severity {
		case Refuse:
			t.Refused++
		case Skip:
			t.Skipped++
		case Hold:
			t.Held++
		case Note:
		}
	}
	return t
}

// sitesOf is the sites of all nodes of links.
func sitesOf(t topology.Topology, ids []keychain.LinkID) []keychain.SiteID {
	nodes := map[keychain.NodeID]bool{}
	for _, id := range ids {
		l, _ := t.Link(id)
		for _, n := range slices.Concat(l.Upstream, l.Downstream) {
			nodes[n] = true
		}
	}
	return t.SitesOf(slices.Collect(maps.Keys(nodes)))
}

// past is how long nine of ten of the links took at most when they were last
// rotated; zero when none of them was.
func (f Facts) past(ids []keychain.LinkID) time.Duration {
	var took []time.Duration
	for _, id := range ids {
		r, _ := f.Record(id)
		if d := r.Completed.Ended.Sub(r.Completed.Begun); !r.Completed.Begun.IsZero() && d > 0 {
			took = append(took, d)
		}
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[(len(took)*9+9)/10-1]
}
