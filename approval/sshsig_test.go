package approval_test

import (
	"crypto/elliptic"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/approval/approvaltest"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

type keychainNode = keychain.NodeID

// verified parses and verifies; the error is of whichever refuses.
func verified(armored string, message []byte) (approval.Proof, error) {
	s, err := approval.ParseSignature([]byte(armored))
	if err != nil {
		return approval.Proof{}, err
	}
	return s.Verify(message)
}

func TestSignaturesOfEveryKindOfKey(t *testing.T) {
	message := someRequest().Statement().Bytes()
	with := func(p approvaltest.Pen, change func(*approvaltest.Pen)) approvaltest.Pen { change(&p); return p }
	for name, c := range map[string]struct {
		pen   approvaltest.Pen
		proof approval.Proof
		kind  fault.Kind // of the error; none for zero
		says  string
	}{
		"ed25519":        {pen: approvaltest.Ed25519(t)},
		"ecdsa 256":      {pen: approvaltest.ECDSA(t, elliptic.P256(), ssh.KeyAlgoECDSA256)},
		"ecdsa 384":      {pen: approvaltest.ECDSA(t, elliptic.P384(), ssh.KeyAlgoECDSA384)},
		"ecdsa 521":      {pen: approvaltest.ECDSA(t, elliptic.P521(), ssh.KeyAlgoECDSA521)},
		"rsa sha2-256":   {pen: approvaltest.RSA(t, 2048, ssh.KeyAlgoRSASHA256)},
		"rsa sha2-512":   {pen: approvaltest.RSA(t, 2048, ssh.KeyAlgoRSASHA512)},
		"hash of sha256": {pen: with(approvaltest.Ed25519(t), func(p *approvaltest.Pen) { p.Hash = "sha256" })},
		"sk touched":     {pen: approvaltest.SK(t, approvaltest.Touched), proof: approval.Proof{Hardware: true, Touched: true}},
		"sk with PIN":    {pen: approvaltest.SK(t, approvaltest.WithPIN), proof: approval.Proof{Hardware: true, Touched: true, PIN: true}},
		"sk ecdsa":       {pen: approvaltest.SKECDSA(t, approvaltest.WithPIN), proof: approval.Proof{Hardware: true, Touched: true, PIN: true}},

		"rsa by SHA-1":         {pen: approvaltest.RSA(t, 2048, ssh.KeyAlgoRSA), kind: fault.Mismatch, says: "by \"ssh-rsa\""},
		"rsa too short":        {pen: approvaltest.RSA(t, 1024, ssh.KeyAlgoRSASHA256), kind: fault.Invalid, says: "1024 bits"},
		"sk not touched":       {pen: approvaltest.SK(t, approvaltest.Untouched), kind: fault.Mismatch, says: "not touched"},
		"sk ecdsa not touched": {pen: approvaltest.SKECDSA(t, approvaltest.Untouched), kind: fault.Mismatch, says: "not touched"},
		"another namespace":    {pen: with(approvaltest.Ed25519(t), func(p *approvaltest.Pen) { p.Namespace = "git" }), kind: fault.Mismatch, says: "for \"git\""},
		"another version":      {pen: with(approvaltest.Ed25519(t), func(p *approvaltest.Pen) { p.Version = 2 }), kind: fault.Invalid, says: "version is 2"},
		"another hash":         {pen: with(approvaltest.Ed25519(t), func(p *approvaltest.Pen) { p.Hash = "sha1" }), kind: fault.Invalid, says: "hash"},
		"flags of no hardware": {pen: with(approvaltest.Ed25519(t), func(p *approvaltest.Pen) {
			sign := p.Sign
			p.Sign = func(b []byte) ssh.Signature { s := sign(b); s.Rest = []byte{1, 0, 0, 0, 1}; return s }
		}), kind: fault.Mismatch, says: "another form"},
		"PIN flag added afterwards": {pen: with(approvaltest.SK(t, approvaltest.Touched), func(p *approvaltest.Pen) {
			sign := p.Sign
			p.Sign = func(b []byte) ssh.Signature {
				s := sign(b)
				s.Rest = []byte{approvaltest.WithPIN, 0, 0, 0, 7}
				return s
			}
		}), kind: fault.Mismatch, says: "not over this statement"},
		"touch flag added afterwards": {pen: with(approvaltest.SK(t, approvaltest.Untouched), func(p *approvaltest.Pen) {
			sign := p.Sign
			p.Sign = func(b []byte) ssh.Signature {
				s := sign(b)
				s.Rest = []byte{approvaltest.Touched, 0, 0, 0, 7}
				return s
			}
		}), kind: fault.Mismatch, says: "not over this statement"},
		"of another key": {pen: with(approvaltest.Ed25519(t), func(p *approvaltest.Pen) { p.Public = approvaltest.Ed25519(t).Public }), kind: fault.Mismatch, says: "not over this statement"},
	} {
		t.Run(name, func(t *testing.T) {
			proof, err := verified(c.pen.Over(message), message)
			if c.says == "" {
				if err != nil || proof != c.proof {
					t.Fatalf("%+v, %v, want %+v", proof, err, c.proof)
				}
				if _, err := verified(c.pen.Over(message), append(message, ' ')); !fault.Is(err, fault.Mismatch) {
					t.Errorf("over another message: %v", err)
				}
				return
			}
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("says %v (%v), want %q (%v)", err, fault.Of(err), c.says, c.kind)
			}
		})
	}
}

// The files in testdata were made with ssh-keygen: see testdata/README.
func TestSignaturesOfSSHKeygen(t *testing.T) {
	message, err := os.ReadFile("testdata/statement.txt")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := approval.ParseStatement(message); err != nil {
		t.Error(err)
	}
	files, err := filepath.Glob("testdata/*.sig")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		armored, err1 := os.ReadFile(f)
		public, err2 := os.ReadFile(strings.TrimSuffix(f, ".sig") + ".pub")
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		key, err := approval.ParseKey(strings.TrimSpace(string(public)))
		if err != nil {
			t.Fatal(err)
		}
		s, err := approval.ParseSignature(armored)
		if err != nil || !s.Key.Is(key) {
			t.Errorf("%s: %v, by %v", f, err, s)
			continue
		}
		if _, err := s.Verify(message); err != nil {
			t.Errorf("%s: %v", f, err)
		}
		if _, err := s.Verify(append(message, '\n')); err == nil {
			t.Errorf("%s: good for another message", f)
		}
	}
}

func TestWhatIsNoSignatureIsNamed(t *testing.T) {
	good := approvaltest.Ed25519(t).Over([]byte("m"))
	lines := strings.Split(strings.TrimSpace(good), "\n")
	for text, says := range map[string]string{
		"":                                    "it is empty",
		"-----BEGIN PGP SIGNATURE-----\n":     "it is one of PGP",
		"untrusted comment: minisign\nRUQ":    "minisign",
		"-----BEGIN OPENSSH PRIVATE KEY-----": "private key",
		approvaltest.Ed25519(t).Line():        "public key",
		"hello":                               "its first line is not",
		string(someRequest().Statement().Bytes()):                    "the statement itself",
		strings.Join(lines[:len(lines)-1], "\n"):                     "its last line is missing",
		strings.Join(append([]string{lines[0]}, lines[2:]...), "\n"): "",
		good + good: "base64",
		lines[0] + "\n!!!!\n" + lines[len(lines)-1]:                                               "base64",
		lines[0] + "\nQUJD\n" + lines[len(lines)-1]:                                               "does not begin with SSHSIG",
		lines[0] + "\n" + strings.Repeat("A", approval.MaxSignature) + "\n" + lines[len(lines)-1]: "more than",
	} {
		_, err := approval.ParseSignature([]byte(text))
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%.60q: says %v, want %q", text, err, says)
		}
	}
}

func TestKeys(t *testing.T) {
	line := approvaltest.Ed25519(t).Line()
	for text, says := range map[string]string{
		line: "", line + " anna@laptop": "", approvaltest.SK(t, approvaltest.Touched).Line(): "",
		"": "no public key", "ssh-ed25519 AAAA": "no public key", line + "\n" + line: "one line",
		`command="x" ` + line: "options", "-----BEGIN OPENSSH PRIVATE KEY-----": "private key",
		approvaltest.RSA(t, 1024, ssh.KeyAlgoRSA).Line(): "too short",
	} {
		k, err := approval.ParseKey(text)
		if says == "" {
			if err != nil || !strings.HasPrefix(k.Fingerprint(), "SHA256:") {
				t.Errorf("%.60q: %v", text, err)
			}
			continue
		}
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%.60q: says %v, want %q", text, err, says)
		}
	}
}
