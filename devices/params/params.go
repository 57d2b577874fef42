// Package params reads the fields of a device in the topology: strictly, with
// every problem found at once, each naming its field and what is allowed there.
package params

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/fault"
)

// Reader reads one device's fields. Each method reads one field, notes what is
// wrong with it, and then gives the default.
type Reader struct {
	kind     string
	fields   map[string]any
	known    []string
	problems []string
}

// Read begins to read the fields of a device of this kind.
func Read(kind string, fields map[string]any) *Reader {
	return &Reader{kind: kind, fields: fields}
}

// Err is every problem that was found, unknown fields included, as one fault of
// kind Invalid, or nil. It is called after the last field was read.
func (r *Reader) Err() error {
	problems := slices.Clone(r.problems)
	slices.Sort(r.known)
	for _, name := range slices.Sorted(maps.Keys(r.fields)) {
		if !slices.Contains(r.known, name) {
			problems = append(problems, fmt.Sprintf("%s: no such field: a device of kind %s has %s", name, r.kind, strings.Join(r.known, ", ")))
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return fault.New(fault.Invalid, "%s", strings.Join(problems, "; "))
}

// Problem notes that a field is wrong: "name: what".
func (r *Reader) Problem(name, format string, a ...any) {
	r.problems = append(r.problems, name+": "+fmt.Sprintf(format, a...))
}

func (r *Reader) get(name string) (any, bool) {
	r.known = append(r.known, name)
	v, ok := r.fields[name]
	return v, ok && v != nil
}

// Bool reads true or false.
func (r *Reader) Bool(name string, def bool) bool {
	v, ok := r.get(name)
	if !ok {
		return def
	}
	b, ok := v.(bool)
	if !ok {
		r.Problem(name, "%s is neither true nor false", describe(v))
		return def
	}
	return b
}

// Int reads a whole number from least to most.
func (r *Reader) Int(name string, def, least, most int) int {
	v, ok := r.get(name)
	if !ok {
		return def
	}
	n, ok := whole(v)
	if !ok || n < int64(least) || n > int64(most) {
		r.Problem(name, "%s is not a whole number from %d to %d", describe(v), least, most)
		return def
	}
	return int(n)
}

// Duration reads a time in the form of Go, such as "30s" or "1m30s", from least
// to most.
func (r *Reader) Duration(name string, def, least, most time.Duration) time.Duration {
	v, ok := r.get(name)
	if !ok {
		return def
	}
	s, _ := v.(string)
	d, err := time.ParseDuration(s)
	if err != nil || d < least || d > most {
		r.Problem(name, `%s is not a duration from %v to %v, such as "30s"`, describe(v), least, most)
		return def
	}
	return d
}

// String reads a text.
func (r *Reader) String(name, def string) string {
	v, ok := r.get(name)
	if !ok {
		return def
	}
	s, ok := v.(string)
	if !ok {
		r.Problem(name, "%s is not a text", describe(v))
		return def
	}
	return s
}

// Strings reads a list of texts; nil when it is not there.
func (r *Reader) Strings(name string) []string {
	v, ok := r.get(name)
	if !ok {
		return nil
	}
	if list, ok := v.([]string); ok {
		return slices.Clone(list)
	}
	list, ok := v.([]any)
	if !ok {
		r.Problem(name, "%s is not a list of texts", describe(v))
		return nil
	}
	texts := make([]string, 0, len(list))
	for i, v := range list {
		s, ok := v.(string)
		if !ok {
			r.Problem(fmt.Sprintf("%s[%d]", name, i), "%s is not a text: put it in quotes", describe(v))
		}
		texts = append(texts, s)
	}
	return texts
}

// Map reads free fields; nil when they are not there.
func (r *Reader) Map(name string) map[string]any {
	v, ok := r.get(name)
	if !ok {
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		r.Problem(name, "%s is not a map of fields", describe(v))
	}
	return m
}

// Texts reads a map of texts; nil when it is not there.
func (r *Reader) Texts(name string) map[string]string {
	v, ok := r.get(name)
	if !ok {
		return nil
	}
	if texts, ok := v.(map[string]string); ok {
		return maps.Clone(texts)
	}
	m, ok := v.(map[string]any)
	if !ok {
		r.Problem(name, "%s is not a map of texts", describe(v))
		return nil
	}
	texts := make(map[string]string, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		s, ok := m[k].(string)
		if !ok {
			r.Problem(name+"."+k, "%s is not a text: put it in quotes", describe(m[k]))
		}
		texts[k] = s
	}
	return texts
}

// whole takes what YAML and JSON decoders make of a whole number.
func whole(v any) (int64, bool) {
	switch n := v.(type) {
	case int:
		return int64(n), true
	case int64:
		return n, true
	case uint64:
		return int64(n), n <= math.MaxInt64
	case float64:
		return int64(n), n == math.Trunc(n) && math.Abs(n) < 1<<53
	}
	return 0, false
}

// describe shows a value as it stands in the topology, cut short.
func describe(v any) string {
	s := fmt.Sprint(v)
	if text, ok := v.(string); ok {
		s = fmt.Sprintf("%q", text)
	}
	if r := []rune(s); len(r) > 40 {
		s = string(r[:39]) + "…"
	}
	return s
}
