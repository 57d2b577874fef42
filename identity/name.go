package identity

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// Role is what an identity is for, and so what it may do.
type Role string

// The roles.
const (
	Admin    Role = "root"             // sets servers up, enrols and revokes; etcd's own name for it
	Worker   Role = "keyorch-worker"   // drives rotations: mints keys, opens none
	Operator Role = "keyorch-operator" // declares the topology, and reads
	Auditor  Role = "keyorch-auditor"  // reads
	Agent    Role = "keyorch-agent"    // serves the nodes of one site, or one of them
)

// maxCommonName is the longest common name that a certificate holds, in bytes
// (RFC 5280, ub-common-name).
const maxCommonName = 64

// Identity is one name that etcd and Vault know.
//
//  1. Two identities never have the same CommonName, and ParseCommonName of it
//     gives the identity back.
//  2. Who was revoked is another identity than who is enrolled later in its place:
//     the Generation rises, so that an old certificate opens nothing.
type Identity struct {
	Role Role `json:"role"`
	// Person tells operators, auditors and workers apart; it may be empty.
	Person string `json:"person,omitempty"`
	// Site is an agent's, and Node the one node that it serves; empty for all of the
	// site.
	Site keychain.SiteID `json:"site,omitempty"`
	Node keychain.NodeID `json:"node,omitempty"`
	// Generation counts how often the name has been revoked; zero at first.
	Generation int `json:"generation,omitempty"`
}

// OfSite is the first identity of the agents of a site.
func OfSite(site keychain.SiteID) Identity { return Identity{Role: Agent, Site: site} }

// CommonName is the identity as certificates, etcd and Vault have it:
// ROLE[.PERSON] or keyorch-agent.SITE[.NODE], where the second generation has "-2"
// after the role. It has no character that a DNS name could not have.
func (i Identity) CommonName() string {
	name := string(i.Role)
	if i.Generation > 0 {
		name += "-" + strconv.Itoa(i.Generation+1)
	}
	for _, part := range []string{i.Person, string(i.Site), string(i.Node)} {
		if part != "" {
			name += "." + part
		}
	}
	return name
}

// String is the CommonName.
func (i Identity) String() string { return i.CommonName() }

// Valid says with Invalid why i cannot be, or nil.
func (i Identity) Valid() error {
	wrong := func(why string, a ...any) error { return fault.New(fault.Invalid, "identity: "+why, a...) }
	switch i.Role {
	case Admin:
		if (i != Identity{Role: Admin}) {
			return wrong("there is one %s, without a name", Admin)
		}
	case Worker, Operator, Auditor:
		if i.Site != "" || i.Node != "" {
			return wrong("a %s belongs to no site", i.Role)
		}
	case Agent:
		if i.Site == "" || i.Person != "" {
			return wrong("an agent has a site, and no other name")
		}
	default:
		return wrong("there is no such role")
	}
	for _, part := range []string{i.Person, string(i.Site), string(i.Node)} {
		if part == "" {
			continue
		}
		if err := keychain.ValidName(part); err != nil {
			return fault.Wrap(fault.Invalid, err, "identity")
		}
	}
	if i.Generation < 0 {
		return wrong("generation %d is below 0", i.Generation)
	}
	if n := len(i.CommonName()); n > maxCommonName {
		return wrong("%s has %d characters, and a certificate's common name at most %d: use shorter names", i.CommonName(), n, maxCommonName)
	}
	return nil
}

// ParseCommonName is the identity whose CommonName is name. Errors are Invalid.
func ParseCommonName(name string) (Identity, error) {
	if len(name) > maxCommonName {
		return Identity{}, fault.New(fault.Invalid, "identity: the common name has %d characters, at most %d fit", len(name), maxCommonName)
	}
	first, rest, _ := strings.Cut(name, ".")
	i, err := parseRole(first, name)
	if err != nil {
		return Identity{}, err
	}
	switch i.Role {
	case Agent:
		site, node, _ := strings.Cut(rest, ".")
		i.Site, i.Node = keychain.SiteID(site), keychain.NodeID(node)
	default:
		i.Person = rest
	}
	if err := i.Valid(); err != nil {
		return Identity{}, err
	}
	if i.CommonName() != name { // a trailing dot, or a generation written in another way
		return Identity{}, unknown(name)
	}
	return i, nil
}

// parseRole reads a role with its generation, the first part of name.
func parseRole(text, name string) (Identity, error) {
	for _, r := range []Role{Admin, Worker, Operator, Auditor, Agent} {
		rest, ok := strings.CutPrefix(text, string(r))
		switch {
		case !ok:
		case rest == "":
			return Identity{Role: r}, nil
		default:
			number, ok := strings.CutPrefix(rest, "-")
			if n, err := strconv.Atoi(number); ok && err == nil && n > 1 {
				return Identity{Role: r, Generation: n - 1}, nil
			}
		}
	}
	return Identity{}, unknown(name)
}

func unknown(name string) error {
	return fault.New(fault.Invalid, "identity: %q is not a name of keyorch's: want %s, %s[.NAME], %s[.NAME], %s[.NAME] or %s.SITE[.NODE]",
		fmt.Sprintf("%.80s", name), Admin, Worker, Operator, Auditor, Agent)
}
