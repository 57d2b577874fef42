// Package approvaltest makes signatures as ssh-keygen -Y sign does, also with hardware keys
// that are there in software alone, and makes them wrongly: for tests.
package approvaltest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/keyorch/keyorch/approval"
)

// Pen signs as ssh-keygen -Y sign does, and can be made to do it wrongly.
type Pen struct {
	Public    ssh.PublicKey
	Namespace string
	Hash      string
	Version   uint32
	Sign      func(signed []byte) ssh.Signature

	raw func(signed []byte) []byte // of a hardware key: what its chip does
}

// Saying is the same hardware key, which says something else in its flags.
func (p Pen) Saying(flags byte) Pen {
	p.Sign = func(signed []byte) ssh.Signature {
		return ssh.Signature{Format: p.Public.Type(), Blob: p.raw(hardware(flags, signed)), Rest: []byte{flags, 0, 0, 0, 7}}
	}
	return p
}

// Line is the public key as a .pub file has it.
func (p Pen) Line() string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(p.Public))) }

// Over is the armored signature over a message.
func (p Pen) Over(message []byte) string {
	sum := sha512.Sum512(message)
	digest := sum[:]
	if p.Hash == "sha256" {
		short := sha256.Sum256(message)
		digest = short[:]
	}
	signed := append([]byte("SSHSIG"), ssh.Marshal(struct {
		Namespace, Reserved, Hash string
		Digest                    []byte
	}{p.Namespace, "", p.Hash, digest})...)
	blob := append([]byte("SSHSIG"), ssh.Marshal(struct {
		Version                   uint32
		Key                       []byte
		Namespace, Reserved, Hash string
		Signature                 []byte
	}{p.Version, p.Public.Marshal(), p.Namespace, "", p.Hash, ssh.Marshal(p.Sign(signed))})...)
	return string(pem.EncodeToMemory(&pem.Block{Type: "SSH SIGNATURE", Bytes: blob}))
}

func penOf(t testing.TB, key crypto.Signer, algorithm string) Pen {
	t.Helper()
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return Pen{Public: signer.PublicKey(), Namespace: approval.Namespace, Hash: "sha512", Version: 1, Sign: func(signed []byte) ssh.Signature {
		s, err := signer.(ssh.AlgorithmSigner).SignWithAlgorithm(rand.Reader, signed, algorithm)
		if err != nil {
			t.Fatal(err)
		}
		return *s
	}}
}

func Ed25519(t testing.TB) Pen {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return penOf(t, key, ssh.KeyAlgoED25519)
}

func RSA(t testing.TB, bits int, algorithm string) Pen {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0") // a key that is too short has to be made first
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return penOf(t, key, algorithm)
}

func ECDSA(t testing.TB, curve elliptic.Curve, algorithm string) Pen {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return penOf(t, key, algorithm)
}

// What a hardware key says in its flags.
const (
	Untouched = 0
	Touched   = 1
	WithPIN   = 5
)

// hardware is what a hardware key signs: the digests of application and message with
// the flags and a counter between them (PROTOCOL.u2f).
func hardware(flags byte, signed []byte) []byte {
	application, message := sha256.Sum256([]byte("ssh:")), sha256.Sum256(signed)
	return append(append(append([]byte{}, application[:]...), flags, 0, 0, 0, 7), message[:]...)
}

// SK is a hardware key in software.
func SK(t testing.TB, flags byte) Pen {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return skWith(t, ssh.Marshal(struct {
		Type        string
		Key         []byte
		Application string
	}{ssh.KeyAlgoSKED25519, public, "ssh:"}), flags, func(m []byte) []byte { return ed25519.Sign(key, m) })
}

// SKECDSA is one whose key is on the curve P-256.
func SKECDSA(t testing.TB, flags byte) Pen {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return skWith(t, ssh.Marshal(struct {
		Type, Curve string
		Point       []byte
		Application string
	}{ssh.KeyAlgoSKECDSA256, "nistp256", point, "ssh:"}), flags, func(m []byte) []byte {
		sum := sha256.Sum256(m)
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return ssh.Marshal(struct{ R, S *big.Int }{r, s})
	})
}

func skWith(t testing.TB, blob []byte, flags byte, raw func([]byte) []byte) Pen {
	t.Helper()
	public, err := ssh.ParsePublicKey(blob)
	if err != nil {
		t.Fatal(err)
	}
	return Pen{Public: public, Namespace: approval.Namespace, Hash: "sha512", Version: 1, raw: raw}.Saying(flags)
}
