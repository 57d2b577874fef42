// Package topology is what the operator declares: sites, nodes, links, policies,
// webhooks and rules of approvals, as YAML documents in the Kubernetes shape. It reads them, checks
// them, and publishes a JSON schema for them.
//
// Reading is strict and all or nothing: Parse gives a Topology in which every
// reference leads somewhere, or every problem there is with its file, its line
// and what to do about it. What devices exist and what they can do is not known
// here; the caller brings it as Kinds.
package topology

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/keyorch/keyorch/keychain"
)

// APIVersion is the apiVersion of every document.
const APIVersion = "keyorch/v1"

// The kinds of documents, in the order in which they are written.
const (
	KindSite         = "Site"
	KindNode         = "Node"
	KindLink         = "Link"
	KindPolicy       = "Policy"
	KindWebhook      = "Webhook"
	KindApprovalRule = "ApprovalRule"
)

// Topology is a set of declarations, each kind sorted by name.
type Topology struct {
	Sites         []Site
	Nodes         []Node
	Links         []Link
	Policies      []Policy
	Webhooks      []Webhook
	ApprovalRules []ApprovalRule
}

// Labels are free words on a declaration, for selecting.
type Labels map[string]string

// Site is a place whose nodes one agent serves.
type Site struct {
	Name        keychain.SiteID
	Labels      Labels
	Description string
}

// Node is one device at a site.
type Node struct {
	Name   keychain.NodeID
	Labels Labels
	Site   keychain.SiteID
	Device Device
}

// Device says what drives a node. Kind selects the driver; Params are the rest
// of the device's fields, and their meaning is the driver's own. Params hold
// plain values: nil, bool, int64, float64, string, []any and map[string]any.
type Device struct {
	Kind   string
	Params map[string]any
}

// Link is one directed link, or a segment that shares one key: Upstream nodes
// send, Downstream nodes accept, and a node may stand on both sides.
type Link struct {
	Name       keychain.LinkID
	Labels     Labels
	Upstream   []keychain.NodeID
	Downstream []keychain.NodeID
	Policy     string // empty: the defaults of Policy
}

// DefaultDrain is the drain time of a link without a policy. It is generous:
// waiting costs nothing, and a packet that comes later is lost.
const DefaultDrain = 5 * time.Second

// MaxDrain is the longest drain time.
const MaxDrain = 24 * time.Hour

// Node finds a node by name.
func (t Topology) Node(name keychain.NodeID) (Node, bool) {
	return find(t.Nodes, name, func(n Node) keychain.NodeID { return n.Name })
}

// Link finds a link by name.
func (t Topology) Link(name keychain.LinkID) (Link, bool) {
	return find(t.Links, name, func(l Link) keychain.LinkID { return l.Name })
}

// PolicyOf is the policy of a link: the one that it names, or the defaults.
func (t Topology) PolicyOf(l Link) Policy {
	p, ok := find(t.Policies, l.Policy, func(p Policy) string { return p.Name })
	if l.Policy == "" || !ok {
		return DefaultPolicy()
	}
	return p
}

// SitesOf gives the sites of the nodes named, sorted, each once. Nodes that are
// not declared are left out.
func (t Topology) SitesOf(nodes []keychain.NodeID) []keychain.SiteID {
	var sites []keychain.SiteID
	for _, name := range nodes {
		if n, ok := t.Node(name); ok {
			sites = append(sites, n.Site)
		}
	}
	slices.Sort(sites)
	return slices.Compact(sites)
}

// Merge is t with every object of o added, or put in the place of the one that
// has its name.
func (t Topology) Merge(o Topology) Topology {
	return Topology{
		Sites:    merge(t.Sites, o.Sites, func(s Site) keychain.SiteID { return s.Name }),
		Nodes:    merge(t.Nodes, o.Nodes, func(n Node) keychain.NodeID { return n.Name }),
		Links:    merge(t.Links, o.Links, func(l Link) keychain.LinkID { return l.Name }),
		Policies: merge(t.Policies, o.Policies, func(p Policy) string { return p.Name }),
		Webhooks: merge(t.Webhooks, o.Webhooks, func(w Webhook) string { return w.Name }),

		ApprovalRules: merge(t.ApprovalRules, o.ApprovalRules, func(r ApprovalRule) string { return r.Name }),
	}
}

func merge[T any, N cmp.Ordered](a, b []T, name func(T) N) []T {
	all := make(map[N]T, len(a)+len(b))
	for _, list := range [][]T{a, b} {
		for _, object := range list {
			all[name(object)] = object
		}
	}
	var out []T
	for _, n := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[n])
	}
	return out
}

// find looks by halves, as the lists are sorted by name, and then one by one:
// a Topology written by hand may not be.
func find[T any, N cmp.Ordered](list []T, name N, nameOf func(T) N) (T, bool) {
	if i, ok := slices.BinarySearchFunc(list, name, func(o T, n N) int { return cmp.Compare(nameOf(o), n) }); ok {
		return list[i], true
	}
	for _, object := range list {
		if nameOf(object) == name {
			return object, true
		}
	}
	var none T
	return none, false
}
