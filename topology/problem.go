package topology

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/keyorch/keyorch/fault"
)

// Problem is one thing that is wrong with what was declared, where it stands,
// and what to do about it.
type Problem struct {
	File    string // as the caller named it; empty for what did not come from a file
	Line    int    // from 1; zero when it is about the whole file, or there is none
	Object  string // "Link dc1-dc2"; only "Link" while the name cannot be read
	Field   string // "spec.upstream[1]"; empty when it is about the whole object
	Message string // what is wrong
	Hint    string // what to do; may be empty
}

// String is the problem in one line: "file:line: object: field: message: hint",
// without the parts that are empty.
func (p Problem) String() string {
	where := p.File
	if p.File != "" && p.Line > 0 {
		where = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	parts := slices.DeleteFunc([]string{where, p.Object, p.Field, p.Message, p.Hint},
		func(s string) bool { return s == "" })
	return strings.Join(parts, ": ")
}

// Problems is everything that is wrong, sorted by file and line.
type Problems []Problem

// Error gives one line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// fault sorts the problems and gives them the kind Invalid; nil when there are
// none.
func (ps Problems) fault() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return fault.Wrap(fault.Invalid, slices.Compact(ps), "")
}

// path leads to a field of a document: a string for each field, an int for each
// place in a list.
type path []any

// with is p with one step more. It never shares memory with p.
func (p path) with(step any) path { return append(slices.Clip(p), step) }

// last is the last step, or nil.
func (p path) last() any {
	if len(p) == 0 {
		return nil
	}
	return p[len(p)-1]
}

var plainKey = regexp.MustCompile(`^[A-Za-z_][-_A-Za-z0-9]*$`)

// String writes the path as operators do: spec.upstream[1].
func (p path) String() string {
	var b strings.Builder
	for _, step := range p {
		switch step := step.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", step)
		case string:
			switch {
			case !plainKey.MatchString(step):
				fmt.Fprintf(&b, "[%q]", step)
			case b.Len() > 0:
				b.WriteString("." + step)
			default:
				b.WriteString(step)
			}
		}
	}
	return b.String()
}
