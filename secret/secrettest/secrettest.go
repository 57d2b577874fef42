// Package secrettest helps tests to make keys and to look for their bytes where
// they must not be: in errors, logs, files and answers.
package secrettest

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/secret"
)

// window is how many neighbouring key bytes count as a find. Eight do not turn up
// by chance.
const window = 8

// Canary is a key together with its bytes, which a test looks for afterwards.
type Canary struct {
	Key   secret.Key
	Bytes []byte
}

// New makes a random link key of 32 bytes.
func New(t testing.TB) Canary {
	t.Helper()
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return Canary{Key: secret.New(bytes.Clone(b)), Bytes: b}
}

// Find says in which form eight or more neighbouring bytes of the key stand in
// data, or is empty.
func (c Canary) Find(data []byte) string {
	lower := bytes.ToLower(data)
	for at := 0; at+window <= len(c.Bytes); at++ {
		part := c.Bytes[at : at+window]
		switch {
		case bytes.Contains(data, part):
			return "raw"
		case bytes.Contains(lower, []byte(hex.EncodeToString(part))):
			return "hex"
		case bytes.Contains(data, decimal(part, " ")), bytes.Contains(data, decimal(part, ",")), bytes.Contains(data, decimal(part, ", ")):
			return "decimal"
		case bytes.Contains(lower, decimalHex(part)):
			return "0x list"
		}
		// Nine bytes are three whole groups of base64, and some at begins a group
		// whatever stands before the key.
		group := c.Bytes[at:min(at+9, len(c.Bytes))]
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if len(group) == 9 && bytes.Contains(data, []byte(enc.EncodeToString(group))) {
				return "base64"
			}
		}
	}
	return ""
}

// Absent fails the test if the key is found in any of texts.
func (c Canary) Absent(t testing.TB, where string, texts ...string) {
	t.Helper()
	i := slices.IndexFunc(texts, func(s string) bool { return c.Find([]byte(s)) != "" })
	if i >= 0 {
		t.Errorf("key bytes in %s, in the form %q", where, c.Find([]byte(texts[i])))
	}
}

func decimal(b []byte, sep string) []byte {
	var words []string
	for _, x := range b {
		words = append(words, fmt.Sprint(x))
	}
	return []byte(strings.Join(words, sep))
}

func decimalHex(b []byte) []byte {
	var words []string
	for _, x := range b {
		words = append(words, fmt.Sprintf("0x%x", x))
	}
	return []byte(strings.Join(words, ", "))
}
