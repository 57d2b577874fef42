package topology

import (
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/keyorch/keyorch/fault"
)

// MaxSelector is the longest selector, in bytes.
const MaxSelector = 4096

// Selector chooses declarations by their labels, in the grammar of kubectl:
// "tier=canary,region in (north, south),!legacy". The zero Selector matches
// everything.
type Selector struct {
	text     string
	selector labels.Selector
}

// ParseSelector reads a selector. An empty one matches everything. The error is
// of kind Invalid and says which part of the selector cannot be read.
func ParseSelector(s string) (Selector, error) {
	if len(s) > MaxSelector {
		return Selector{}, fault.New(fault.Invalid, "the selector is longer than %d characters: shorten it", MaxSelector)
	}
	if strings.TrimSpace(s) == "" {
		return Selector{}, nil
	}
	// The parser takes a NUL for the end, and would pass over what follows.
	if i := strings.IndexByte(s, 0); i >= 0 {
		return Selector{}, fault.New(fault.Invalid, "the selector %q cannot be read at character %d: remove what cannot be seen", s, i+1)
	}
	parsed, err := labels.Parse(s)
	if err == nil {
		return Selector{text: s, selector: parsed}, nil
	}
	// The parser does not say where it was: the first part that cannot be read by
	// itself is the place.
	at, parts := 0, requirements(s)
	for _, part := range parts {
		_, broken := labels.Parse(part)
		switch {
		case strings.TrimSpace(part) == "":
			return Selector{}, fault.New(fault.Invalid, "the selector %q has nothing at character %d: remove the comma", s, at+1)
		case broken != nil:
			return Selector{}, fault.New(fault.Invalid, "the selector %q cannot be read at character %d, %q: %s: write it as kubectl does, "+
				`as in "tier=canary", "tier in (a, b)" or "!tier"`, s, at+1, strings.TrimSpace(part), plainly(broken))
		}
		at += len(part) + 1
	}
	return Selector{}, fault.New(fault.Invalid, "the selector %q cannot be read: %s", s, plainly(err))
}

// requirements cuts a selector at its commas, except those inside of brackets.
func requirements(s string) []string {
	var parts []string
	depth, start := 0, 0
	for i, r := range s {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		case r == ',' && depth <= 0:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// plainly is what the parser said, without its own prefixes.
func plainly(err error) string {
	said := strings.TrimPrefix(err.Error(), "unable to parse requirement: ")
	said, _, _ = strings.Cut(said, " (e.g. ") // with a regular expression at its end
	return oneLine(strings.ReplaceAll(said, "found ''", "found the end"))
}

// oneLine is s with only what can be seen.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// Matches reports whether l satisfies every part of the selector.
func (s Selector) Matches(l Labels) bool {
	return s.selector == nil || s.selector.Matches(labels.Set(l))
}

// Empty reports whether the selector matches everything.
func (s Selector) Empty() bool { return s.selector == nil }

// String is the selector as it was written.
func (s Selector) String() string { return s.text }
