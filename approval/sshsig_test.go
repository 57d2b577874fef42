package approval_test

import (
	"crypto/elliptic"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/keyorch/keyorch/approval"
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
	with := func(p pen, change func(*pen)) pen { change(&p); return p }
	for name, c := range map[string]struct {
		pen   pen
		proof approval.Proof
		kind  fault.Kind // of the error; none for zero
		says  string
	}{
		"ed25519":        {pen: ed25519Pen(t)},
		"ecdsa 256":      {pen: ecdsaPen(t, elliptic.P256(), ssh.KeyAlgoECDSA256)},
		"ecdsa 384":      {pen: ecdsaPen(t, elliptic.P384(), ssh.KeyAlgoECDSA384)},
		"ecdsa 521":      {pen: ecdsaPen(t, elliptic.P521(), ssh.KeyAlgoECDSA521)},
		"rsa sha2-256":   {pen: rsaPen(t, 2048, ssh.KeyAlgoRSASHA256)},
		"rsa sha2-512":   {pen: rsaPen(t, 2048, ssh.KeyAlgoRSASHA512)},
		"hash of sha256": {pen: with(ed25519Pen(t), func(p *pen) { p.hash = "sha256" })},
		"sk touched":     {pen: skPen(t, touched), proof: approval.Proof{Hardware: true, Touched: true}},
		"sk with PIN":    {pen: skPen(t, withPIN), proof: approval.Proof{Hardware: true, Touched: true, PIN: true}},
		"sk ecdsa":       {pen: skECDSAPen(t, withPIN), proof: approval.Proof{Hardware: true, Touched: true, PIN: true}},

		"rsa by SHA-1":         {pen: rsaPen(t, 2048, ssh.KeyAlgoRSA), kind: fault.Mismatch, says: "by \"ssh-rsa\""},
		"rsa too short":        {pen: rsaPen(t, 1024, ssh.KeyAlgoRSASHA256), kind: fault.Invalid, says: "1024 bits"},
		"sk not touched":       {pen: skPen(t, untouched), kind: fault.Mismatch, says: "not touched"},
		"sk ecdsa not touched": {pen: skECDSAPen(t, untouched), kind: fault.Mismatch, says: "not touched"},
		"another namespace":    {pen: with(ed25519Pen(t), func(p *pen) { p.namespace = "git" }), kind: fault.Mismatch, says: "for \"git\""},
		"another version":      {pen: with(ed25519Pen(t), func(p *pen) { p.version = 2 }), kind: fault.Invalid, says: "version is 2"},
		"another hash":         {pen: with(ed25519Pen(t), func(p *pen) { p.hash = "sha1" }), kind: fault.Invalid, says: "hash"},
		"flags of no hardware": {pen: with(ed25519Pen(t), func(p *pen) {
			sign := p.sign
			p.sign = func(b []byte) ssh.Signature { s := sign(b); s.Rest = []byte{1, 0, 0, 0, 1}; return s }
		}), kind: fault.Mismatch, says: "another form"},
		"PIN flag added afterwards": {pen: with(skPen(t, touched), func(p *pen) {
			sign := p.sign
			p.sign = func(b []byte) ssh.Signature { s := sign(b); s.Rest = []byte{withPIN, 0, 0, 0, 7}; return s }
		}), kind: fault.Mismatch, says: "not over this statement"},
		"touch flag added afterwards": {pen: with(skPen(t, untouched), func(p *pen) {
			sign := p.sign
			p.sign = func(b []byte) ssh.Signature { s := sign(b); s.Rest = []byte{touched, 0, 0, 0, 7}; return s }
		}), kind: fault.Mismatch, says: "not over this statement"},
		"of another key": {pen: with(ed25519Pen(t), func(p *pen) { p.public = ed25519Pen(t).public }), kind: fault.Mismatch, says: "not over this statement"},
	} {
		t.Run(name, func(t *testing.T) {
			proof, err := verified(c.pen.over(message), message)
			if c.says == "" {
				if err != nil || proof != c.proof {
					t.Fatalf("%+v, %v, want %+v", proof, err, c.proof)
				}
				if _, err := verified(c.pen.over(message), append(message, ' ')); !fault.Is(err, fault.Mismatch) {
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
	good := ed25519Pen(t).over([]byte("m"))
	lines := strings.Split(strings.TrimSpace(good), "\n")
	for text, says := range map[string]string{
		"":                                    "it is empty",
		"-----BEGIN PGP SIGNATURE-----\n":     "it is one of PGP",
		"untrusted comment: minisign\nRUQ":    "minisign",
		"-----BEGIN OPENSSH PRIVATE KEY-----": "private key",
		ed25519Pen(t).line():                  "public key",
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
	line := ed25519Pen(t).line()
	for text, says := range map[string]string{
		line: "", line + " anna@laptop": "", skPen(t, touched).line(): "",
		"": "no public key", "ssh-ed25519 AAAA": "no public key", line + "\n" + line: "one line",
		`command="x" ` + line: "options", "-----BEGIN OPENSSH PRIVATE KEY-----": "private key",
		rsaPen(t, 1024, ssh.KeyAlgoRSA).line(): "too short",
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
