package frr

import (
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

const (
	// kind is what the topology calls such a device.
	kind = "frr"
	// daemon is the one that has the key chains and authenticates with them.
	daemon = "ospf6d"
	// DefaultTimeout is how long one run of vtysh may take unless the topology says
	// otherwise.
	DefaultTimeout = 10 * time.Second
	// acceptMany is how many keys a chain can have: as many as there are numbers.
	acceptMany = 255
)

// config is a device of kind frr as the topology declares it.
type config struct {
	vtysh     string
	pathspace string
	vtyDir    string
	timeout   time.Duration
	saved     string // the file that FRR starts from; empty: keys do not survive
	links     map[keychain.LinkID]chainConfig
}

// chainConfig is the key chain of one link.
type chainConfig struct {
	name      string
	algorithm string
	iface     string // that must authenticate with the chain; empty: not looked at
}

// word is what stands between two spaces in FRR's configuration.
var word = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9_.]*$`)

func read(fields map[string]any) (config, error) {
	r := params.Read(kind, fields)
	c := config{
		vtysh:     r.String("vtysh", "vtysh"),
		pathspace: r.String("pathspace", ""),
		vtyDir:    r.String("vtyDir", ""),
		timeout:   r.Duration("timeout", DefaultTimeout, time.Second, time.Hour),
		links:     make(map[keychain.LinkID]chainConfig),
	}
	persist := r.Bool("persist", true)
	if c.saved = r.String("config", filepath.Join("/etc/frr", c.pathspace, "frr.conf")); !persist {
		c.saved = ""
	}
	if c.vtysh == "" {
		r.Problem("vtysh", "the name of the program is empty")
	}
	if strings.ContainsRune(c.pathspace, '.') || c.pathspace != "" && !word.MatchString(c.pathspace) {
		r.Problem("pathspace", "%q is not what -N of the daemons takes: use letters, digits, '-' and '_'", c.pathspace)
	}
	if c.vtyDir != "" && !filepath.IsAbs(c.vtyDir) {
		r.Problem("vtyDir", "%q does not begin with /", c.vtyDir)
	}
	if persist && !filepath.IsAbs(c.saved) {
		r.Problem("config", "%q does not begin with /", c.saved)
	}
	owner := make(map[string]keychain.LinkID)
	r.Links(func(link keychain.LinkID, part *params.Reader) {
		l := readChain(link, part)
		if other, taken := owner[l.name]; taken {
			part.Problem("keychain", "link %s has key chain %s already: give each link a key chain of its own", other, l.name)
		}
		owner[l.name] = link
		c.links[link] = l
	})
	return c, r.Err()
}

func readChain(link keychain.LinkID, part *params.Reader) chainConfig {
	l := chainConfig{
		name:      part.String("keychain", string(link)),
		algorithm: part.Choice("algorithm", "hmac-sha-256", "hmac-sha-1", "hmac-sha-256", "hmac-sha-384", "hmac-sha-512"),
		iface:     part.String("interface", ""),
	}
	if !word.MatchString(l.name) {
		part.Problem("keychain", "%q is not the name of a key chain: use letters, digits, '-', '_' and '.'", l.name)
	}
	if strings.ContainsAny(l.iface, " \t\r\n") {
		part.Problem("interface", "%q is not the name of an interface", l.iface)
	}
	return l
}

func (c config) capabilities() keychain.Capabilities {
	return keychain.Capabilities{AcceptMany: acceptMany, SwitchSeparate: true, Survives: c.saved != ""}
}

// Capabilities is what a device with these fields can do. Errors: Invalid.
func Capabilities(fields map[string]any) (keychain.Capabilities, error) {
	c, err := read(fields)
	if err != nil {
		return keychain.Capabilities{}, err
	}
	return c.capabilities(), nil
}

// Part reports whether a node with these fields may take part in link as its
// sender, its receiver, or both. Errors: Invalid.
func Part(fields map[string]any, p keychain.Part) error {
	c, err := read(fields)
	if err != nil {
		return err
	}
	if _, ok := c.links[p.Link]; !ok {
		return params.NoLink(p.Link)
	}
	return params.BothSides(p, "a node of kind frr sends and accepts with one key chain")
}

// New is the driver of kind frr: the FRR of one node, as the topology declares
// it. It does not talk to it yet. Errors: Invalid.
func New(node keychain.NodeID, fields map[string]any) (*Device, error) {
	c, err := read(fields)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "device of %s", node)
	}
	return &Device{node: node, config: c}, nil
}
