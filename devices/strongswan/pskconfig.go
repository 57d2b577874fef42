package strongswan

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"regexp"
	"strings"

	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/keychain"
)

// pskConfig is one link in mode psk. The connection of its tunnel is the
// operator's, at both ends.
type pskConfig struct {
	// local and remote are the IKE identities that own the key.
	local, remote string
	// connection is how the peer is reached for the probe.
	connection section
	// ike and child name the operator's tunnel that is kept up and gets new traffic
	// keys; empty when keyorch is not to touch it.
	ike, child string
}

// fixedProbe is what the probe's connections always have: an IKE SA without
// children, which touches no traffic, never ends another one, and is not kept.
func fixedProbe() map[string]string {
	return map[string]string{"version": "2", "unique": "never", "keyingtries": "1", "childless": "allow"}
}

func readPSK(part *params.Reader) pskConfig {
	const field = "connection"
	c := pskConfig{
		local:      readIdentity(part, "localID", "branch.example"),
		remote:     readIdentity(part, "remoteID", "hub.example"),
		connection: convert(part, field, part.Map(field)),
		ike:        part.String("ike", ""),
		child:      part.String("child", ""),
	}
	if c.local != "" && c.local == c.remote {
		part.Problem("remoteID", "it is the localID as well: the two ends need two identities")
	}
	if (c.ike == "") != (c.child == "") {
		part.Problem("child", "give ike and child, the names of your connection and of its child, or neither")
	}
	c.connection.fix(part, field, fixedProbe())
	c.connection.complete(part, field)
	for _, name := range []string{"local", "remote", "children", "ppk_id", "ppk_required", "pools", "vips"} {
		if c.connection[name] != nil {
			part.Problem(field+"."+name, "the connection of the probe has none: leave it out")
		}
	}
	return c
}

// identity is what an IKE identity looks like that charon reads as a name or as an
// address of mail, and in which nothing is a pattern.
var identity = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*(@[a-z0-9._-]+)?$`)

// maxIdentity is longer than any name of a host.
const maxIdentity = 255

// readIdentity reads an IKE identity, in the one form that is compared.
func readIdentity(part *params.Reader, field, example string) string {
	id := strings.ToLower(part.Required(field, example))
	if a, err := netip.ParseAddr(id); err == nil && a.Zone() == "" {
		return a.String()
	}
	if id != "" && (len(id) > maxIdentity || !identity.MatchString(id)) {
		part.Problem(field, "it is not a name such as %s, nor an address of mail, nor an IP address", example)
		return ""
	}
	return id
}

// checkOwners notes an identity that another link has. charon tries every secret
// that one of the two identities owns: with one identity on two links, the peer of
// the one could pass for the peer of the other.
func (c config) checkOwners(part *params.Reader, p pskConfig) {
	for link, l := range c.links {
		switch {
		case l.psk == nil:
		case p.local != "" && l.psk.local == p.local:
			part.Problem("localID", "link %s has it too: charon would accept the key of each link for the other, so give each an identity of its own", link)
		case p.remote != "" && l.psk.remote == p.remote:
			part.Problem("remoteID", "link %s has it too: charon would accept the key of each link for the other, so give each an identity of its own", link)
		}
	}
}

// probeID is the identity that the end with identity id has in a probe of r. It is
// of this key alone, so that a probe shows that the peer holds this one, and the
// same at both ends only when they agree on their identities. An r of zero makes
// the pattern for all keys.
func probeID(link keychain.LinkID, r keychain.Ref, id string) string {
	first := "*"
	if !r.IsZero() {
		first = keying.Label(r)
	}
	sum := sha256.Sum256([]byte(id))
	return first + "." + hex.EncodeToString(sum[:8]) + "." + string(link) + ".keyorch"
}

// probe is a connection for probes of r, or of zero to answer them.
func (c pskConfig) probe(link keychain.LinkID, r keychain.Ref) section {
	s := make(section, len(c.connection)+2)
	for name, value := range c.connection {
		s[name] = value
	}
	if !r.IsZero() {
		s["childless"] = "force"
	}
	s["local"] = section{"auth": "psk", "id": probeID(link, r, c.local)}
	s["remote"] = section{"auth": "psk", "id": probeID(link, r, c.remote)}
	return s
}
