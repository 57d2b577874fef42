package exec

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// FuzzReply: what a program prints is read strictly or refused, and the refusal
// quotes nothing of it: it comes from a small set of sentences with numbers.
func FuzzReply(f *testing.F) {
	for _, s := range []string{
		`{"accepts":[{"epoch":3,"kcv":"0f1e2d3c4b"},{"epoch":4,"kcv":"a1b2c3d4e5"}],"sends":{"epoch":3,"kcv":"0f1e2d3c4b"},"counters":{"3":{"packets":812}}}`,
		"", "{}", "null", "[]", "{} {}", `{"accepts":{}}`, `{"accepts":[{"epoch":3,"kcv":"0f1e2d3c4b"},{"epoch":3,"kcv":"0f1e2d3c4b"}]}`,
		`{"accepts":[{"epoch":0}]}`, `{"accepts":[{"epoch":1,"kcv":"kH8vN2qLx0sR7tYw3zB5dF9gJ1mP4cVaUeOiTnSrQlA="}]}`, `{"counters":{"kH8vN2qLx0sR7tYw3zB5dF9gJ1mP4cVaUeOiTnSrQlA=":{"packets":-1}}}`,
		`{"sends":{"epoch":18446744073709551616}}`, `{"sends":null,"counters":null}`, strings.Repeat(`{"accepts":[`, 2000), "\xff\xfe{", `{"Accepts":[],"ACCEPTS":[{"epoch":9,"kcv":"0f1e2d3c4b"}]}`,
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, out []byte, down bool) {
		role := roleUpstream
		if down {
			role = roleDownstream
		}
		r, err := decode(out, role)
		if err != nil {
			quotesNothing(t, err, out)
			return
		}
		all := append(slices.Clone(r.accepts), r.sends)
		for i, ref := range all[:len(all)-1] {
			if ref.IsZero() || ref.KCV == "" || i > 0 && all[i-1].Epoch >= ref.Epoch {
				t.Errorf("accepts %v", r.accepts)
			}
		}
		for _, ref := range all {
			if _, bad := keychain.ParseKCV(string(ref.KCV)); bad != nil && !ref.IsZero() {
				t.Errorf("%v has no KCV", ref)
			}
		}
		if down != (r.sends == keychain.Ref{}) && down {
			t.Errorf("a downstream node sends %v", r.sends)
		}
		if _, ok := r.packets[0]; ok {
			t.Error("packets under epoch zero")
		}
	})
}

// quotesNothing wants no word of six letters or more of the input in err that is not
// one of the contract's own.
func quotesNothing(t *testing.T, err error, in []byte) {
	t.Helper()
	said := err.Error()
	for _, own := range []string{"accepts", "sends", "counters", "packets", "epoch", "kcv", "lower-case", "hexadecimal", "digits", "twice", "printed", "nothing", "something", "object", "after"} {
		said = strings.ReplaceAll(said, own, "")
	}
	words := bytes.FieldsFunc(in, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	for _, w := range words {
		if len(w) >= 6 && strings.Trim(string(w), "0123456789") != "" && strings.Contains(said, string(w)) {
			t.Errorf("%q quotes %q", err, w)
		}
	}
}

// FuzzSaid: whatever a program writes to standard error around the key that it was
// given, in whatever form, the operator sees one printable line without the key.
func FuzzSaid(f *testing.F) {
	for form := range uint8(8) {
		f.Add([]byte("cannot set key "), []byte(" on eth0: no such device\nat line 7"), form)
	}
	f.Add([]byte("\x1b[31m\xff\t"), []byte(strings.Repeat("x", 1000)), uint8(1))
	k := make([]byte, keySize)
	for i := range k {
		k[i] = byte(37*i + 11)
	}
	forms := []string{
		string(k), hex.EncodeToString(k), strings.ToUpper(hex.EncodeToString(k)), base64.StdEncoding.EncodeToString(k),
		base64.URLEncoding.EncodeToString(k), strings.Trim(fmt.Sprint(k), "[]"), hex.EncodeToString(k[:12]), strings.ReplaceAll(fmt.Sprintf("% x", k), " ", ":"),
	}
	f.Fuzz(func(t *testing.T, before, after []byte, form uint8) {
		key := secret.New(bytes.Clone(k))
		defer key.Wipe()
		line := said(slices.Concat(before, []byte(forms[int(form)%len(forms)]), after), key)
		if holds(line, k) {
			t.Errorf("key bytes in %q", line)
		}
		if n := len([]rune(line)); n > maxMessage+20 && !strings.Contains(line, "not shown") {
			t.Errorf("%d characters", n)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q acts on a terminal", line)
		}
	})
}
