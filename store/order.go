package store

import (
	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/keychain"
)

// Order is the whole wish for one node about one link at a Turn, with the
// wrapped keys that it needs: link.Order as it stands in etcd.
type Order struct {
	Site keychain.SiteID `json:"site"`
	Node keychain.NodeID `json:"node"`
	Link keychain.LinkID `json:"link"`
	Turn keychain.Turn   `json:"turn"`
	// Accept lists every key that the node must accept, sorted by epoch. Empty is
	// no wish.
	Accept []Wanted `json:"accept,omitempty"`
	// Send is the key to send with. Zero is no wish.
	Send Wanted `json:"send,omitzero"`
}

// Wanted is one key that an order names, with what is needed to open it.
type Wanted struct {
	keychain.Ref
	Serial  keychain.Serial  `json:"serial"`
	Wrapped keychain.Wrapped `json:"wrapped"`
}

// SA is w as a device is told of it.
func (o Order) SA(w Wanted) keychain.SA {
	return keychain.SA{Link: o.Link, Ref: w.Ref, Serial: w.Serial, Turn: o.Turn}
}

// Observation is a node's last report about one link, as it stands in etcd.
type Observation struct {
	Site keychain.SiteID `json:"site"`
	Link keychain.LinkID `json:"link"`
	keychain.Report
	// Started lists the epochs that a counter-bound node has begun, or was about
	// to begin, to send with: written before it switches, so that a node that lost
	// its disk as well never sends with one of them again.
	Started []keychain.Epoch `json:"started,omitempty"`
	// Held are the keys that the node was ordered to have, until the trail has a receipt
	// that they are gone, which is written together with the report that leaves them out.
	Held []Held `json:"held,omitempty"`
	// Records go to the trail with the report, in its transaction. They are no part of what
	// stands in etcd as the report.
	Records []audit.Record `json:"-"`
}

// Held is a key that a node was ordered to have on one side or on both.
type Held struct {
	keychain.Ref
	Accepts bool `json:"accepts,omitempty"`
	Sends   bool `json:"sends,omitempty"`
}
