package secret_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/secret"
)

// naive is what a key must not be: it takes care of itself in String alone.
type naive struct{ b []byte }

func (naive) String() string { return "[redacted]" }

// open is what is printed by those who never thought of it.
type open []byte

// ways are the ways out of a process that a key takes by accident. Each gives
// everything that was written, errors included.
func ways(hold func() any) map[string]string {
	out := map[string]string{}
	for _, flags := range []string{"", "+", "#", " ", "0", "-", "40", ".40", "# "} {
		for _, verb := range "vTtbcdoOqxXUeEfFgGspw" {
			format := "%" + flags + string(verb)
			out["fmt "+format] = fmt.Errorf(format, hold()).Error() // Errorf knows %w too
		}
	}
	out["fmt Print"] = fmt.Sprint(hold()) + fmt.Sprintln("a", hold(), 1)
	for name, handler := range map[string]func(io.Writer) slog.Handler{
		"slog text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
		"slog json": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
	} {
		var b bytes.Buffer
		log := slog.New(handler(&b))
		log.With("with", hold()).WithGroup("g").Info("said", "key", hold(), slog.Group("more", "key", hold()))
		out[name] = b.String()
	}
	text, err := json.Marshal(hold())
	out["json"] = string(text) + fmt.Sprint(err)
	var b bytes.Buffer
	err = gob.NewEncoder(&b).Encode(hold())
	out["gob"] = b.String() + fmt.Sprint(err)
	out["a failing test's diff"] = diff(hold(), nil)
	out["a dump of everything"] = dump(reflect.ValueOf(hold()), 0)
	return out
}

// diff is what tests print that compare with reflect.DeepEqual.
func diff(got, want any) string {
	if reflect.DeepEqual(got, want) {
		return ""
	}
	return fmt.Sprintf("got  %+v\nwant %+v\ngot  %#v\nwant %#v", got, want, got, want)
}

// dump walks into everything that reflection can see, unexported fields as well,
// as go-cmp and the like do.
func dump(v reflect.Value, depth int) string {
	var b strings.Builder
	each := func(name any, v reflect.Value) {
		if depth < 10 {
			fmt.Fprintf(&b, "%v: %s, ", name, dump(v, depth+1))
		}
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			each("to", v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			each(v.Type().Field(i).Name, v.Field(i))
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return fmt.Sprintf("%v %x", v, v)
		}
		for i := range v.Len() {
			each(i, v.Index(i))
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			each(k, v.MapIndex(k))
		}
	default:
		return fmt.Sprintf("%v %+v %#v", v, v, v)
	}
	return b.String()
}

// shown finds four bytes of key in a row in text: raw, hexadecimal, decimal, or
// Base64. It gives the form, or nothing.
func shown(text string, key []byte) string {
	const run = 4
	lower := strings.ToLower(text)
	for i := range len(key) - run + 1 {
		part := key[i : i+run]
		for name, form := range map[string]string{
			"raw":         string(part),
			"quoted":      strings.Trim(strings.ToLower(fmt.Sprintf("%q", part)), `"`),
			"hexadecimal": hex.EncodeToString(part),
			"hex, spaced": fmt.Sprintf("% x", part),
			"hex, 0x":     fmt.Sprintf("% #x", part),
			"hex, Go":     strings.Trim(fmt.Sprintf("%#v", part), "[]byte{}"),
			"decimal":     strings.Trim(fmt.Sprint(part), "[]"),
			"JSON array":  strings.ReplaceAll(strings.Trim(fmt.Sprint(part), "[]"), " ", ","),
			"octal":       strings.Trim(fmt.Sprintf("%o", part), "[]"),
			"binary":      strings.Trim(fmt.Sprintf("%b", part), "[]"),
		} {
			if strings.Contains(text, form) || strings.Contains(lower, form) {
				return name
			}
		}
	}
	for i := range len(key) - 5 {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if strings.Contains(text, enc.EncodeToString(key[i:i+6])) {
				return "Base64"
			}
		}
	}
	return ""
}

type exported[K any] struct{ Key K }
type unexported[K any] struct{ key K }
type pointing[K any] struct{ next *unexported[K] }

// holders are the places where a key may sit.
func holders[K any](k K) map[string]any {
	return map[string]any{
		"value":                    k,
		"pointer":                  &k,
		"exported field":           exported[K]{k},
		"unexported field":         unexported[K]{k},
		"pointer to a struct":      &unexported[K]{k},
		"behind two pointers":      pointing[K]{&unexported[K]{k}},
		"slice":                    []K{k, k},
		"array":                    [1]K{k},
		"map":                      map[string]K{"a": k},
		"interface":                exported[any]{k},
		"interface inside":         unexported[any]{unexported[any]{k}},
		"slice of interfaces":      []any{1, k},
		"map of unexported fields": map[int]unexported[K]{1: {k}},
	}
}

func bytesOfKey(t *testing.T) []byte {
	b := make([]byte, secret.Size)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestKeyShowsNowhere(t *testing.T) {
	b := bytesOfKey(t)
	for where, holder := range holders(secret.New(bytes.Clone(b))) {
		for way, text := range ways(func() any { return holder }) {
			if form := shown(text, b); form != "" {
				t.Errorf("%s of a key in a %s shows it (%s)", way, where, form)
			}
		}
	}
}

// A check that cannot fail proves nothing: a naive key is seen, and in the very
// places where its String is of no use.
func TestNaiveKeyShows(t *testing.T) {
	b := bytesOfKey(t)
	seen := map[string]bool{}
	for where, holder := range holders(naive{b}) {
		for way, text := range ways(func() any { return holder }) {
			if form := shown(text, b); form != "" {
				seen[way+", "+where] = true
			}
		}
	}
	for _, want := range []string{
		"fmt %v, unexported field", "fmt %+v, unexported field", "fmt %x, unexported field", "fmt %d, value",
		"fmt %#v, value", "fmt %X, map of unexported fields", "slog text, unexported field",
		"a failing test's diff, value", "a dump of everything, behind two pointers",
	} {
		if !seen[want] {
			t.Errorf("a naive key is not seen: %s", want)
		}
	}
	for where, holder := range holders(open(b)) {
		for _, way := range []string{"fmt %v", "fmt %x", "fmt %q", "fmt %o", "fmt %b", "json", "gob", "slog json", "slog text", "a dump of everything"} {
			private := strings.Contains(where, "unexported") || strings.Contains(where, "pointers") ||
				strings.Contains(where, "struct") || where == "interface inside"
			if private && way != "a dump of everything" {
				continue // json, gob and pointers do not go there
			}
			if way == "gob" && strings.Contains(where, "interface") {
				continue // gob wants the type registered
			}
			address := where == "pointer" && strings.HasPrefix(way, "slog text") // prints the address
			if text := ways(func() any { return holder })[way]; !address && shown(text, b) == "" {
				t.Errorf("bytes are not seen: %s of a %s: %.200q", way, where, text)
			}
		}
	}
}

func TestMarshallersRefuse(t *testing.T) {
	k := secret.New(bytesOfKey(t))
	for where, holder := range map[string]any{"value": k, "pointer": &k, "field": exported[secret.Key]{k}} {
		if _, err := json.Marshal(holder); !errors.Is(err, secret.ErrSealed) {
			t.Errorf("json of a %s: %v", where, err)
		}
		if err := gob.NewEncoder(io.Discard).Encode(holder); !errors.Is(err, secret.ErrSealed) {
			t.Errorf("gob of a %s: %v", where, err)
		}
	}
	if _, err := k.MarshalText(); !errors.Is(err, secret.ErrSealed) {
		t.Errorf("MarshalText: %v", err)
	}
}

func TestKeyDoesNotCompare(t *testing.T) {
	if reflect.TypeFor[secret.Key]().Comparable() {
		t.Error("keys compare with ==, which is not constant in time")
	}
}
