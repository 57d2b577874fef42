package store

import (
	"cmp"
	"slices"
	"strings"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// declared holds declarations by their key.
type declared map[string]declaredAt

// declaredAt is one of them, and when it was written.
type declaredAt struct {
	value any
	mod   int64
}

// put takes in one document, in place of the one it had under that key.
func (d declared) put(keys layout, e entry) error {
	p, ok := keys.parse(e.key)
	if !ok || p.folder != inTopology {
		return broken(e.key)
	}
	delete(d, e.key)
	switch p.names[0] {
	case strings.ToLower(topology.KindSite):
		return put(d, e, func(v topology.Site) string { return keys.declaration(topology.KindSite, string(v.Name)) })
	case strings.ToLower(topology.KindPolicy):
		return put(d, e, func(v topology.Policy) string { return keys.declaration(topology.KindPolicy, v.Name) })
	case strings.ToLower(topology.KindWebhook):
		return put(d, e, func(v topology.Webhook) string { return keys.declaration(topology.KindWebhook, v.Name) })
	case strings.ToLower(topology.KindApprovalRule):
		return put(d, e, func(v topology.ApprovalRule) string { return keys.declaration(topology.KindApprovalRule, v.Name) })
	case strings.ToLower(topology.KindNode):
		return put(d, e, func(v topology.Node) string { return keys.node(v.Site, v.Name) })
	case strings.ToLower(topology.KindLink):
		return put(d, e, func(v topology.Link) string { return keys.declaration(topology.KindLink, string(v.Name)) })
	}
	return nil // a newer version's kind
}

// put takes in a document that says of itself under which key it belongs.
func put[T any](d declared, e entry, key func(T) string) error {
	var v T
	if err := decode(e, &v); err != nil {
		return err
	}
	if key(v) != e.key {
		return broken(e.key)
	}
	d[e.key] = declaredAt{v, e.mod}
	return nil
}

// topology is what is declared, each kind sorted by name. A node that is declared for
// two sites, which no apply does, is where it was declared last.
func (d declared) topology() topology.Topology {
	var t topology.Topology
	nodes := make(map[keychain.NodeID]declaredAt)
	for _, at := range d {
		switch v := at.value.(type) {
		case topology.Site:
			t.Sites = append(t.Sites, v)
		case topology.Policy:
			t.Policies = append(t.Policies, v)
		case topology.Webhook:
			t.Webhooks = append(t.Webhooks, v)
		case topology.ApprovalRule:
			t.ApprovalRules = append(t.ApprovalRules, v)
		case topology.Node:
			if at.mod >= nodes[v.Name].mod {
				nodes[v.Name] = at
			}
		case topology.Link:
			t.Links = append(t.Links, v)
		}
	}
	for _, at := range nodes {
		t.Nodes = append(t.Nodes, at.value.(topology.Node))
	}
	slices.SortFunc(t.Sites, func(a, b topology.Site) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(t.Policies, func(a, b topology.Policy) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(t.Webhooks, func(a, b topology.Webhook) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(t.ApprovalRules, func(a, b topology.ApprovalRule) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(t.Nodes, func(a, b topology.Node) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(t.Links, func(a, b topology.Link) int { return cmp.Compare(a.Name, b.Name) })
	return t
}
