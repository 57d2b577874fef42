// Package keying makes the keying material that a device needs from a link key,
// and writes down on the device which key that is.
//
// A driver reads back what its device holds, and the device holds derived bytes
// from which nobody can tell the epoch or the KCV. So the driver stores the name
// of the key beside it, wherever the device has room for a name: 16 bytes of a
// MACsec key identifier, the text of an interface alias.
package keying

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// Derive checks that key is the link key that sa names, and derives n bytes for
// the device with HKDF-SHA256 (RFC 5869) under label. The Ref has the KCV of the
// key, also where sa has none. The caller wipes what it gets.
//
// op and node are for messages, such as "install" and "dc2-spine1". Errors:
// Invalid (no epoch, or not 32 bytes of key), Mismatch (another KCV than sa's).
func Derive(op string, node keychain.NodeID, sa keychain.SA, key secret.Key, label string, n int) (keychain.Ref, secret.Key, error) {
	check, err := key.Check()
	if err != nil || key.Len() != secret.Size || sa.Epoch == 0 {
		return keychain.Ref{}, secret.Key{}, fault.New(fault.Invalid, "%s on %s: it takes an epoch and a key of %d bytes", op, node, secret.Size)
	}
	ref := keychain.Ref{Epoch: sa.Epoch, KCV: keychain.KCVOf(check)}
	if !ref.Agrees(sa.Ref) {
		return keychain.Ref{}, secret.Key{}, fault.New(fault.Mismatch, "%s epoch %d on %s: the key has KCV %s, not %s", op, sa.Epoch, node, ref.KCV, sa.KCV)
	}
	derived, err := key.Derive(label, n)
	if err != nil {
		return keychain.Ref{}, secret.Key{}, fault.Wrap(fault.Invalid, err, "%s epoch %d on %s", op, sa.Epoch, node)
	}
	return ref, derived, nil
}

// nameMagic begins every Name, so that a key that somebody else installed is not
// taken for one of ours.
const nameMagic = "kyo"

// Name is a Ref in 16 bytes: three of magic, the epoch (big endian), the KCV. It
// holds nothing secret. r has a KCV, or the Name does not parse.
func Name(r keychain.Ref) [16]byte {
	var name [16]byte
	copy(name[:], nameMagic)
	binary.BigEndian.PutUint64(name[3:], uint64(r.Epoch))
	kcv, _ := hex.DecodeString(string(r.KCV))
	copy(name[11:], kcv)
	return name
}

// ParseName reads what Name wrote; false for anything else.
func ParseName(b []byte) (keychain.Ref, bool) {
	if len(b) != 16 || !bytes.HasPrefix(b, []byte(nameMagic)) {
		return keychain.Ref{}, false
	}
	r := keychain.Ref{Epoch: keychain.Epoch(binary.BigEndian.Uint64(b[3:])), KCV: keychain.KCVOf([5]byte(b[11:]))}
	return r, r.Epoch != 0
}

// Label is a Ref as a word of letters, digits and one '-': "e4-a1b2c3d4e5". It
// holds nothing secret.
func Label(r keychain.Ref) string { return fmt.Sprintf("e%d-%s", r.Epoch, r.KCV) }

// ParseLabel reads what Label wrote; false for anything else.
func ParseLabel(s string) (keychain.Ref, bool) {
	digits, check, found := strings.Cut(strings.TrimPrefix(s, "e"), "-")
	epoch, err := strconv.ParseUint(digits, 10, 64)
	kcv, bad := keychain.ParseKCV(check)
	r := keychain.Ref{Epoch: keychain.Epoch(epoch), KCV: kcv}
	if !found || err != nil || bad != nil || epoch == 0 || Label(r) != s {
		return keychain.Ref{}, false
	}
	return r, true
}
