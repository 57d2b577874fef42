package identity_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/identity/identitytest"
)

// FuzzFiles: whatever stands in the files of a directory, it is read as an identity
// whose name the certificate has, or refused as Invalid or Refused; no refusal quotes
// what is in the key's file, whichever of the files it was put into by mistake.
func FuzzFiles(f *testing.F) {
	authority := identitytest.NewAuthority(f)
	good := authority.Issue(f, "keyorch-agent.dc2")
	read := func(path string) []byte {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		return text
	}
	cert, key, ca := read(good.Cert), read(good.Key), read(good.CA)
	f.Add(cert, key, ca, []byte(`{"etcd":{"endpoints":["127.0.0.1:2379"]}}`))
	f.Add(key, cert, key, []byte(`{`))
	f.Add(append(append([]byte("# a comment\n"), cert...), ca...), key, ca, []byte(`{"unknown":1}`))
	f.Add(cert[:len(cert)/2], key[:len(key)/2], ca[:len(ca)/2], []byte(``))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), key, []byte{}, []byte(`[]`))
	dir := identity.Directory(f.TempDir())
	f.Fuzz(func(t *testing.T, cert, key, ca, connection []byte) {
		for path, text := range map[string][]byte{dir.Cert(): cert, dir.Key(): key, dir.CA(): ca, filepath.Join(string(dir), "connection.json"): connection} {
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, err := dir.Files().Read(time.Now(), "etcd")
		if err == nil && c.Identity.CommonName() != c.Leaf.Subject.CommonName {
			t.Errorf("%s is read as %s", c.Leaf.Subject.CommonName, c.Identity)
		}
		_, _, bad := dir.Connection()
		for _, err := range []error{err, bad} {
			if err == nil {
				continue
			}
			if k := fault.Of(err); k != fault.Invalid && k != fault.Refused {
				t.Errorf("%v is %v", err, k)
			}
			for line := range strings.Lines(string(key)) {
				if line = strings.TrimSpace(line); len(line) > 40 && strings.Contains(err.Error(), line) {
					t.Errorf("says %q", err)
				}
			}
		}
	})
}
