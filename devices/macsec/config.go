package macsec

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/keyorch/keyorch/devices/macsec/secy"
	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

const (
	kind = "macsec"
	// defaultPort is the port of an SCI that Linux gives to an interface unless told
	// otherwise (MACSEC_PORT_ES).
	defaultPort = 1
	// maxInterface is the longest name of an interface (IFNAMSIZ, less the zero).
	maxInterface = 15

	exampleInterface = "macsec0"
	exampleMAC       = "02:00:00:00:00:0b"
)

// config is a device of kind macsec as the topology declares it.
type config struct {
	netns string
	links map[keychain.LinkID]part
}

// part is the parameters of one link.
type part struct {
	iface string
	mac   net.HardwareAddr // of the peer that is received from; nil for none
	port  uint16           // of that peer
}

func (p part) peer() secy.SCI { return secy.NewSCI(p.mac, p.port) }

func read(fields map[string]any) (config, error) {
	r := params.Read(kind, fields)
	c := config{netns: r.String("netns", ""), links: map[keychain.LinkID]part{}}
	if c.netns != "" && !namesNamespace(c.netns) {
		r.Problem("netns", `%q is neither the name of a network namespace nor an absolute path`, c.netns)
	}
	r.Links(func(link keychain.LinkID, fields *params.Reader) {
		p := part{iface: fields.Required("interface", exampleInterface)}
		if p.iface != "" && !namesInterface(p.iface) {
			fields.Problem("interface", "%q cannot be the name of an interface", p.iface)
		}
		if text := fields.String("peer", ""); text != "" {
			mac, err := net.ParseMAC(text)
			if err != nil || !sends(mac) {
				fields.Problem("peer", "%q is not the MAC address of a sender, such as %q", text, exampleMAC)
			}
			p.mac = mac
		}
		p.port = uint16(fields.Int("peerPort", defaultPort, 1, 1<<16-1))
		c.links[link] = p
	})
	for _, at := range slices.Sorted(maps.Keys(c.links)) {
		p := c.links[at]
		for other, o := range c.links {
			if at < other && p.mac != nil && o.mac != nil && p.iface == o.iface && p.peer() == o.peer() {
				r.Problem("links."+string(other)+".peer", "link %s has that peer on %s already: an interface receives one link from each peer", at, p.iface)
			}
		}
	}
	return c, r.Err()
}

// sends says whether mac can be where frames come from.
func sends(mac net.HardwareAddr) bool {
	return len(mac) == 6 && mac[0]&1 == 0 && slices.ContainsFunc(mac, func(b byte) bool { return b != 0 })
}

func namesNamespace(s string) bool {
	if strings.HasPrefix(s, "/") {
		return !strings.ContainsRune(s, 0)
	}
	return s != "." && s != ".." && !strings.ContainsAny(s, "/\x00")
}

func namesInterface(s string) bool {
	return len(s) <= maxInterface && s != "." && s != ".." && !strings.ContainsAny(s, "/: \t\n\x00")
}

// capabilities is what every MACsec interface of Linux can do.
func capabilities() keychain.Capabilities {
	return keychain.Capabilities{AcceptMany: secy.ANs, SwitchSeparate: true, CounterBound: true}
}

// Capabilities is what a device with these fields can do. Errors: Invalid.
func Capabilities(fields map[string]any) (keychain.Capabilities, error) {
	if _, err := read(fields); err != nil {
		return keychain.Capabilities{}, err
	}
	return capabilities(), nil
}

// Part says why a node with these fields cannot take part in link as a sender, a
// receiver or both; nil when it can. Errors: Invalid.
func Part(fields map[string]any, p keychain.Part) error {
	c, err := read(fields)
	if err != nil {
		return err
	}
	own, ok := c.links[p.Link]
	switch {
	case !ok:
		return params.NoLink(p.Link)
	case p.Accepts && own.mac == nil:
		return noPeer(p.Link)
	case p.Accepts && p.OtherSenders > 1:
		return fault.New(fault.Invalid, "link %s has %d other upstream nodes, and the device listens to one peer on a link: declare a link for each sender", p.Link, p.OtherSenders)
	case !p.Sends:
		return nil
	}
	for _, other := range slices.Sorted(maps.Keys(c.links)) {
		// Whoever has no peer sends, and an interface sends with one key.
		if o := c.links[other]; other != p.Link && o.iface == own.iface && o.mac == nil {
			return fault.New(fault.Invalid, "links.%s.interface: link %s sends on %s too, and an interface sends on one link", p.Link, other, own.iface)
		}
	}
	return nil
}

// noPeer is that a link cannot be received.
func noPeer(link keychain.LinkID) error {
	return fault.New(fault.Invalid, "links.%s.peer: it is missing: the node accepts on this link, so give the MAC address of the sender, such as %q", link, exampleMAC)
}

// part is the parameters of link.
func (c config) part(link keychain.LinkID) (part, error) {
	p, ok := c.links[link]
	if !ok {
		return part{}, params.NoLink(link)
	}
	return p, nil
}

// place is the interface of p as messages call it.
func (c config) place(p part) string {
	if c.netns == "" {
		return p.iface
	}
	return fmt.Sprintf("%s in %s", p.iface, c.netns)
}
