package xfrm

import (
	"net/netip"
	"strings"

	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

const (
	kind = "xfrm"

	// defaultWindow is how many packets may overtake each other and still count as
	// new, and maxWindow is the most that a kernel keeps book of.
	defaultWindow = 128
	maxWindow     = 4096

	tunnel    = "tunnel"
	transport = "transport"

	defaultKeyBits = "256"
)

// config is a device of kind xfrm as the topology declares it.
type config struct {
	netns string // name or path; empty: that of the agent
	links map[keychain.LinkID]part
}

// part is the parameters of one link.
type part struct {
	local, remote       netip.Addr   // the ends of the tunnel
	localNet, remoteNet netip.Prefix // what goes through it
	transport           bool         // no tunnel
	keySize             int          // of AES, in bytes
	window              int
}

func read(fields map[string]any) (config, error) {
	r := params.Read(kind, fields)
	c := config{netns: r.String("netns", ""), links: map[keychain.LinkID]part{}}
	if strings.ContainsRune(c.netns, 0) || !strings.HasPrefix(c.netns, "/") && strings.Contains(c.netns, "/") {
		r.Problem("netns", `%q is neither the name of a namespace, such as "blue", nor a path that begins with "/"`, c.netns)
	}
	r.Links(func(link keychain.LinkID, fields *params.Reader) { c.links[link] = readPart(fields) })
	return c, r.Err()
}

func readPart(r *params.Reader) part {
	p := part{
		local:     address(r, "local", "192.0.2.1"),
		remote:    address(r, "remote", "192.0.2.2"),
		transport: r.Choice("mode", tunnel, tunnel, transport) == transport,
		keySize:   256 / 8,
		window:    r.Int("replayWindow", defaultWindow, 1, maxWindow),
	}
	if r.Choice("keyBits", defaultKeyBits, "128", defaultKeyBits) == "128" {
		p.keySize = 128 / 8
	}
	p.localNet, p.remoteNet = network(r, "localNet", p.local), network(r, "remoteNet", p.remote)
	switch {
	case !p.local.IsValid() || !p.remote.IsValid():
	case p.local == p.remote:
		r.Problem("remote", "it is the same address as local")
	case p.local.Is4() != p.remote.Is4():
		r.Problem("remote", "%v and %v are not of the same IP version", p.local, p.remote)
	case p.transport && (p.localNet != host(p.local) || p.remoteNet != host(p.remote)):
		r.Problem("mode", "in transport mode nothing but the traffic between local and remote is protected: leave out localNet and remoteNet")
	}
	if p.localNet.IsValid() && p.remoteNet.IsValid() && p.localNet.Addr().Is4() != p.remoteNet.Addr().Is4() {
		r.Problem("remoteNet", "%v and %v are not of the same IP version", p.localNet, p.remoteNet)
	}
	return p
}

// address reads the address of one host.
func address(r *params.Reader, name, example string) netip.Addr {
	text := r.Required(name, example)
	if text == "" {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() || a.Is4In6() {
		r.Problem(name, "%q is not the address of a host, such as %q", text, example)
		return netip.Addr{}
	}
	return a
}

// network reads a network; it is that of the host end unless it is given.
func network(r *params.Reader, name string, end netip.Addr) netip.Prefix {
	text := r.String(name, "")
	if text == "" {
		return host(end)
	}
	n, err := netip.ParsePrefix(text)
	switch {
	case err != nil || n.Addr().Is4In6():
		r.Problem(name, `%q is not a network, such as "10.1.0.0/16"`, text)
		return netip.Prefix{}
	case n != n.Masked():
		r.Problem(name, "%v has bits set after its length: is %v meant?", n, n.Masked())
	}
	return n
}

func host(a netip.Addr) netip.Prefix {
	if !a.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, a.BitLen())
}

// capabilities is what the kernel can do. It bounds the number of SAs by memory
// only.
func capabilities() keychain.Capabilities {
	return keychain.Capabilities{AcceptMany: 256, SwitchSeparate: true, CounterBound: true}
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
	if _, err := c.part(p.Link); err != nil {
		return err
	}
	if p.Sends && p.Accepts {
		return fault.New(fault.Invalid, "a device of kind xfrm cannot send and accept on one link, since two senders under one key would repeat its nonces: declare a link for each direction")
	}
	return params.Pair(p)
}

// part is the parameters of link.
func (c config) part(link keychain.LinkID) (part, error) {
	p, ok := c.links[link]
	if !ok {
		return part{}, params.NoLink(link)
	}
	return p, nil
}
