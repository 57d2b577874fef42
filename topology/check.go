package topology

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keyorch/keyorch/keychain"
)

// checker looks at what documents say about each other and about what is
// declared already.
type checker struct {
	documents []document
	kinds     Kinds
	declared  Topology
	problems  Problems
	// lenient is set when declarations may be missing because their text could
	// not be read: what seems not to be declared is then not a problem yet.
	lenient bool

	known    map[string]map[string]bool // kind, name: declared now or before
	nodes    map[keychain.NodeID]Node   // those that are well-formed
	devices  map[keychain.NodeID]device
	inSource map[string]bool                       // "Link dc1-dc2": well-formed documents
	usedBy   map[keychain.NodeID][]keychain.LinkID // links declared before, by node
	guesses  int                                   // how many names may still be guessed
}

// maxGuesses bounds the search for names that were meant, which is slow.
const maxGuesses = 100

func newChecker(documents []document, kinds Kinds, declared Topology) *checker {
	c := &checker{documents: documents, kinds: kinds, declared: declared, guesses: maxGuesses,
		known:    map[string]map[string]bool{KindSite: {}, KindNode: {}, KindLink: {}, KindPolicy: {}, KindWebhook: {}, KindApprovalRule: {}, "": {}},
		nodes:    map[keychain.NodeID]Node{},
		devices:  map[keychain.NodeID]device{},
		inSource: map[string]bool{},
		usedBy:   map[keychain.NodeID][]keychain.LinkID{},
	}
	for _, s := range declared.Sites {
		c.known[KindSite][string(s.Name)] = true
	}
	for _, p := range declared.Policies {
		c.known[KindPolicy][p.Name] = true
	}
	for _, n := range declared.Nodes {
		c.known[KindNode][string(n.Name)] = true
		c.nodes[n.Name] = n
	}
	for _, l := range declared.Links {
		for _, n := range nodesOf(l) {
			c.usedBy[n] = append(c.usedBy[n], l.Name)
		}
	}
	for _, d := range documents {
		c.known[d.kind][d.name] = true
		if d.object == nil {
			continue
		}
		c.inSource[d.String()] = true
		if n, ok := d.object.(Node); ok {
			c.nodes[n.Name] = n
		}
	}
	return c
}

// nodesOf are the nodes of a link, sorted, each once.
func nodesOf(l Link) []keychain.NodeID {
	nodes := slices.Concat(l.Upstream, l.Downstream)
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

func (c *checker) check() {
	c.duplicates()
	for _, d := range c.documents {
		switch o := d.object.(type) {
		case Node:
			c.node(d, o)
		case Link:
			c.link(d, o)
		}
	}
	c.quorums()
	c.approvers()
}

func (c *checker) say(d document, at path, message, hint string) {
	c.problems = append(c.problems, d.problem(finding{at: at, message: message, hint: hint}))
}

// duplicates refuses a second document with the kind and name of another.
func (c *checker) duplicates() {
	type key struct{ kind, name string }
	first := map[key]Problem{}
	for _, d := range c.documents {
		k := key{d.kind, d.name}
		if d.kind == "" || d.name == "" {
			continue
		}
		here := d.problem(finding{at: path{"metadata", "name"}})
		other, twice := first[k]
		if !twice {
			first[k] = here
			continue
		}
		here.Message, here.Hint = "declared twice", "remove or rename one of the two"
		if other.File != "" {
			here.Message = fmt.Sprintf("declared already at %s:%d", other.File, other.Line)
		}
		c.problems = append(c.problems, here)
	}
}

// exists refuses a reference that leads nowhere.
func (c *checker) exists(d document, at path, kind, name string) bool {
	if c.known[kind][name] {
		return true
	}
	if c.lenient {
		return false
	}
	hint := fmt.Sprintf("declare it in a document of kind %s", kind)
	if c.guesses > 0 {
		c.guesses--
		if near := nearest(name, slices.Sorted(maps.Keys(c.known[kind]))); near != "" {
			hint = fmt.Sprintf("did you mean %q? If not, %s", near, hint)
		}
	}
	c.say(d, at, fmt.Sprintf("no %s %q is declared", strings.ToLower(kind), name), hint)
	return false
}

func (c *checker) node(d document, n Node) {
	c.exists(d, path{"spec", "site"}, KindSite, string(n.Site))
	old, redeclared := c.declared.Node(n.Name)
	if links := c.usedBy[n.Name]; redeclared && old.Site != n.Site && len(links) > 0 {
		c.say(d, path{"spec", "site"},
			fmt.Sprintf("the node moves from site %q to %q while %s", old.Site, n.Site, useIt(links)),
			"take it out of its links first, apply that, and then move it")
	}
	device := c.device(n)
	for _, f := range device.problems {
		c.problems = append(c.problems, d.problem(f))
	}
	if len(device.problems) > 0 {
		return
	}
	if c.kinds == nil {
		return
	}
	// Links that are declared here as well get the problem themselves.
	links := slices.DeleteFunc(slices.Clone(c.usedBy[n.Name]), func(l keychain.LinkID) bool { return c.inSource[KindLink+" "+string(l)] })
	if why := device.capabilities.CannotStage(); why != "" {
		if len(links) > 0 {
			c.say(d, path{"spec", "device"}, fmt.Sprintf("the device cannot stage while %s: %s", useIt(links), why), stageHint)
		}
		return
	}
	for _, id := range links {
		l, _ := c.declared.Link(id)
		if why := c.partIn(n, l); why != "" {
			c.say(d, path{"spec", "device"}, fmt.Sprintf("the device cannot take part while %s: %s", useIt([]keychain.LinkID{id}), why), partHint)
		}
	}
}

const (
	stageHint = "choose a device, or parameters, with which a second key can be installed without being used"
	partHint  = "change the parameters of the device, or the sides of the link on which the node stands"
)

// useIt says that links use something.
func useIt(links []keychain.LinkID) string {
	if len(links) == 1 {
		return linkList(links) + " uses it"
	}
	return linkList(links) + " use it"
}

// linkList names links, the first three of them.
func linkList(links []keychain.LinkID) string {
	switch n := len(links); {
	case n == 1:
		return fmt.Sprintf("link %s", links[0])
	case n <= 3:
		return fmt.Sprintf("links %s", list(names(links)))
	default:
		return fmt.Sprintf("links %s and %d more", strings.Join(names(links[:3]), ", "), n-3)
	}
}

func (c *checker) link(d document, l Link) {
	if nodes := nodesOf(l); len(nodes) == 1 {
		c.say(d, path{"spec", "downstream"}, fmt.Sprintf("the link leads from node %q to itself and nowhere else", nodes[0]),
			"name another node on one of the sides")
	}
	if l.Policy != "" {
		c.exists(d, path{"spec", "policy"}, KindPolicy, l.Policy)
	}
	seen := map[keychain.NodeID]bool{}
	for _, s := range []struct {
		field string
		nodes []keychain.NodeID
	}{{"upstream", l.Upstream}, {"downstream", l.Downstream}} {
		for i, name := range s.nodes {
			at := path{"spec", s.field, i}
			if !c.exists(d, at, KindNode, string(name)) || seen[name] {
				continue
			}
			seen[name] = true
			c.stages(d, at, name, l)
		}
	}
}

// stages refuses a node whose device cannot hold two keys without switching.
// It refuses one that cannot play its part in l as well.
func (c *checker) stages(d document, at path, name keychain.NodeID, l Link) {
	n, ok := c.nodes[name]
	if !ok || c.kinds == nil {
		return
	}
	device := c.device(n)
	switch {
	case len(device.problems) == 0:
		if why := device.capabilities.CannotStage(); why != "" {
			c.say(d, at, fmt.Sprintf("the device of node %q (kind %s) cannot stage: %s", name, n.Device.Kind, why), stageHint)
		} else if why := c.partIn(n, l); why != "" {
			c.say(d, at, fmt.Sprintf("the device of node %q (kind %s) cannot take part: %s", name, n.Device.Kind, why), partHint)
		}
	case c.inSource[KindNode+" "+string(name)]: // the node's own document has the problem
	default:
		c.say(d, at, fmt.Sprintf("the device of node %q cannot be used: %s", name, device.problems[0].message), device.problems[0].hint)
	}
}
