package campaign

import (
	"github.com/keyorch/keyorch/keychain"
)

// Selection is which links are meant. Its parts are alternatives that narrow each
// other down: a link must satisfy every one that is given. All must be said when
// nothing else is.
type Selection struct {
	Links []keychain.LinkID `json:"links,omitempty"`
	// Site and Node want a node of the link to stand at the site, or to be it.
	Site keychain.SiteID `json:"site,omitempty"`
	Node keychain.NodeID `json:"node,omitempty"`
	// Policy wants links that name this policy.
	Policy string `json:"policy,omitempty"`
	// Selector wants the link's own labels to match; NodeSelector and SiteSelector
	// those of some node of it, or of the site of one.
	Selector     string `json:"selector,omitempty"`
	NodeSelector string `json:"nodeSelector,omitempty"`
	SiteSelector string `json:"siteSelector,omitempty"`
	All          bool   `json:"all,omitempty"`
}
