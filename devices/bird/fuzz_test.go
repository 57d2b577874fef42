package bird

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/keychain"
)

// FuzzJournal: a file of a link's keys is read as a whole or as that of a link
// without keys, what is read is the same when it is written, and no tag or claim
// that is made of it holds its passwords.
func FuzzJournal(f *testing.F) {
	for _, s := range []string{
		`{"version":1,"current":{"sends":4,"keys":[{"epoch":4,"kcv":"a1b2c3d4e5","id":5,"algorithm":"hmac sha256","ospf":"a0g4dk4ycUx4MHNSN3RZdzN6QjVkRjlnSjFtUDRjVmE=","bfd":"a0g4dk4ycUx4MHNSN3RZ"}]},"next":{}}`,
		`{"version":2}`, `{}`, ``, `{"version":1,"current":{"keys":[{"id":256}]}}`, `{"version":1,"edited":true,"current":{"sends":9}}`,
	} {
		f.Add([]byte(s))
	}
	dir := f.TempDir()
	d := &Device{config: config{directory: dir}}
	s := segment{link: "dc1-dc2"}
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, "dc1-dc2"+journalExt), text, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := d.load(s)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		for _, st := range []state{j.Current, j.next()} {
			public := st.constant()
			for _, k := range st.Keys {
				for _, b := range [][]byte{k.ospfPassword(), password(k.BFD)} {
					if len(b) > 8 && strings.Contains(public, string(b)) {
						t.Errorf("a password in %q", public)
					}
				}
			}
			_, _ = st.find(keychain.Epoch(4))
		}
		if j.Version == 0 {
			return
		}
		if err := d.save(s, j); err != nil {
			t.Fatal(err)
		}
		if again, err := d.load(s); err != nil || again.Current.tag() != j.Current.tag() || !reflect.DeepEqual(again.open(), j.open()) {
			t.Errorf("%q reads back as another (%v)", text, err)
		}
	})
}
