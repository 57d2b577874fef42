package frr

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

const (
	// maxSaid is how much of what FRR says is shown, in characters.
	maxSaid = 160
	// missingOwn begins what vtysh says about its own configuration file, which no
	// key-chain needs.
	missingOwn = "% Can't open configuration file"
	// hint begins what vtysh adds to a complaint.
	hint = "Hint:"
)

// lineTrouble is how vtysh complains about a line of its file. The line itself
// comes after it, with the key-string, and is never shown.
var lineTrouble = regexp.MustCompile(`^line (\d+): (?:% ?)?(Unknown command|Command incomplete|Ambiguous command|Warning|Failure to communicate)`)

// keyShaped is what may be a part of a key-string, and shorter what may be one if it
// has letters of both cases as no word of FRR's has them: eight bytes are eleven
// characters.
var (
	keyShaped   = regexp.MustCompile(`[A-Za-z0-9+/_-]{24,}`)
	shorterPart = regexp.MustCompile(`[A-Za-z0-9+/_-]{11,}`)
)

// mayHoldKey reports whether a part of a key-string may stand in s.
func mayHoldKey(s string) bool {
	if keyShaped.MatchString(s) {
		return true
	}
	return slices.ContainsFunc(shorterPart.FindAllString(s, -1), func(word string) bool {
		return strings.ToLower(word[1:]) != word[1:] && strings.ToUpper(word) != word
	})
}

// complaint is what FRR said about the lines of s, for an operator: the first line
// that it did not take, as we know it, and the words of the daemon.
func (p *printed) complaint(s *script) string {
	said := firstSafe(p.out)
	for line := range bytes.Lines(p.words) {
		m := lineTrouble.FindSubmatch(line)
		if m == nil {
			continue
		}
		n, _ := strconv.Atoi(string(m[1]))
		what := strings.ToLower(string(m[2]))
		if n < 1 || n > len(s.shown) {
			return quote(what, said)
		}
		if what == "failure to communicate" { // which is how vtysh calls any no of the daemon
			what = "ospf6d refused it"
		}
		return quote(fmt.Sprintf("%q: %s", s.shown[n-1], what), said)
	}
	if last := lastSafe(p.words); last != "" {
		return last
	}
	return quote(fmt.Sprintf("vtysh ended with exit code %d", p.code), said)
}

// trouble is why vtysh did not show anything.
func (p *printed) trouble() string {
	if last := lastSafe(p.words); last != "" {
		return last
	}
	return fmt.Sprintf("vtysh ended with exit code %d and did not say why", p.code)
}

func quote(what, said string) string {
	if said == "" {
		return what
	}
	return what + ": " + said
}

func firstSafe(text []byte) string {
	for line := range bytes.Lines(text) {
		if s := safe(line); s != "" {
			return s
		}
	}
	return ""
}

func lastSafe(text []byte) string {
	last := ""
	for line := range bytes.Lines(text) {
		if s := safe(line); s != "" && !strings.HasPrefix(s, hint) {
			last = s
		}
	}
	return last
}

// safe is a line for people: printable, not too long, and empty where it may hold
// a key-string.
func safe(line []byte) string {
	s := strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, string(line)))
	if strings.HasPrefix(s, missingOwn) || strings.Contains(s, "key-string") || lineTrouble.MatchString(s) || mayHoldKey(s) {
		return ""
	}
	if r := []rune(s); len(r) > maxSaid {
		s = string(r[:maxSaid-1]) + "…"
	}
	return strings.TrimSuffix(strings.TrimPrefix(s, "Exiting: "), ".")
}
