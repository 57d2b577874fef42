package approval

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/pem"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/keyorch/keyorch/fault"
)

// Namespace is what ssh-keygen -Y sign is told with -n: a signature that was made
// for mail or for Git approves nothing.
const Namespace = "keyorch-approval"

// MaxSignature is the largest signature that is read, in bytes.
const MaxSignature = 64 << 10

const (
	sigMagic   = "SSHSIG"
	sigVersion = 1
	sigArmor   = "SSH SIGNATURE"
)

// What a hardware key says in a signature (OpenSSH's PROTOCOL.u2f).
const (
	flagTouched = 0x01 // user presence
	flagPIN     = 0x04 // user verification
)

// Signature is one that ssh-keygen -Y sign made, or what has its form: nothing about it
// is known to be true before Verify.
type Signature struct {
	Key       Key
	Namespace string
	hash      string
	signature ssh.Signature
}

// Proof is what a good signature shows beside who made it.
type Proof struct {
	// Hardware says that the key is on a hardware key, Touched that somebody touched it
	// for this signature, and PIN that it was unlocked for it.
	Hardware, Touched, PIN bool
}

// sigBlob is a signature without its magic (OpenSSH's PROTOCOL.sshsig).
type sigBlob struct {
	Version   uint32
	PublicKey []byte
	Namespace string
	Reserved  string
	Hash      string
	Signature []byte
}

// sigSigned is what is signed, without the magic.
type sigSigned struct {
	Namespace string
	Reserved  string
	Hash      string
	Message   []byte
}

// ParseSignature reads the armored form. Faults: Invalid, which says what it is
// instead when it is the signature of another tool.
func ParseSignature(armored []byte) (Signature, error) {
	blob, err := dearmored(armored)
	if err != nil {
		return Signature{}, err
	}
	rest, ok := bytes.CutPrefix(blob, []byte(sigMagic))
	if !ok {
		return Signature{}, invalidSignature("what it holds does not begin with %s", sigMagic)
	}
	var read sigBlob
	if err := ssh.Unmarshal(rest, &read); err != nil {
		return Signature{}, invalidSignature("it is cut off or was changed")
	}
	if read.Version != sigVersion {
		return Signature{}, invalidSignature("its version is %d, and %d is known here", read.Version, sigVersion)
	}
	if read.Hash != "sha256" && read.Hash != "sha512" {
		return Signature{}, invalidSignature("its hash is %.20q: use sha256 or sha512", read.Hash)
	}
	public, err := ssh.ParsePublicKey(read.PublicKey)
	if err != nil {
		return Signature{}, invalidSignature("the public key in it cannot be read")
	}
	s := Signature{Namespace: read.Namespace, hash: read.Hash}
	if s.Key, err = usable(public); err != nil {
		return Signature{}, err
	}
	if err := ssh.Unmarshal(read.Signature, &s.signature); err != nil {
		return Signature{}, invalidSignature("the signature in it cannot be read")
	}
	return s, nil
}

func invalidSignature(format string, a ...any) error {
	return fault.New(fault.Invalid, "this is no signature of ssh-keygen -Y sign: "+format, a...)
}

// dearmored is what stands between the lines that begin and end the armor, which are all
// that there may be.
func dearmored(armored []byte) ([]byte, error) {
	if len(armored) > MaxSignature {
		return nil, invalidSignature("it has more than %d bytes", MaxSignature)
	}
	text := bytes.TrimSpace(armored)
	const begin, end = "-----BEGIN " + sigArmor + "-----", "-----END " + sigArmor + "-----"
	if !bytes.HasPrefix(text, []byte(begin)) {
		return nil, invalidSignature("%s", instead(text))
	}
	if !bytes.HasSuffix(text, []byte(end)) {
		return nil, invalidSignature("its last line is missing, or something comes after it")
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != sigArmor || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, invalidSignature("the lines between the first and the last are not base64")
	}
	return block.Bytes, nil
}

// instead is what a text is that is no signature.
func instead(text []byte) string {
	for _, o := range []struct{ begins, is string }{
		{"-----BEGIN PGP", "it is one of PGP"},
		{"untrusted comment:", "it is one of minisign or signify"},
		{"-----BEGIN CMS", "it is one of CMS"},
		{"-----BEGIN PKCS7", "it is one of CMS"},
		{"-----BEGIN OPENSSH PRIVATE KEY", "it is a private key: keep it to yourself"},
		{"keyorch approval statement", "it is the statement itself: sign it, and give the file that ends in .sig"},
		{"ssh-", "it is a public key"},
		{"sk-", "it is a public key"},
	} {
		if bytes.HasPrefix(text, []byte(o.begins)) {
			return o.is
		}
	}
	if len(text) == 0 {
		return "it is empty"
	}
	return "its first line is not -----BEGIN " + sigArmor + "-----"
}

// Verify checks the signature over a message. A hardware key that was not touched
// has not signed, whatever is asked for. Faults: Mismatch.
func (s Signature) Verify(message []byte) (Proof, error) {
	if s.Namespace != Namespace {
		return Proof{}, fault.New(fault.Mismatch, "the signature is for %.40q and not for %q: sign with -n %s", s.Namespace, Namespace, Namespace)
	}
	if !slices.Contains(algorithms(s.Key.Type()), s.signature.Format) {
		return Proof{}, fault.New(fault.Mismatch, "the signature of a key of type %s is by %.40q", s.Key.Type(), s.signature.Format)
	}
	var flags struct {
		Flags   byte
		Counter uint32
	}
	proof := Proof{Hardware: s.Key.Hardware()}
	switch {
	case proof.Hardware && ssh.Unmarshal(s.signature.Rest, &flags) != nil, !proof.Hardware && len(s.signature.Rest) > 0:
		return Proof{}, fault.New(fault.Mismatch, "the signature has another form than those of its key's type")
	case proof.Hardware && flags.Flags&flagTouched == 0:
		return Proof{}, fault.New(fault.Mismatch, "the hardware key was not touched for it")
	}
	proof.Touched, proof.PIN = proof.Hardware, flags.Flags&flagPIN != 0
	sum256, sum512 := sha256.Sum256(message), sha512.Sum512(message)
	digest := sum512[:]
	if s.hash == "sha256" {
		digest = sum256[:]
	}
	signed := append([]byte(sigMagic), ssh.Marshal(sigSigned{Namespace: s.Namespace, Hash: s.hash, Message: digest})...)
	if s.Key.Verify(signed, &s.signature) != nil {
		return Proof{}, fault.New(fault.Mismatch, "the signature is not over this statement, or not by this key")
	}
	return proof, nil
}

// String is a signature in a message: the key.
func (s Signature) String() string {
	return strings.TrimSpace(s.Key.Type() + " " + s.Key.Fingerprint())
}
