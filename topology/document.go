package topology

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/keyorch/keyorch/keychain"
)

// kindNames are the kinds of documents, for messages.
var kindNames = []string{KindSite, KindNode, KindLink, KindPolicy, KindWebhook, KindApprovalRule}

// document is one declaration on its way in.
type document struct {
	file  string
	node  *yaml.Node // nil when it does not come from a file
	above int        // lines of the file above the text of node
	value any        // as plain values
	kind  string     // empty while it cannot be read, as is name
	name  string
	// object is a Site, Node, Link, Policy, Webhook or ApprovalRule; nil when the document has problems.
	object any
}

// newDocument finds out what value declares and gives everything that is wrong
// with its shape. The object is made when nothing is.
func newDocument(d document, found []finding) (document, Problems) {
	m, _ := d.value.(map[string]any)
	if k, _ := m["kind"].(string); slices.Contains(kindNames, k) {
		d.kind = k
	}
	meta, _ := m["metadata"].(map[string]any)
	if name, _ := meta["name"].(string); keychain.ValidName(name) == nil {
		d.name = name
	}
	// What could not be converted is nil now, which is not worth a second problem.
	known := found
	for _, f := range theShape().check(d.value) {
		if !slices.ContainsFunc(known, func(k finding) bool { return k.at.String() == f.at.String() }) {
			found = append(found, f)
		}
	}
	if len(found) == 0 {
		d.object, found = build(d.kind, m)
	}
	var problems Problems
	for _, f := range found {
		problems = append(problems, d.problem(f))
	}
	return d, problems
}

// problem puts a finding in its place.
func (d document) problem(f finding) Problem {
	p := Problem{File: d.file, Object: d.String(), Field: f.at.String(), Message: f.message, Hint: f.hint}
	if d.node != nil {
		if f.line == 0 {
			f.line = lineOf(d.node, f.at)
		}
		p.Line = f.line + d.above
	}
	return p
}

// String is what the document declares, as in "Link dc1-dc2".
func (d document) String() string {
	if d.kind == "" || d.name == "" {
		return d.kind
	}
	return d.kind + " " + d.name
}

// build makes the object out of a document that the schema accepts.
func build(kind string, m map[string]any) (any, []finding) {
	meta := fieldsOf(m, "metadata")
	spec := fieldsOf(m, "spec")
	name := text(meta, "name")
	var labels Labels
	for k := range fieldsOf(meta, "labels") {
		if labels == nil {
			labels = Labels{}
		}
		labels[k] = text(fieldsOf(meta, "labels"), k)
	}
	switch kind {
	case KindSite:
		return Site{Name: keychain.SiteID(name), Labels: labels, Description: text(spec, "description")}, nil
	case KindNode:
		device := fieldsOf(spec, "device")
		n := Node{Name: keychain.NodeID(name), Labels: labels, Site: keychain.SiteID(text(spec, "site")),
			Device: Device{Kind: text(device, "kind")}}
		for k, v := range device {
			if k == "kind" {
				continue
			}
			if n.Device.Params == nil {
				n.Device.Params = map[string]any{}
			}
			n.Device.Params[k] = v
		}
		return n, nil
	case KindLink:
		return Link{Name: keychain.LinkID(name), Labels: labels, Policy: text(spec, "policy"),
			Upstream: side(spec, "upstream"), Downstream: side(spec, "downstream")}, nil
	case KindWebhook:
		w, found := buildWebhook(name, labels, spec)
		if len(found) > 0 {
			return nil, found
		}
		return w, nil
	case KindApprovalRule:
		r, found := buildApprovalRule(name, labels, spec)
		if len(found) > 0 {
			return nil, found
		}
		return r, nil
	default:
		p, found := buildPolicy(name, labels, spec)
		if len(found) > 0 {
			return nil, found
		}
		return p, nil
	}
}

func fieldsOf(m map[string]any, key string) map[string]any {
	v, _ := m[key].(map[string]any)
	return v
}

func text(m map[string]any, key string) string {
	v, _ := m[key].(string)
	return v
}

func side(m map[string]any, key string) []keychain.NodeID {
	list, _ := m[key].([]any)
	nodes := make([]keychain.NodeID, len(list))
	for i, v := range list {
		name, _ := v.(string)
		nodes[i] = keychain.NodeID(name)
	}
	return nodes
}
