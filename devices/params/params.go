// Package params reads the fields of a device in the topology: strictly, with
// every problem found at once, each naming its field and what is allowed there.
package params

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// Reader reads one device's fields. Each method reads one field, notes what is
// wrong with it, and then gives the default.
type Reader struct {
	what     string // "a device of kind xfrm has", before a list of the fields there are
	at       string // "links.dc1-dc2.", before the names of fields
	fields   map[string]any
	known    []string
	problems []problem
	inner    []*Reader
}

// Read begins to read the fields of a device of this kind.
func Read(kind string, fields map[string]any) *Reader {
	return &Reader{what: fmt.Sprintf("a device of kind %s has", kind), fields: fields}
}

// Err is every problem that was found, unknown fields included, as one fault of
// kind Invalid, or nil. It joins an error for each problem, and each has a method
// Field() string, such as "links.dc1-dc2.peer". It is called after the last field
// was read.
func (r *Reader) Err() error {
	if all := r.all(); len(all) > 0 {
		return &fault.Error{Kind: fault.Invalid, Cause: all}
	}
	return nil
}

func (r *Reader) all() problems {
	all := slices.Clone(r.problems)
	slices.Sort(r.known)
	for _, name := range slices.Sorted(maps.Keys(r.fields)) {
		if !slices.Contains(r.known, name) {
			all = append(all, problem{r.at + shown(name), fmt.Sprintf("no such field: %s %s", r.what, strings.Join(r.known, ", "))})
		}
	}
	for _, inner := range r.inner {
		all = append(all, inner.all()...)
	}
	return all
}

// Problem notes that a field is wrong: "name: what".
func (r *Reader) Problem(name, format string, a ...any) {
	r.problems = append(r.problems, problem{r.at + name, fmt.Sprintf(format, a...)})
}

// problem is one field that is wrong.
type problem struct{ field, message string }

func (p problem) Error() string { return p.field + ": " + p.message }

// Field is the path of the field: "command[0]", "links.dc1-dc2.peer".
func (p problem) Field() string { return p.field }

// problems are all of them, in one line.
type problems []problem

func (p problems) Error() string {
	var lines []string
	for _, one := range p {
		lines = append(lines, one.Error())
	}
	return strings.Join(lines, "; ")
}

func (p problems) Unwrap() []error {
	var errs []error
	for _, one := range p {
		errs = append(errs, one)
	}
	return errs
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
			r.Problem(name+"."+shown(k), "%s is not a text: put it in quotes", describe(m[k]))
		}
		texts[k] = s
	}
	return texts
}

// Each reads a map of parts, such as the links of a device, in the order of their
// names: f is called with the name and a reader of each part's own fields. It
// reports whether the map is there.
func (r *Reader) Each(name string, f func(name string, part *Reader)) bool {
	m := r.Map(name)
	for _, key := range slices.Sorted(maps.Keys(m)) {
		part := &Reader{what: "here there are", at: r.at + name + "." + shown(key) + "."}
		fields, ok := m[key].(map[string]any)
		if !ok && m[key] != nil {
			r.Problem(name+"."+shown(key), "%s is not a map of fields", describe(m[key]))
			continue
		}
		part.fields = fields
		r.inner = append(r.inner, part)
		f(key, part)
	}
	return m != nil
}

// Links reads the field "links", which has the parameters of each link that the
// node is on: links: {dc1-dc2: {…}}. It notes when there are none, and a name
// that no link can have.
func (r *Reader) Links(f func(link keychain.LinkID, part *Reader)) {
	n := 0
	r.Each(linksField, func(name string, part *Reader) {
		n++
		if err := keychain.ValidName(name); err != nil {
			r.Problem(linksField+"."+shown(name), "it is not the name of a link: %v", err)
			return
		}
		f(keychain.LinkID(name), part)
	})
	if n == 0 {
		r.Problem(linksField, "it is missing: give the parameters of every link that the node is on, as links: {LINK: {…}}")
	}
}

// linksField is the field that Links reads.
const linksField = "links"

// NoLink is the error of a device that has no parameters for a link.
func NoLink(link keychain.LinkID) error {
	return fault.New(fault.Invalid, "the device has no parameters for link %s: add them under device.%s.%s", link, linksField, link)
}

// BothSides is Invalid for a node that stands on one side only of a link, where
// what its device does takes both; what says why.
func BothSides(p keychain.Part, what string) error {
	if p.Sends && p.Accepts {
		return nil
	}
	return fault.New(fault.Invalid, "%s: name it under upstream and under downstream of link %s", what, p.Link)
}

// Pair is Invalid for a link of more than two nodes, where the device of each
// knows one peer.
func Pair(p keychain.Part) error {
	if p.Nodes <= 2 {
		return nil
	}
	return fault.New(fault.Invalid, "link %s has %d nodes, and the device has one peer: declare a link for each pair", p.Link, p.Nodes)
}

// Required reads a text that must be there and must not be empty; example shows
// what may stand there.
func (r *Reader) Required(name, example string) string {
	s := r.String(name, "")
	if v, ok := r.fields[name]; s == "" && (!ok || v == nil || v == "") {
		r.Problem(name, "it is missing: give it, such as %q", example)
	}
	return s
}

// Choice reads one of a few words.
func (r *Reader) Choice(name, def string, words ...string) string {
	s := r.String(name, def)
	if s != def && !slices.Contains(words, s) {
		r.Problem(name, "%s is not one of %s", describe(s), strings.Join(words, ", "))
		return def
	}
	return s
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

// shown is a name that came with the fields: in quotes when it is empty, or when it
// would not be seen as what it is.
func shown(name string) string {
	if quoted := strconv.Quote(name); name == "" || quoted != `"`+name+`"` {
		return quoted
	}
	return name
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
