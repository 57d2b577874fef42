package netconf

import (
	"net"
	"strings"
	"time"

	"github.com/keyorch/keyorch/devices/netconf/client"
	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

const (
	defaultPort    = "830" // RFC 6242, section 6
	defaultTimeout = 30 * time.Second
	defaultConfirm = 30 * time.Second

	// acceptMany is how many key-ids there are for the keys of one link.
	acceptMany = 255

	keystring   = "keystring"
	hexadecimal = "hexadecimal-string"
)

// config is a device of kind netconf as the topology declares it.
type config struct {
	target  client.Target
	timeout time.Duration // of one operation
	confirm time.Duration // how long the device waits for a commit to be confirmed
	links   map[keychain.LinkID]link
}

// link is what one link is on the device.
type link struct {
	chain     string // the name of the key chain
	module    string // of the algorithm's identity
	algorithm string // the identity without a prefix
	format    string // keystring or hexadecimal
}

func read(fields map[string]any) (config, error) {
	r := params.Read("netconf", fields)
	c := config{
		target: client.Target{
			Address:  address(r),
			User:     r.Required("user", "keyorch"),
			Identity: r.Required("identity", "/etc/keyorch/dc2-r1.key"),
		},
		timeout: r.Duration("timeout", defaultTimeout, time.Second, 10*time.Minute),
		confirm: r.Duration("confirmTimeout", defaultConfirm, time.Second, 10*time.Minute),
		links:   map[keychain.LinkID]link{},
	}
	if s := r.Required("hostKey", "SHA256:…"); s != "" {
		key, err := client.ParseHostKey(s)
		if err != nil {
			r.Problem("hostKey", "%v", err)
		}
		c.target.HostKey = key
	}
	taken := map[string]keychain.LinkID{}
	r.Links(func(id keychain.LinkID, part *params.Reader) {
		l := link{
			chain:  part.Required("keychain", "ospf-area-0"),
			format: part.Choice("keyFormat", keystring, keystring, hexadecimal),
		}
		l.module, l.algorithm = identity(part)
		if other, ok := taken[l.chain]; ok && l.chain != "" {
			part.Problem("keychain", "link %s has key chain %s already: each link needs its own", other, l.chain)
		}
		taken[l.chain] = id
		c.links[id] = l
	})
	return c, r.Err()
}

// address is host:port.
func address(r *params.Reader) string {
	s := r.Required("address", "192.0.2.1:830")
	if s == "" {
		return ""
	}
	if _, _, err := net.SplitHostPort(s); err == nil {
		return s
	}
	host := strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	if strings.Contains(host, ":") && net.ParseIP(host) == nil {
		r.Problem("address", "%q is not host:port, such as \"192.0.2.1:830\" or \"[2001:db8::1]:830\"", s)
	}
	return net.JoinHostPort(host, defaultPort)
}

// identity is the module and the name of the algorithm: "hmac-sha-256", or
// "vendor-module:algorithm".
func identity(part *params.Reader) (module, name string) {
	s := part.String("algorithm", "hmac-sha-256")
	module, name, found := strings.Cut(s, ":")
	if !found {
		module, name = module8177, s
	}
	if !isName(module) || !isName(name) {
		part.Problem("algorithm", "%q is not an identity of YANG, such as hmac-sha-256 or vendor-module:algorithm", s)
	}
	return module, name
}

// isName reports whether s is an identifier of YANG (RFC 7950, section 6.2).
func isName(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || !(r == '-' || r == '.' || r >= '0' && r <= '9')) {
			return false
		}
	}
	return s != ""
}

// Capabilities is what a device with these fields can do. Whether it really has
// the feature that staging needs is seen in every session, before a change, and
// by Check. Errors: Invalid.
func Capabilities(fields map[string]any) (keychain.Capabilities, error) {
	if _, err := read(fields); err != nil {
		return keychain.Capabilities{}, err
	}
	return capabilities(), nil
}

func capabilities() keychain.Capabilities {
	return keychain.Capabilities{AcceptMany: acceptMany, SwitchSeparate: true, Survives: true}
}

// Part says why a device with these fields cannot take part in link. It may stand
// on either side, or on both. Errors: Invalid.
func Part(fields map[string]any, p keychain.Part) error {
	c, err := read(fields)
	if err != nil {
		return err
	}
	if _, ok := c.links[p.Link]; !ok {
		return params.NoLink(p.Link)
	}
	return nil
}

// New is the driver of kind netconf: the device of one node, as the topology
// declares it. It connects to nothing yet. Errors: Invalid.
func New(node keychain.NodeID, fields map[string]any) (*Device, error) {
	c, err := read(fields)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "device of %s", node)
	}
	return &Device{config: c, node: node, patience: defaultPatience, waiting: map[string]waiting{}}, nil
}
