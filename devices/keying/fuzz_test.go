package keying_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/keychain"
)

// FuzzNames: what is read on a device as the name of one of our keys is exactly what
// was written for it, in both forms; anything else is a stranger's.
func FuzzNames(f *testing.F) {
	ref := keychain.Ref{Epoch: 4, KCV: "a1b2c3d4e5"}
	name := keying.Name(ref)
	for _, s := range []string{keying.Label(ref), string(name[:]), "e0-a1b2c3d4e5", "e04-a1b2c3d4e5", "4-a1b2c3d4e5", "kyo", "", "e18446744073709551616-a1b2c3d4e5"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, ok := keying.ParseName(b); ok {
			if again := keying.Name(r); !bytes.Equal(again[:], b) || r.IsZero() {
				t.Errorf("%x is read as %v", b, r)
			}
		}
		if r, ok := keying.ParseLabel(string(b)); ok {
			if keying.Label(r) != string(b) || r.IsZero() || strings.ContainsAny(string(b), " \n") {
				t.Errorf("%q is read as %v", b, r)
			}
		}
	})
}
