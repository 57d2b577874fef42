package campaign

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// Resolve gives the links that satisfy every part of s, sorted. The error is of
// kind Invalid and has a line for every part that is wrong, with what to do:
// nothing is asked for, a name is not declared, a selector does not parse, a part
// matches no link, or all of them together match none.
func (s Selection) Resolve(t topology.Topology) ([]keychain.LinkID, error) {
	if s.empty() {
		return nil, fault.New(fault.Invalid, "no links are selected: name some, or say --all")
	}
	if others := s; s.All {
		if others.All = false; !others.empty() {
			return nil, fault.New(fault.Invalid, "--all is every link, and %s narrows it down: say one or the other", others)
		}
	}
	parts, wrong := s.parts(t)
	var found []keychain.LinkID
	for _, l := range t.Links {
		ok := true
		for i := range parts {
			if parts[i].matches(l) {
				parts[i].found = true
			} else {
				ok = false
			}
		}
		if ok {
			found = append(found, l.Name)
		}
	}
	for _, p := range parts {
		if !p.found {
			wrong = append(wrong, fmt.Sprintf("%s: %s", p.field, p.nothing))
		}
	}
	switch {
	case len(wrong) > 0:
		return nil, fault.New(fault.Invalid, "%s", strings.Join(wrong, "\n"))
	case len(found) == 0 && len(parts) == 0:
		return nil, fault.New(fault.Invalid, "all: no link is declared: declare some with keyorch apply")
	case len(found) == 0:
		return nil, fault.New(fault.Invalid, "no link satisfies all of %s: leave one of them out", s)
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// part is one part of a selection that was given, ready to be asked about links.
type part struct {
	field   string
	matches func(topology.Link) bool
	nothing string // what is wrong when no link matches, with the remedy
	found   bool
}

// reading is a selection while its parts are read.
type reading struct {
	topology.Topology
	parts []part
	wrong []string
}

func (r *reading) say(field, format string, a ...any) {
	r.wrong = append(r.wrong, field+": "+fmt.Sprintf(format, a...))
}

func (r *reading) add(field, nothing string, matches func(topology.Link) bool) {
	r.parts = append(r.parts, part{field: field, nothing: nothing, matches: matches})
}

// parts reads the parts that are given, and says what is wrong with the others.
func (s Selection) parts(t topology.Topology) ([]part, []string) {
	r := &reading{Topology: t}
	s.names(r)
	s.selectors(r)
	return r.parts, r.wrong
}

// names reads what is meant by name.
func (s Selection) names(r *reading) {
	switch unknown := s.unknown(r.Topology); {
	case len(s.Links) == 0:
	case len(unknown) > 0:
		r.say("links", "no link %s is declared: see keyorch get links", orList(unknown))
	default:
		asked := nameSet(s.Links)
		r.add("links", "", func(l topology.Link) bool { return asked[l.Name] })
	}
	switch {
	case s.Site == "":
	case !slices.ContainsFunc(r.Sites, func(site topology.Site) bool { return site.Name == s.Site }):
		r.say("site", "no site %q is declared: see keyorch get sites", s.Site)
	default:
		r.add("site", fmt.Sprintf("no link has a node at site %q: see keyorch get links", s.Site),
			hasNode(r.Topology, func(n topology.Node) bool { return n.Site == s.Site }))
	}
	switch _, declared := r.Topology.Node(s.Node); {
	case s.Node == "":
	case !declared:
		r.say("node", "no node %q is declared: see keyorch get nodes", s.Node)
	default:
		r.add("node", fmt.Sprintf("no link has node %q: see keyorch get links", s.Node),
			hasNode(r.Topology, func(n topology.Node) bool { return n.Name == s.Node }))
	}
	switch {
	case s.Policy == "":
	case !slices.ContainsFunc(r.Policies, func(p topology.Policy) bool { return p.Name == s.Policy }):
		r.say("policy", "no policy %q is declared: see keyorch get policies", s.Policy)
	default:
		r.add("policy", fmt.Sprintf("no link has policy %q: name it in spec.policy of some links", s.Policy),
			func(l topology.Link) bool { return l.Policy == s.Policy })
	}
}

// selectors reads what is meant by labels.
func (s Selection) selectors(r *reading) {
	sites := map[keychain.SiteID]topology.Labels{}
	for _, site := range r.Sites {
		sites[site.Name] = site.Labels
	}
	for _, given := range []struct {
		field, text, kind string
		matches           func(topology.Selector) func(topology.Link) bool
	}{
		{"selector", s.Selector, "links", func(x topology.Selector) func(topology.Link) bool {
			return func(l topology.Link) bool { return x.Matches(l.Labels) }
		}},
		{"nodeSelector", s.NodeSelector, "nodes", func(x topology.Selector) func(topology.Link) bool {
			return hasNode(r.Topology, func(n topology.Node) bool { return x.Matches(n.Labels) })
		}},
		{"siteSelector", s.SiteSelector, "sites", func(x topology.Selector) func(topology.Link) bool {
			return hasNode(r.Topology, func(n topology.Node) bool { return x.Matches(sites[n.Site]) })
		}},
	} {
		if blank(given.text) {
			continue
		}
		x, err := topology.ParseSelector(given.text)
		if err != nil {
			r.say(given.field, "%v", err)
			continue
		}
		r.add(given.field, fmt.Sprintf("%q matches no link: see keyorch get %s --show-labels", given.text, given.kind), given.matches(x))
	}
}

// hasNode asks every node once, and gives a check whether a link has one of those
// that are meant.
func hasNode(t topology.Topology, meant func(topology.Node) bool) func(topology.Link) bool {
	nodes := map[keychain.NodeID]bool{}
	for _, n := range t.Nodes {
		if meant(n) {
			nodes[n.Name] = true
		}
	}
	is := func(n keychain.NodeID) bool { return nodes[n] }
	return func(l topology.Link) bool {
		return slices.ContainsFunc(l.Upstream, is) || slices.ContainsFunc(l.Downstream, is)
	}
}

// unknown is which of the links named are not declared, sorted.
func (s Selection) unknown(t topology.Topology) []keychain.LinkID {
	left := nameSet(s.Links)
	for _, l := range t.Links {
		delete(left, l.Name)
	}
	return slices.Sorted(maps.Keys(left))
}

func nameSet[N comparable](names []N) map[N]bool {
	set := make(map[N]bool, len(names))
	for _, n := range names {
		set[n] = true
	}
	return set
}

// orList is names in a sentence: "a", "b" or "c".
func orList[N ~string](names []N) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	if n := len(quoted); n > 1 {
		return strings.Join(quoted[:n-1], ", ") + " or " + quoted[n-1]
	}
	return quoted[0]
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }

func (s Selection) empty() bool {
	return !s.All && len(s.Links) == 0 && s.Site == "" && s.Node == "" && s.Policy == "" &&
		blank(s.Selector) && blank(s.NodeSelector) && blank(s.SiteSelector)
}

// String is the selection in the words of the command line: "--all", "--site dc2
// -l tier=core", "3 links", and the name of a single link. All is left out beside
// others. Nothing is "no links".
func (s Selection) String() string {
	var words []string
	switch n := len(s.Links); {
	case n == 1:
		words = append(words, string(s.Links[0]))
	case n > 1:
		words = append(words, fmt.Sprintf("%d links", n))
	}
	for _, f := range []struct{ flag, value string }{
		{"--site", string(s.Site)}, {"--node", string(s.Node)}, {"--of-policy", s.Policy},
		{"-l", s.Selector}, {"--node-selector", s.NodeSelector}, {"--site-selector", s.SiteSelector},
	} {
		if !blank(f.value) {
			words = append(words, f.flag+" "+quoted(f.value))
		}
	}
	switch {
	case len(words) > 0:
		return strings.Join(words, " ")
	case s.All:
		return "--all"
	}
	return "no links"
}

// quoted is a value as a shell wants it.
func quoted(value string) string {
	if strings.ContainsAny(value, " ()!<>|&;*?$`\"\\#~'") {
		return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
	}
	return value
}

// matching is those of links whose labels a selector matches, in their order.
func matching(selector string, t topology.Topology, links []keychain.LinkID) []keychain.LinkID {
	s, err := topology.ParseSelector(selector)
	if err != nil {
		return nil
	}
	var out []keychain.LinkID
	for _, id := range links {
		if l, ok := t.Link(id); ok && s.Matches(l.Labels) {
			out = append(out, id)
		}
	}
	return out
}
