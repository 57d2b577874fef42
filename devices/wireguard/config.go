package wireguard

import (
	"net/netip"
	"strings"
	"time"
	"unicode"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

const (
	// DefaultHandshakeTimeout is how long Switch waits for a handshake unless the
	// topology says otherwise.
	DefaultHandshakeTimeout = 10 * time.Second
	// leastHandshakeTimeout is longer than the 5 s after which WireGuard tries a
	// handshake again, with its jitter.
	leastHandshakeTimeout = 6 * time.Second
	// slotsOfLink is how many interfaces a link has: one for each key that stands
	// at once.
	slotsOfLink = 2
	// maxInterface is the longest name of an interface (IFNAMSIZ less the zero).
	maxInterface = 15
)

// config is a device of kind wireguard as the topology declares it.
type config struct {
	netns string // name or path; empty: that of the agent
	links map[keychain.LinkID]linkConfig
}

// linkConfig is what the device knows of one link.
type linkConfig struct {
	interfaces [slotsOfLink]string
	peer       wgtypes.Key
	routes     []netip.Prefix // empty: the node does not send
	source     netip.Addr     // of the routes; may be invalid: the kernel chooses
	timeout    time.Duration
}

func read(fields map[string]any) (config, error) {
	r := params.Read("wireguard", fields)
	c := config{netns: r.String("netns", ""), links: map[keychain.LinkID]linkConfig{}}
	if strings.ContainsRune(c.netns, 0) || !strings.HasPrefix(c.netns, "/") && strings.Contains(c.netns, "/") {
		r.Problem("netns", `%q is neither the name of a namespace, such as "blue", nor a path that begins with "/"`, c.netns)
	}
	owner := map[string]keychain.LinkID{}
	r.Links(func(link keychain.LinkID, part *params.Reader) {
		l := readLink(part)
		for _, name := range l.interfaces {
			if other, taken := owner[name]; taken && name != "" && other != link {
				part.Problem("interfaces", "%s belongs to link %s already: every link needs two interfaces of its own", name, other)
			}
			owner[name] = link
		}
		c.links[link] = l
	})
	return c, r.Err()
}

func readLink(r *params.Reader) linkConfig {
	l := linkConfig{timeout: r.Duration("handshakeTimeout", DefaultHandshakeTimeout, leastHandshakeTimeout, 10*time.Minute)}
	names := r.Strings("interfaces")
	switch {
	case len(names) != slotsOfLink:
		r.Problem("interfaces", "there are %d: give the two WireGuard interfaces of the link, such as [wg0a, wg0b], in the same order at both ends", len(names))
	case names[0] == names[1]:
		r.Problem("interfaces", "%q stands there twice: old and new key need an interface each", names[0])
	default:
		copy(l.interfaces[:], names)
	}
	for _, name := range names {
		if !validInterface(name) {
			r.Problem("interfaces", "%q is not the name of an interface", name)
		}
	}
	if text := r.Required("peer", "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="); text != "" {
		key, err := wgtypes.ParseKey(text)
		if err != nil {
			r.Problem("peer", `it is not a public key: give what "wg pubkey" or "wg show" says, 44 characters that end in "="`)
		}
		l.peer = key
	}
	if text := r.String("source", ""); text != "" {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			r.Problem("source", "%q is not an address, such as 10.2.0.1", text)
		}
		l.source = addr
	}
	l.routes = readRoutes(r, l.source)
	return l
}

func readRoutes(r *params.Reader, source netip.Addr) []netip.Prefix {
	var routes []netip.Prefix
	for _, text := range r.Strings("routes") {
		p, err := netip.ParsePrefix(text)
		switch {
		case err != nil:
			r.Problem("routes", "%q is not a prefix, such as 10.2.0.2/32", text)
		case p != p.Masked():
			r.Problem("routes", "%s has bits set after its length: write %s", p, p.Masked())
		case p.Bits() == 0:
			r.Problem("routes", "%s is the default route: give two halves, such as 0.0.0.0/1 and 128.0.0.0/1", p)
		case source.IsValid() && source.Is4() != p.Addr().Is4():
			r.Problem("source", "%s is not of the family of route %s", source, p)
		default:
			routes = append(routes, p)
		}
	}
	return routes
}

// validInterface is what the kernel takes for a name (dev_valid_name).
func validInterface(name string) bool {
	return name != "" && len(name) <= maxInterface && name != "." && name != ".." &&
		!strings.ContainsFunc(name, func(r rune) bool { return r == '/' || r == ':' || r == 0 || unicode.IsSpace(r) })
}

// Capabilities is what a device with these fields can do. Errors: Invalid.
func Capabilities(fields map[string]any) (keychain.Capabilities, error) {
	if _, err := read(fields); err != nil {
		return keychain.Capabilities{}, err
	}
	return capabilities(), nil
}

// capabilities are the same for every device: two slots, a route apart from them,
// keys in the memory of the kernel or of wireguard-go, and no counter under a PSK.
func capabilities() keychain.Capabilities {
	return keychain.Capabilities{AcceptMany: slotsOfLink, SwitchSeparate: true}
}

// Part says why a node with these fields cannot take part in link as it should,
// or nil. Errors: Invalid.
func Part(fields map[string]any, p keychain.Part) error {
	c, err := read(fields)
	if err != nil {
		return err
	}
	l, ok := c.links[p.Link]
	if !ok {
		return params.NoLink(p.Link)
	}
	if p.Sends && len(l.routes) == 0 {
		return noRoutes(p.Link)
	}
	return params.Pair(p)
}

func noRoutes(link keychain.LinkID) error {
	return fault.New(fault.Invalid, "the device has no routes for link %s, and sending is switched by them: add device.links.%s.routes, such as [10.2.0.2/32]", link, link)
}

// New is the driver of kind wireguard: the device of one node, as the topology
// declares it. It does no I/O. Errors: Invalid.
func New(node keychain.NodeID, fields map[string]any) (*Device, error) {
	c, err := read(fields)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "device of %s", node)
	}
	return &Device{node: node, config: c, open: func() (system, error) { return openHost(c.netns) }}, nil
}
