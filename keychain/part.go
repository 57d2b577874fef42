package keychain

// Part is the part that one node plays in one link: what a kind of device is asked
// whether it can play it.
type Part struct {
	Link    LinkID
	Sends   bool // it is an upstream node
	Accepts bool // it is a downstream node
	// OtherSenders is how many other nodes are upstream, and Nodes how many there
	// are in all, each counted once.
	OtherSenders, Nodes int
}
