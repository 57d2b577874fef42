package bird

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

const (
	// DefaultSocket is the control socket of Debian's package.
	DefaultSocket = "/run/bird/bird.ctl"
	// DefaultDirectory is where the included files are unless the topology says
	// otherwise.
	DefaultDirectory = "/etc/bird/keyorch"
	// DefaultTimeout is after how long BIRD undoes a change that was not confirmed.
	DefaultTimeout = 10 * time.Second

	minTimeout, maxTimeout = 3 * time.Second, 4 * time.Minute

	// acceptMany is how many keys one link may have at once. BIRD has no limit of
	// its own short of 255 key ids.
	acceptMany = 16

	ospf = "ospf"
	bfd  = "bfd"
)

// algorithms are those that BIRD has for OSPFv2.
func algorithms() []string {
	return []string{"hmac sha256", "hmac sha384", "hmac sha512", "hmac sha1", "keyed md5"}
}

// config is a device of kind bird as the topology declares it.
type config struct {
	socket    string
	directory string
	timeout   time.Duration
	links     map[keychain.LinkID]segment
}

// segment is what one link is on this node: the interfaces that share its key.
type segment struct {
	link       keychain.LinkID
	protocols  []string
	algorithm  string
	interfaces []string // nil: all that the daemon has
}

func read(fields map[string]any) (config, error) {
	r := params.Read("bird", fields)
	c := config{
		socket:    r.String("socket", DefaultSocket),
		directory: r.String("directory", DefaultDirectory),
		timeout:   r.Duration("timeout", DefaultTimeout, minTimeout, maxTimeout),
		links:     make(map[keychain.LinkID]segment),
	}
	for name, path := range map[string]string{"socket": c.socket, "directory": c.directory} {
		if !filepath.IsAbs(path) || strings.ContainsAny(path, "\"\n") {
			r.Problem(name, "%q is not an absolute path that BIRD can read", path)
		}
	}
	r.Links(func(link keychain.LinkID, part *params.Reader) {
		s := segment{
			link:       link,
			protocols:  part.Strings("protocols"),
			algorithm:  part.Choice("algorithm", algorithms()[0], algorithms()...),
			interfaces: part.Strings("interfaces"),
		}
		for _, p := range s.protocols {
			if p != ospf && p != bfd {
				part.Problem("protocols", "%q is not one of %s, %s", p, ospf, bfd)
			}
		}
		if s.protocols == nil {
			s.protocols = []string{ospf, bfd}
		} else if len(s.protocols) == 0 {
			part.Problem("protocols", "the list is empty: give %s, %s or both", ospf, bfd)
		}
		if slices.Contains(s.interfaces, "") {
			part.Problem("interfaces", "the name of an interface is empty")
		}
		c.links[link] = s
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
	return keychain.Capabilities{AcceptMany: acceptMany, SwitchSeparate: true, Survives: true}
}

// Part refuses a link that the device has no parameters for, and one on which the
// node stands on one side only: routers of a segment hear each other. Errors:
// Invalid.
func Part(fields map[string]any, p keychain.Part) error {
	c, err := read(fields)
	if err != nil {
		return err
	}
	if _, ok := c.links[p.Link]; !ok {
		return params.NoLink(p.Link)
	}
	return params.BothSides(p, "a node of kind bird sends and accepts")
}

// New is the driver of kind bird: the BIRD of one node, as the topology declares
// it. It does no I/O. Errors: Invalid.
func New(node keychain.NodeID, fields map[string]any) (*Device, error) {
	c, err := read(fields)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "device of %s", node)
	}
	return &Device{config: c, node: node}, nil
}

// uses reports whether the link's key is one of this protocol too.
func (s segment) uses(protocol string) bool { return slices.Contains(s.protocols, protocol) }

// watches reports whether the neighbours on an interface belong to the link.
func (s segment) watches(iface string) bool {
	return len(s.interfaces) == 0 || slices.Contains(s.interfaces, iface)
}

// maxInSymbol is how much of a link's name fits into a symbol: BIRD takes 63
// characters, and "keyorch_" goes before it and a tag after it.
const maxInSymbol = 45

// symbol is the constant that says which keys BIRD has loaded for the link. Two
// links have two symbols: names have no '_', and a name that is cut ends in a
// digest.
func (s segment) symbol() string {
	name := string(s.link)
	if len(name) > maxInSymbol {
		sum := sha256.Sum256([]byte(name))
		name = name[:maxInSymbol-9] + "_" + hex.EncodeToString(sum[:4])
	}
	return "keyorch_" + strings.ReplaceAll(name, "-", "_")
}
