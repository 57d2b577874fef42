package store

import (
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/keychain"
)

// DefaultPrefix is where everything is kept unless Config says otherwise.
const DefaultPrefix = "/keyorch/v1"

// layout makes and reads the keys under one prefix. No other file does.
type layout struct{ root string }

// span is a range of keys: from is in it, to is not.
type span struct{ from, to string }

func prefix(p string) span { return span{p, clientv3.GetPrefixRangeEnd(p)} }

func single(key string) span { return span{key, key + "\x00"} }

// facts is one range on purpose, so that a view of records, observations and
// presence has one revision. It leaves out the orders, which lie next to it.
func (l layout) facts() span { return span{l.root + "/agents/", l.root + "/orders/"} }

func (l layout) topology() span { return prefix(l.root + "/topology/") }

func (l layout) topologyRevision() string { return l.root + "/topology-revision" }

func (l layout) declaration(kind, name string) string {
	return l.root + "/topology/" + strings.ToLower(kind) + "/" + name
}

func (l layout) links() span { return prefix(l.root + "/links/") }

func (l layout) link(id keychain.LinkID) string { return l.root + "/links/" + string(id) }

func (l layout) orders(site keychain.SiteID, node keychain.NodeID) span {
	return prefix(l.root + "/orders/" + string(site) + "/" + string(node) + "/")
}

func (l layout) order(site keychain.SiteID, node keychain.NodeID, id keychain.LinkID) string {
	return l.orders(site, node).from + string(id)
}

func (l layout) observations(site keychain.SiteID, node keychain.NodeID) span {
	return prefix(l.root + "/observations/" + string(site) + "/" + string(node) + "/")
}

func (l layout) observation(site keychain.SiteID, node keychain.NodeID, id keychain.LinkID) string {
	return l.observations(site, node).from + string(id)
}

func (l layout) agent(site keychain.SiteID, node keychain.NodeID) string {
	return l.root + "/agents/" + string(site) + "/" + string(node)
}

// path is what a key names: the folder, and the names below it.
type path struct {
	folder string
	names  []string
}

// The folders.
const (
	inTopology     = "topology"
	inLinks        = "links"
	inOrders       = "orders"
	inObservations = "observations"
	inAgents       = "agents"
)

// parse reads a key that layout made; false for any other.
func (l layout) parse(key string) (path, bool) {
	rest, ok := strings.CutPrefix(key, l.root+"/")
	if !ok {
		return path{}, false
	}
	parts := strings.Split(rest, "/")
	p := path{folder: parts[0], names: parts[1:]}
	want, ok := map[string]int{inTopology: 2, inLinks: 1, inOrders: 3, inObservations: 3, inAgents: 2}[p.folder]
	return p, ok && len(p.names) == want
}

// link is the link that a key of links, orders or observations is about.
func (p path) link() keychain.LinkID { return keychain.LinkID(p.names[len(p.names)-1]) }

// site and node are those of a key of orders, observations or agents.
func (p path) site() keychain.SiteID { return keychain.SiteID(p.names[0]) }
func (p path) node() keychain.NodeID { return keychain.NodeID(p.names[1]) }

// validNames gives the first complaint of keychain.ValidName: a name with a '/'
// in it would be written into somebody else's folder.
func validNames[S ~string](names ...S) error {
	for _, n := range names {
		if err := keychain.ValidName(string(n)); err != nil {
			return err
		}
	}
	return nil
}
