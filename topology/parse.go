package topology

import (
	"cmp"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/keyorch/keyorch/keychain"
)

// Kinds are the kinds of device that there are.
type Kinds map[string]Kind

// Kind is what one kind of device says about what is declared.
type Kind struct {
	// Check checks the parameters of one device and says what that device can do;
	// its error is shown to the operator. An error that joins several, as
	// errors.Join does, makes one problem of each, and one with a method
	// Field() string, which gives "command[0]" or the like, is shown at that
	// parameter.
	Check func(Device) (keychain.Capabilities, error)
	// Part says why the device, whose parameters are in order, cannot take part in
	// a link as declared; nil means that it can. A Kind without it takes part in
	// any link.
	Part func(Device, keychain.Part) error
}

// Parse reads every document of the sources. References may lead to what the
// sources declare or to what is declared already; an object of the sources
// takes the place of a declared one with its kind and name. Kinds nil means
// that devices are not checked. Empty documents are passed over.
//
// The Topology holds what the sources declare, without the rest of declared.
// The error is of kind Invalid and holds Problems: all of them, and then there
// is no Topology.
func Parse(sources []Source, kinds Kinds, declared Topology) (Topology, error) {
	var r reader
	for _, s := range sources {
		r.read(s)
	}
	c := newChecker(r.documents, kinds, declared)
	c.lenient = r.unread
	c.check()
	if err := append(r.problems, c.problems...).fault(); err != nil {
		return Topology{}, err
	}
	return collect(r.documents), nil
}

// Validate checks a Topology that does not come from files: the names, the
// references, and the devices unless kinds is nil. The error is of kind Invalid
// and holds Problems.
func (t Topology) Validate(kinds Kinds) error {
	var r reader
	for _, e := range t.envelopes() {
		value, err := e.plain()
		if err != nil {
			r.problems = append(r.problems, Problem{Object: e.Kind + " " + e.Metadata.Name, Message: "it cannot be written as a document: " + err.Error()})
			continue
		}
		r.accept(document{value: value}, nil)
	}
	c := newChecker(r.documents, kinds, Topology{})
	c.check()
	return append(r.problems, c.problems...).fault()
}

// reader gathers documents and what is wrong with each by itself.
type reader struct {
	documents []document
	problems  Problems
	unread    bool // some text could not be read: declarations may be missing
}

func (r *reader) read(s Source) {
	text, broken := textOf(s.Data)
	if broken != nil {
		r.cannotRead(s.Name, 0, broken)
		return
	}
	for _, piece := range pieces(text) {
		nodes, broken := parseYAML(piece.text)
		if broken != nil {
			r.cannotRead(s.Name, piece.above, broken)
			continue
		}
		for _, n := range nodes {
			if n = n.Content[0]; n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
				continue
			}
			var c conversion
			value := c.value(n, nil)
			r.accept(document{file: s.Name, node: n, above: piece.above, value: value}, c.found)
		}
	}
}

func (r *reader) cannotRead(file string, above int, e *syntaxError) {
	r.unread = true
	p := Problem{File: file, Message: e.message, Hint: e.hint}
	if e.line > 0 {
		p.Line = above + e.line
	}
	r.problems = append(r.problems, p)
}

func (r *reader) accept(d document, found []finding) {
	d, problems := newDocument(d, found)
	if d.kind == "" || d.name == "" {
		r.unread = true
	}
	r.documents = append(r.documents, d)
	r.problems = append(r.problems, problems...)
}

// collect puts the objects of documents in order.
func collect(documents []document) Topology {
	var t Topology
	for _, d := range documents {
		switch o := d.object.(type) {
		case Site:
			t.Sites = append(t.Sites, o)
		case Node:
			t.Nodes = append(t.Nodes, o)
		case Link:
			t.Links = append(t.Links, o)
		case Policy:
			t.Policies = append(t.Policies, o)
		case Webhook:
			t.Webhooks = append(t.Webhooks, o)
		case ApprovalRule:
			t.ApprovalRules = append(t.ApprovalRules, o)
		}
	}
	slices.SortFunc(t.Sites, func(a, b Site) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(t.Nodes, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(t.Links, func(a, b Link) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(t.Policies, func(a, b Policy) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(t.Webhooks, func(a, b Webhook) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(t.ApprovalRules, func(a, b ApprovalRule) int { return cmp.Compare(a.Name, b.Name) })
	return t
}
