package approval_test

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
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/keyorch/keyorch/approval"
)

// pen signs as ssh-keygen -Y sign does, and can be made to do it wrongly.
type pen struct {
	public    ssh.PublicKey
	namespace string
	hash      string
	version   uint32
	sign      func(signed []byte) ssh.Signature
}

func (p pen) line() string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(p.public))) }

// over is the armored signature over a message.
func (p pen) over(message []byte) string {
	sum := sha512.Sum512(message)
	digest := sum[:]
	if p.hash == "sha256" {
		short := sha256.Sum256(message)
		digest = short[:]
	}
	signed := append([]byte("SSHSIG"), ssh.Marshal(struct {
		Namespace, Reserved, Hash string
		Digest                    []byte
	}{p.namespace, "", p.hash, digest})...)
	blob := append([]byte("SSHSIG"), ssh.Marshal(struct {
		Version                   uint32
		Key                       []byte
		Namespace, Reserved, Hash string
		Signature                 []byte
	}{p.version, p.public.Marshal(), p.namespace, "", p.hash, ssh.Marshal(p.sign(signed))})...)
	return string(pem.EncodeToMemory(&pem.Block{Type: "SSH SIGNATURE", Bytes: blob}))
}

func penOf(t testing.TB, key crypto.Signer, algorithm string) pen {
	t.Helper()
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return pen{public: signer.PublicKey(), namespace: approval.Namespace, hash: "sha512", version: 1, sign: func(signed []byte) ssh.Signature {
		s, err := signer.(ssh.AlgorithmSigner).SignWithAlgorithm(rand.Reader, signed, algorithm)
		if err != nil {
			t.Fatal(err)
		}
		return *s
	}}
}

func ed25519Pen(t testing.TB) pen {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return penOf(t, key, ssh.KeyAlgoED25519)
}

func rsaPen(t testing.TB, bits int, algorithm string) pen {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0") // a key that is too short has to be made first
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return penOf(t, key, algorithm)
}

func ecdsaPen(t testing.TB, curve elliptic.Curve, algorithm string) pen {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return penOf(t, key, algorithm)
}

// What a hardware key says in its flags.
const (
	untouched = 0
	touched   = 1
	withPIN   = 5
)

// hardware is what a hardware key signs: the digests of application and message with
// the flags and a counter between them (PROTOCOL.u2f).
func hardware(flags byte, signed []byte) []byte {
	application, message := sha256.Sum256([]byte("ssh:")), sha256.Sum256(signed)
	return append(append(append([]byte{}, application[:]...), flags, 0, 0, 0, 7), message[:]...)
}

// skPen is a hardware key in software.
func skPen(t testing.TB, flags byte) pen {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return skWith(t, ssh.KeyAlgoSKED25519, ssh.Marshal(struct {
		Type        string
		Key         []byte
		Application string
	}{ssh.KeyAlgoSKED25519, public, "ssh:"}), flags, func(m []byte) []byte { return ed25519.Sign(key, m) })
}

// skECDSAPen is one whose key is on the curve P-256.
func skECDSAPen(t testing.TB, flags byte) pen {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return skWith(t, ssh.KeyAlgoSKECDSA256, ssh.Marshal(struct {
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

func skWith(t testing.TB, algorithm string, blob []byte, flags byte, sign func([]byte) []byte) pen {
	t.Helper()
	public, err := ssh.ParsePublicKey(blob)
	if err != nil {
		t.Fatal(err)
	}
	return pen{public: public, namespace: approval.Namespace, hash: "sha512", version: 1, sign: func(signed []byte) ssh.Signature {
		return ssh.Signature{Format: algorithm, Blob: sign(hardware(flags, signed)), Rest: []byte{flags, 0, 0, 0, 7}}
	}}
}

const requester = "keyorch-operator.otto"

// asked is when requests of these tests were made.
func asked() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func someRequest() approval.Request {
	return approval.NewRequest(approval.Plan{
		Verb: approval.RotateForced, IgnoreWindows: true, Requester: requester, Reason: "the key leaked",
		Links: []approval.Link{{Name: "dc1-dc2", Upstream: []keychainNode{"b", "a"}, Downstream: []keychainNode{"c"}}},
	}, asked(), time.Hour)
}

// someRule is one that anna and ben may satisfy.
func someRule(needed int, anna, ben pen) approval.Rule {
	return approval.Rule{
		Name: "two", Verbs: []approval.Verb{approval.RotateForced}, Approvals: needed, Deadline: time.Hour,
		RemindAfter: 10 * time.Minute, EscalateAfter: 20 * time.Minute,
		Approvers: []approval.Approver{{Name: "anna", Keys: []string{anna.line()}}, {Name: "ben", Keys: []string{ben.line()}}},
	}
}
