package store

import (
	"strings"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

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
	inCampaigns    = "campaigns"
	inDenials      = "denials"
	inWaves        = "waves"
	inMaintenance  = "maintenance"
	inExclusions   = "exclusions"
	inPast         = "past"
	inEnrolments   = "enrolments"
	inApprovals    = "approvals"
	inDuties       = "duties"
	inRecovery     = "recovery"
	inRestoring    = "restoring"
)

// What stands below approvals.
const (
	ofRules    = "rules"
	ofPolicies = "policies"
	ofRequests = "requests"
	ofVotes    = "votes"
	ofEnds     = "ended"
)

// The two kinds of exclusions.
const (
	ofNode = "node"
	ofSite = "site"
)

// depth is how many names a key of a folder has.
func (p path) depth() int {
	switch p.folder {
	case inLinks, inCampaigns, inMaintenance, inEnrolments:
		return 1
	case inTopology:
		if p.isNode() {
			return 3
		}
		return 2
	case inApprovals:
		switch p.names[0] {
		case ofRules, ofPolicies:
			return 1
		case ofEnds:
			return 2
		case ofRequests, ofVotes:
			return 3
		}
	case inAgents, inDenials, inWaves, inExclusions, inPast:
		return 2
	case inOrders, inObservations:
		return 3
	}
	return -1
}

// parse reads a key that layout made; false for any other.
func (l layout) parse(key string) (path, bool) {
	rest, ok := strings.CutPrefix(key, l.root+"/")
	if !ok {
		return path{}, false
	}
	parts := strings.Split(rest, "/")
	p := path{folder: parts[0], names: parts[1:]}
	return p, len(p.names) > 0 && len(p.names) == p.depth()
}

// link is the link that a key of links, orders, observations or denials is about.
func (p path) link() keychain.LinkID { return keychain.LinkID(p.names[len(p.names)-1]) }

// isNode reports whether a key is that of a node's declaration.
func (p path) isNode() bool {
	return p.folder == inTopology && p.names[0] == strings.ToLower(topology.KindNode)
}

// site and node are those of a key of orders, observations or agents.
func (p path) site() keychain.SiteID { return keychain.SiteID(p.names[0]) }
func (p path) node() keychain.NodeID { return keychain.NodeID(p.names[1]) }

// campaign is that of a key of campaigns, denials or waves.
func (p path) campaign() string { return p.names[0] }
