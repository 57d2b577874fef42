package wireguard

import (
	"net/netip"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// system is what the driver needs of the host. It is told about interfaces by
// name, and every call reads or changes what is there now.
type system interface {
	// Interface reads one interface; one that does not exist is no error.
	Interface(name string) (netif, error)
	Up(name string) error
	Down(name string) error
	Alias(name, text string) error
	// Peer reads one peer of an interface; that it or the interface does not exist
	// is no error.
	Peer(name string, key wgtypes.Key) (peer, error)
	// Set changes peers of an interface, all in one request.
	Set(name string, changes ...wgtypes.PeerConfig) error
	// Route is the name of the interface to which the route to dst leads; empty for
	// none, and for one that leads nowhere.
	Route(dst netip.Prefix) (string, error)
	// Lead makes the route to dst lead to an interface; to nowhere without a name.
	Lead(dst netip.Prefix, name string, source netip.Addr) error
	Close()
}

// netif is an interface of the host.
type netif struct {
	exists bool
	up     bool
	alias  string
}
