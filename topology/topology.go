// Package topology is what the operator declares: sites, nodes, links and
// policies, as YAML documents in the Kubernetes shape. It reads them, checks
// them, and publishes a JSON schema for them.
package topology

import (
	"slices"
	"time"

	"github.com/keyorch/keyorch/keychain"
)

// APIVersion is the apiVersion of every document.
const APIVersion = "keyorch/v1"

// Topology is a set of declarations, each kind sorted by name.
type Topology struct {
	Sites    []Site
	Nodes    []Node
	Links    []Link
	Policies []Policy
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
// of the device's fields, and their meaning is the driver's own.
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

// Policy is how links are rotated.
type Policy struct {
	Name   string
	Labels Labels
	// Drain is the least time between the last upstream switch and the moment when
	// the old key is forgotten.
	Drain time.Duration
}

// DefaultDrain is the drain time of a link without a policy. It is generous:
// waiting costs nothing, and a packet that comes later is lost.
const DefaultDrain = 5 * time.Second

// Node finds a node by name.
func (t Topology) Node(name keychain.NodeID) (Node, bool) {
	i := slices.IndexFunc(t.Nodes, func(n Node) bool { return n.Name == name })
	if i < 0 {
		return Node{}, false
	}
	return t.Nodes[i], true
}

// Link finds a link by name.
func (t Topology) Link(name keychain.LinkID) (Link, bool) {
	i := slices.IndexFunc(t.Links, func(l Link) bool { return l.Name == name })
	if i < 0 {
		return Link{}, false
	}
	return t.Links[i], true
}

// PolicyOf is the policy of a link: the one that it names, or the defaults.
func (t Topology) PolicyOf(l Link) Policy {
	i := slices.IndexFunc(t.Policies, func(p Policy) bool { return l.Policy != "" && p.Name == l.Policy })
	if i < 0 {
		return Policy{Drain: DefaultDrain}
	}
	return t.Policies[i]
}

// Sites gives the sites of the nodes named, sorted, each once. Nodes that are
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
