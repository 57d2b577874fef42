package strongswan

import (
	"time"

	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

const (
	// DefaultSocket is where charon listens unless the topology says otherwise.
	DefaultSocket = "/run/charon.vici"
	// DefaultTimeout is how long one answer of charon may take unless the topology
	// says otherwise, the establishment of an SA included.
	DefaultTimeout = 10 * time.Second
	// DefaultOverlap is how long the SAs before a switch stay unless the topology
	// says otherwise.
	DefaultOverlap = time.Second
)

// acceptMany is how many keys a responder is taken to hold at once. charon has no
// limit of its own.
const acceptMany = 256

// config is a device of kind strongswan as the topology declares it.
type config struct {
	charon
	links map[keychain.LinkID]linkConfig
}

// The modes of a link: which kind of key it rotates.
const (
	modePPK = "ppk"
	modePSK = "psk"
)

// linkConfig is one link of the device, in mode ppk.
type linkConfig struct {
	// connection is what the initiator uses; nil at the responder, whose connection
	// is the operator's.
	connection section
	// overlap is how long what was sent under the old key may be under way.
	overlap time.Duration
	// psk is set in mode psk, and then it is all there is.
	psk *pskConfig
}

func read(fields map[string]any) (config, error) {
	r := params.Read("strongswan", fields)
	c := config{
		charon: charon{
			socket:  r.String("socket", DefaultSocket),
			timeout: r.Duration("timeout", DefaultTimeout, time.Second, time.Minute),

			establishing: newLane(), ending: newLane(),
		},
		links: make(map[keychain.LinkID]linkConfig),
	}
	if c.socket == "" {
		r.Problem("socket", "it is empty: give the path of charon's VICI socket, or leave it out for %s", DefaultSocket)
	}
	r.Links(func(link keychain.LinkID, part *params.Reader) {
		if part.Choice("mode", modePPK, modePPK, modePSK) == modePSK {
			psk := readPSK(part)
			c.checkOwners(part, psk)
			c.links[link] = linkConfig{psk: &psk}
			return
		}
		c.links[link] = linkConfig{
			connection: readConnection(part),
			overlap:    part.Duration("overlap", DefaultOverlap, 0, time.Minute),
		}
	})
	return c, r.Err()
}

// Capabilities is what a device with these fields can do. Errors: Invalid.
func Capabilities(fields map[string]any) (keychain.Capabilities, error) {
	if _, err := read(fields); err != nil {
		return keychain.Capabilities{}, err
	}
	return capabilities(), nil
}

func capabilities() keychain.Capabilities {
	return keychain.Capabilities{AcceptMany: acceptMany, SwitchSeparate: true}
}

// Part says why a node with these fields cannot stand on its sides of link, or is
// nil. Errors: Invalid.
func Part(fields map[string]any, p keychain.Part) error {
	c, err := read(fields)
	if err != nil {
		return err
	}
	l, ok := c.links[p.Link]
	switch {
	case !ok:
		return params.NoLink(p.Link)
	case l.psk != nil && !(p.Sends && p.Accepts):
		return params.BothSides(p, "in mode psk both ends sign with the key and verify with it")
	case l.psk != nil:
		return params.Pair(p)
	case p.Sends && p.Accepts:
		return fault.New(fault.Invalid, "a strongswan node cannot stand on both sides of link %s in mode ppk: the upstream node initiates the tunnel, another one responds", p.Link)
	case p.Sends && l.connection == nil:
		return fault.New(fault.Invalid, "the node initiates the tunnel of link %s: give its connection under device.links.%s.connection", p.Link, p.Link)
	case p.Accepts && l.connection != nil:
		return fault.New(fault.Invalid, "the node responds on link %s, with the connection in its swanctl.conf: leave out device.links.%s.connection", p.Link, p.Link)
	}
	return params.Pair(p)
}

// New is the driver of kind strongswan: the device of one node, as the topology
// declares it. It does no I/O. Errors: Invalid.
func New(node keychain.NodeID, fields map[string]any) (*Device, error) {
	c, err := read(fields)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "device of %s", node)
	}
	return &Device{config: c, node: node}, nil
}
