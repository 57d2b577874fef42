package approval

import (
	"crypto/rsa"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/keyorch/keyorch/fault"
)

// keyTypes are the keys that may approve, and the algorithms of their signatures.
// SHA-1, which ssh-rsa means as an algorithm, is none of them.
func algorithms(keyType string) []string {
	switch keyType {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		return []string{keyType}
	case ssh.KeyAlgoRSA:
		return []string{ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512}
	}
	return nil
}

// minRSA is the shortest RSA key that may approve, in bits.
const minRSA = 2048

// maxKey is the longest line with a public key, in bytes. RSA of 16384 bits fits.
const maxKey = 4096

// Key is the public key of an approver.
type Key struct{ ssh.PublicKey }

// ParseKey reads a line of an authorized_keys file without options, which is what
// ssh-keygen writes into the file that ends in .pub. Faults: Invalid.
func ParseKey(line string) (Key, error) {
	if len(line) > maxKey || strings.ContainsAny(line, "\n\r") {
		return Key{}, fault.New(fault.Invalid, "a public key is one line of at most %d characters: put in what the .pub file has", maxKey)
	}
	if strings.Contains(line, "PRIVATE KEY") {
		return Key{}, fault.New(fault.Invalid, "this is a private key: put in what the .pub file has, and make a new key")
	}
	public, _, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
	switch {
	case err != nil:
		return Key{}, fault.New(fault.Invalid, "this is no public key of OpenSSH: put in what the .pub file has")
	case len(options) > 0:
		return Key{}, fault.New(fault.Invalid, "options before a public key mean nothing here: take out %q", options[0])
	}
	return usable(public)
}

// usable is Invalid for keys that may not approve.
func usable(public ssh.PublicKey) (Key, error) {
	if algorithms(public.Type()) == nil {
		return Key{}, fault.New(fault.Invalid, "keys of type %.60q cannot approve: use ed25519, ecdsa, rsa, or one on a hardware key (sk)", public.Type())
	}
	if held, ok := public.(ssh.CryptoPublicKey); ok {
		if k, isRSA := held.CryptoPublicKey().(*rsa.PublicKey); isRSA && k.N.BitLen() < minRSA {
			return Key{}, fault.New(fault.Invalid, "an RSA key of %d bits is too short to approve: use at least %d", k.N.BitLen(), minRSA)
		}
	}
	return Key{public}, nil
}

// Hardware reports whether the key is on a hardware key (sk), which says in each signature
// whether it was touched and unlocked.
func (k Key) Hardware() bool {
	return slices.Contains([]string{ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256}, k.Type())
}

// Fingerprint is the key's name, as ssh-keygen -l prints it: SHA256:….
func (k Key) Fingerprint() string { return ssh.FingerprintSHA256(k.PublicKey) }

// Is reports whether the two are one key.
func (k Key) Is(o Key) bool { return string(k.Marshal()) == string(o.Marshal()) }
