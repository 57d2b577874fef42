package topology

import (
	"time"

	"github.com/keyorch/keyorch/keychain"
)

// Maintenance is a time in which nothing is begun at a site. It ends by itself.
type Maintenance struct {
	Site   keychain.SiteID `json:"site"`
	Until  time.Time       `json:"until"`
	Reason string          `json:"reason"`
	Since  time.Time       `json:"since"`
}

// Exclusion takes a node, or all nodes of a site, out of every link until it is
// readmitted: new keys are not made for it. Exactly one of Node and Site is set.
type Exclusion struct {
	Node   keychain.NodeID `json:"node,omitempty"`
	Site   keychain.SiteID `json:"site,omitempty"`
	Reason string          `json:"reason"`
	Since  time.Time       `json:"since"`
	// Campaign is the one that gives the others new keys.
	Campaign string `json:"campaign,omitempty"`
	// Exposed are the keys that it could open when it was excluded.
	Exposed []Exposed `json:"exposed,omitempty"`
}

// Exposed is one key that an excluded node or site could open.
type Exposed struct {
	Link  keychain.LinkID `json:"link"`
	Epoch keychain.Epoch  `json:"epoch"`
}

// Standing is what operators have decided for a time, beside what they declared.
type Standing struct {
	Maintenance []Maintenance // sorted by site
	Exclusions  []Exclusion   // sorted by site, then node
}
