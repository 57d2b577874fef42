package keychain_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/keychain"
)

// FuzzNames: what is read as a KCV is the same when it is written, a name that is
// accepted can stand in a path, a label and a regular file's name, and a refusal of
// what may be a key shows nothing of it.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"a1b2c3d4e5", "A1B2C3D4E5", "", "a1b2c3d4e", "dc1-spine1", "..", "a/b", "a\n", strings.Repeat("f", 64), "kH8vN2qLx0sR7tYw3zB5dF9gJ1mP4cVaUeOiTnSrQlA="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		kcv, err := keychain.ParseKCV(s)
		switch raw, _ := hex.DecodeString(s); {
		case err == nil && (string(kcv) != s || keychain.KCVOf([5]byte(raw)) != kcv):
			t.Errorf("%q is read as %q", s, kcv)
		case err != nil && len(s) > 4 && strings.Contains(err.Error(), s):
			t.Errorf("says %q", err)
		}
		if keychain.ValidName(s) == nil && (s == "" || len(s) > keychain.MaxName || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || s[0] == '-') {
			t.Errorf("%q is a name", s)
		}
	})
}
