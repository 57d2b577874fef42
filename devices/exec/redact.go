package exec

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/keyorch/keyorch/secret"
)

const (
	// maxMessage is how much of a program's message is shown, in characters.
	maxMessage = 300
	// window is how many neighbouring bytes of a key count as a part of it.
	window = 8

	redacted = "[redacted]"
)

// keyShaped is what 32 bytes look like in hexadecimal and in base64. It is taken
// out of every message, for a program may well print a key of an earlier run.
var keyShaped = regexp.MustCompile(`(?i)[0-9a-f]{64,}|[0-9a-z+/_-]{43}=`)

// said is the message of a program, ": " before it: the first line of standard
// error, printable characters only, with key material taken out.
func said(stderr []byte, key secret.Key) string {
	line := firstLine(redact(stderr, key))
	if line == "" {
		return ", and did not say why"
	}
	leaks := false
	_ = key.Use(func(k []byte) error {
		leaks = holds(line, k)
		return nil
	})
	if leaks {
		return ", and its message is not shown, because there are key bytes in it"
	}
	return ": " + line
}

// redact takes out the key whole, in every usual form.
func redact(text []byte, key secret.Key) []byte {
	_ = key.Use(func(k []byte) error {
		if len(k) == 0 {
			return nil
		}
		text = bytes.ReplaceAll(text, k, []byte(redacted))
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			form := []byte(enc.EncodeToString(k))
			text = bytes.ReplaceAll(text, form, []byte(redacted))
			clear(form)
		}
		return nil
	})
	return keyShaped.ReplaceAll(text, []byte(redacted))
}

// holds reports whether a part of the key is left in text, in raw bytes, in
// hexadecimal or decimal with whatever between the bytes, or in base64.
func holds(text string, k []byte) bool {
	digits := strings.NewReplacer("0x", "", " ", "", ":", "", "-", "", ",", "", `\x`, "").Replace(strings.ToLower(text))
	numbers := strings.Join(strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsDigit(r) }), " ")
	for at := 0; at+window <= len(k); at++ {
		part := k[at : at+window]
		decimal := strings.Trim(fmt.Sprint(part), "[]")
		if strings.Contains(text, string(part)) || strings.Contains(digits, hex.EncodeToString(part)) || strings.Contains(numbers, decimal) {
			return true
		}
		// Nine bytes are three whole groups of base64.
		if group := k[at:min(at+9, len(k))]; len(group) == 9 &&
			(strings.Contains(text, base64.RawStdEncoding.EncodeToString(group)) ||
				strings.Contains(text, base64.RawURLEncoding.EncodeToString(group))) {
			return true
		}
	}
	return false
}

// firstLine is the first line with something on it, without what a terminal
// might act on.
func firstLine(text []byte) string {
	for line := range bytes.Lines(text) {
		var b strings.Builder
		n := 0
		for _, r := range strings.TrimSpace(string(line)) {
			if r == '\t' {
				r = ' '
			}
			if r == utf8.RuneError || !unicode.IsPrint(r) {
				continue
			}
			if n++; n > maxMessage {
				break
			}
			b.WriteRune(r)
		}
		if b.Len() > 0 {
			return b.String()
		}
	}
	return ""
}
