package strongswan

import (
	"strings"

	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/keychain"
)

// namePrefix begins every name that this package gives. Names have dots and no
// colons: charon takes an identity with a colon for an IPv6 address.
const namePrefix = "keyorch."

// nameOf is what the key r of link is called on the device: the secret, the
// identity of the PPK, and the connection that uses it. It is sent to the peer,
// encrypted, and holds nothing secret.
func nameOf(link keychain.LinkID, r keychain.Ref) string {
	return namePrefix + string(link) + "." + keying.Label(r)
}

// parseName reads what nameOf wrote for link; false for anything else. Names of
// links have no dots, so that no link's names are taken for another's.
func parseName(link keychain.LinkID, name string) (keychain.Ref, bool) {
	label, ours := strings.CutPrefix(name, namePrefix+string(link)+".")
	if !ours {
		return keychain.Ref{}, false
	}
	return keying.ParseLabel(label)
}
