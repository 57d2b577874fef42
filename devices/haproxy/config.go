package haproxy

import (
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

const (
	// DefaultMaster is the master's socket in Debian's package.
	DefaultMaster = "/run/haproxy-master.sock"
	// DefaultTimeout is how long one operation may take, a reload included, unless
	// the topology says otherwise.
	DefaultTimeout = 30 * time.Second
)

// config is a device of kind haproxy as the topology declares it.
type config struct {
	master  string
	timeout time.Duration
	links   map[keychain.LinkID]shared
}

// shared is what one link is on this node: a ring of ticket keys.
type shared struct {
	ring       string // as HAProxy calls it: the file name on the bind line
	file       string // where that file is for us
	group      string // that may read the file; empty: none
	probe      string // host:port to take a ticket from; empty: nowhere
	serverName string
}

func read(fields map[string]any) (config, error) {
	r := params.Read("haproxy", fields)
	c := config{
		master:  r.String("master", DefaultMaster),
		timeout: r.Duration("timeout", DefaultTimeout, time.Second, time.Hour),
		links:   make(map[keychain.LinkID]shared),
	}
	if !plainPath(c.master) {
		r.Problem("master", "%q is not an absolute path without spaces, such as %q", c.master, DefaultMaster)
	}
	rings, files := make(map[string]keychain.LinkID), make(map[string]keychain.LinkID)
	r.Links(func(link keychain.LinkID, part *params.Reader) {
		s := shared{file: part.Required("keyFile", "/etc/haproxy/ticket-keys/"+string(link)), group: part.String("group", ""), probe: part.String("probe", "")}
		s.ring = part.String("ring", s.file)
		s.serverName = part.String("serverName", "")
		if s.file != "" && !plainPath(s.file) {
			part.Problem("keyFile", "%q is not an absolute path without spaces", s.file)
		} else if s.ring == "" || !plain(s.ring) || strings.HasPrefix(s.ring, "#") {
			part.Problem("ring", `%q is not the name of a file, as "show tls-keys" shows it in brackets`, s.ring)
		}
		if s.probe != "" && !address(s.probe) {
			part.Problem("probe", `%q is not an address with a port, such as "127.0.0.1:443"`, s.probe)
		}
		if s.serverName != "" && s.probe == "" {
			part.Problem("serverName", "it is for a probe, and there is none: add probe, such as %q", "127.0.0.1:443")
		}
		if other, ok := files[s.file]; ok && s.file != "" {
			part.Problem("keyFile", "link %s has the same: each link has a ring of its own", other)
		} else if other, ok := rings[s.ring]; ok && s.ring != "" {
			part.Problem("ring", "link %s has the same: each link has a ring of its own", other)
		}
		files[s.file], rings[s.ring] = link, link
		c.links[link] = s
	})
	return c, r.Err()
}

// plain reports whether a word goes over HAProxy's command line as it is.
func plain(word string) bool {
	return !strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`\;'"`, r) })
}

func plainPath(path string) bool {
	return filepath.IsAbs(path) && filepath.Clean(path) == path && plain(path)
}

func address(s string) bool {
	host, port, err := net.SplitHostPort(s)
	n, bad := strconv.ParseUint(port, 10, 16)
	return err == nil && bad == nil && host != "" && n > 0
}

// Capabilities is what a device with these fields can do. Errors: Invalid.
func Capabilities(fields map[string]any) (keychain.Capabilities, error) {
	if _, err := read(fields); err != nil {
		return keychain.Capabilities{}, err
	}
	return capabilities(), nil
}

// acceptMany is how many keys pushes alone can keep apart. A ring has room for one
// more, which only a reload can use.
const acceptMany = 2

func capabilities() keychain.Capabilities {
	return keychain.Capabilities{AcceptMany: acceptMany, SwitchSeparate: true, Survives: true}
}

// Part refuses a link that the device has no parameters for, and one on which the
// node stands on one side only: who seals tickets opens those of the others.
// Errors: Invalid.
func Part(fields map[string]any, p keychain.Part) error {
	c, err := read(fields)
	if err != nil {
		return err
	}
	if _, ok := c.links[p.Link]; !ok {
		return params.NoLink(p.Link)
	}
	return params.BothSides(p, "a node of kind haproxy issues tickets and opens those of the others")
}

// New is the driver of kind haproxy: the HAProxy of one node, as the topology
// declares it. It does no I/O. Errors: Invalid.
func New(node keychain.NodeID, fields map[string]any) (*Device, error) {
	c, err := read(fields)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "device of %s", node)
	}
	return &Device{config: c, node: node}, nil
}
