package campaign

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// Place is the operator's answer to "why" about a node or a site: what its links
// wait for from it.
type Place struct {
	Node keychain.NodeID `json:"node,omitempty"` // empty: the site as a whole
	Site keychain.SiteID `json:"site"`
	// Summary is the whole answer in one sentence.
	Summary string `json:"summary"`
	Links   int    `json:"links"` // that have it
	Nodes   int    `json:"nodes"` // of the site; one for a node
	// Absent are its nodes that no agent serves.
	Absent []keychain.NodeID `json:"absent,omitempty"`
	// Awaited is what links wait for from it, sorted by link and node.
	Awaited []Awaited `json:"awaited,omitempty"`
	// Troubles are what its nodes say is wrong, the most frequent first.
	Troubles []Trouble `json:"troubles,omitempty"`
	// Excluded and Maintenance say so for people, with the reason.
	Excluded    string `json:"excluded,omitempty"`
	Maintenance string `json:"maintenance,omitempty"`
	// Quarantined are links that go on without it.
	Quarantined []keychain.LinkID `json:"quarantined,omitempty"`
	// Next is what happens next with nobody doing anything, and At when, if time
	// alone decides.
	Next string    `json:"next,omitempty"`
	At   time.Time `json:"at,omitzero"`
	// Command is what unblocks it.
	Command string `json:"command,omitempty"`
	// Look explains the first of the links that wait for it.
	Look string `json:"look,omitempty"`
}

// Awaited is what one link waits for from one node.
type Awaited struct {
	Link  keychain.LinkID `json:"link"`
	Phase link.Phase      `json:"phase"`
	link.Wait
}

// ExplainNode says what links wait for from a node, and why. The error is of kind
// Invalid: the node is not declared. Of Facts the selection, the policy and the
// kind are not asked.
func ExplainNode(f Facts, name keychain.NodeID) (Place, error) {
	node, ok := f.Topology.Node(name)
	if !ok {
		return Place{}, fault.New(fault.Invalid, "no node %q is declared: see keyorch get nodes", name)
	}
	p := Place{Node: name, Site: node.Site}
	if e, ok := f.Standing.Excludes(f.Topology, name); ok {
		p.Excluded = excluded(e)
	}
	return f.complete().explain(p, []keychain.NodeID{name}), nil
}

// ExplainSite says what links wait for from the nodes of a site, and why. The
// error is of kind Invalid: the site is not declared. Of Facts the selection, the
// policy and the kind are not asked.
func ExplainSite(f Facts, name keychain.SiteID) (Place, error) {
	if !slices.ContainsFunc(f.Topology.Sites, func(s topology.Site) bool { return s.Name == name }) {
		return Place{}, fault.New(fault.Invalid, "no site %q is declared: see keyorch get sites", name)
	}
	p := Place{Site: name}
	for _, e := range f.Standing.Exclusions {
		if e.Site == name {
			p.Excluded = excluded(e)
		}
	}
	var nodes []keychain.NodeID
	for _, n := range f.Topology.Nodes {
		if n.Site == name {
			nodes = append(nodes, n.Name)
		}
	}
	return f.complete().explain(p, nodes), nil
}

// excluded says since when, and why.
func excluded(e topology.Exclusion) string {
	return fmt.Sprintf("excluded since %s%s", stamp(e.Since), because(e.Reason))
}

// explain fills in what the links of nodes say.
func (f Facts) explain(p Place, nodes []keychain.NodeID) Place {
	p.Nodes = len(nodes)
	present := f.Present(nodes)
	for _, n := range nodes {
		if !slices.Contains(present, n) {
			p.Absent = append(p.Absent, n)
		}
	}
	if m, ok := f.Standing.Maintained(p.Site, f.Now); ok {
		p.Maintenance, p.At = fmt.Sprintf("in maintenance until %s%s", stamp(m.Until), because(m.Reason)), m.Until
	}
	meant := nameSet(nodes)
	var g groups
	for _, l := range f.Topology.Links {
		is := func(n keychain.NodeID) bool { return meant[n] }
		if slices.ContainsFunc(l.Upstream, is) || slices.ContainsFunc(l.Downstream, is) {
			p.Links++
			f.ask(&p, &g, l, meant)
		}
	}
	p.Troubles = g.sorted()
	if len(p.Awaited) > 0 {
		p.Look = fmt.Sprintf("keyorch why %s", p.Awaited[0].Link)
	}
	p.Next, p.Command = p.ahead()
	p.Summary = p.summary()
	return p
}

// ask takes in what one link says about the nodes that are meant.
func (f Facts) ask(p *Place, g *groups, l topology.Link, meant map[keychain.NodeID]bool) {
	r, ok := f.Record(l.Name)
	if !ok {
		return
	}
	s := link.Snapshot{State: r.State, Reports: f.Reports(l.Name), Present: f.Present(r.State.Nodes()), Now: f.Now, Drain: f.Topology.PolicyOf(l).Drain}
	awaited := map[keychain.NodeID]bool{}
	for _, w := range link.Explain(l.Name, s).Awaiting {
		if meant[w.Node] {
			p.Awaited = append(p.Awaited, Awaited{Link: l.Name, Phase: r.State.Phase, Wait: w})
			g.add("", w.Message, l.Name, w.Since)
			awaited[w.Node] = true
		}
	}
	for _, report := range s.Reports {
		if report.Fault != "" && meant[report.Node] && !awaited[report.Node] {
			g.add("", cmp.Or(report.Message, report.Fault), l.Name, report.Since)
		}
	}
	if slices.ContainsFunc(r.Quarantined, func(q link.Quarantine) bool { return meant[q.Node] }) {
		p.Quarantined = append(p.Quarantined, l.Name)
	}
}

// ahead is what happens next by itself, and the command that helps.
func (p Place) ahead() (next, command string) {
	waiting := map[keychain.LinkID]bool{}
	for _, a := range p.Awaited {
		waiting[a.Link] = true
	}
	if n := len(waiting); n > 0 {
		next = fmt.Sprintf("%s that wait for it go on by themselves when it has answered", links(n))
		if n == 1 {
			next = "the link that waits for it goes on by itself when it has answered"
		}
	} else if p.Maintenance != "" {
		next = fmt.Sprintf("links that were skipped are caught up after %s", stamp(p.At))
	}
	switch {
	case p.Excluded != "" && p.Node != "":
		return "it gets no new keys until it is readmitted", fmt.Sprintf("keyorch readmit --node %s --reason TEXT", p.Node)
	case p.Excluded != "":
		return "it gets no new keys until it is readmitted", fmt.Sprintf("keyorch readmit --site %s --reason TEXT", p.Site)
	case len(p.Absent) > 0:
		return next, fmt.Sprintf("start the agent of site %s", p.Site)
	case len(p.Awaited) > 0:
		return next, fmt.Sprintf("look at node %s and what it says", p.Awaited[0].Node)
	}
	return next, ""
}

// summary is what is wrong, the gravest first, and how many links wait.
func (p Place) summary() string {
	name := fmt.Sprintf("site %s", p.Site)
	if p.Node != "" {
		name = fmt.Sprintf("node %s", p.Node)
	}
	var parts []string
	add := func(text string) {
		if text != "" {
			parts = append(parts, text)
		}
	}
	add(p.Excluded)
	add(p.Maintenance)
	switch n := len(p.Absent); {
	case n > 0 && n == p.Nodes:
		add("no agent serves it")
	case n > 0:
		add("no agent serves " + listed(p.Absent))
	}
	if len(p.Troubles) > 0 {
		t := p.Troubles[0]
		add(fmt.Sprintf("%s: %s", links(t.Count), t.Reason))
	}
	switch n := len(p.Quarantined); {
	case n == 1:
		add("1 link goes on without it")
	case n > 1:
		add(fmt.Sprintf("%d links go on without it", n))
	}
	if len(parts) == 0 {
		return fmt.Sprintf("%s is well: none of its %s waits for it", name, links(p.Links))
	}
	return name + ": " + strings.Join(parts, "; ")
}
