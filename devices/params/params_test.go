package params_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

func TestFieldsThatAreAbsentTakeTheirDefaults(t *testing.T) {
	for _, fields := range []map[string]any{nil, {"b": nil, "n": nil, "d": nil, "s": nil, "l": nil, "m": nil, "t": nil}} {
		r := params.Read("toy", fields)
		if !r.Bool("b", true) || r.Int("n", 7, 0, 9) != 7 || r.Duration("d", time.Second, 0, time.Minute) != time.Second ||
			r.String("s", "x") != "x" || r.Strings("l") != nil || r.Map("m") != nil || r.Texts("t") != nil || r.Err() != nil {
			t.Errorf("%v: %v", fields, r.Err())
		}
	}
}

func TestWholeNumbersComeInManyTypes(t *testing.T) {
	for _, v := range []any{8, int64(8), uint64(8), 8.0} {
		if r := params.Read("toy", map[string]any{"n": v}); r.Int("n", 0, 1, 9) != 8 || r.Err() != nil {
			t.Errorf("%T: %v", v, r.Err())
		}
	}
}

func TestListsAndMapsComeInTwoTypes(t *testing.T) {
	r := params.Read("toy", map[string]any{
		"l1": []string{"a"}, "l2": []any{"a"}, "t1": map[string]string{"a": "b"}, "t2": map[string]any{"a": "b"},
	})
	if !slices.Equal(r.Strings("l1"), r.Strings("l2")) || !maps.Equal(r.Texts("t1"), r.Texts("t2")) || r.Err() != nil {
		t.Error(r.Err())
	}
}

func TestEveryProblemIsNamed(t *testing.T) {
	r := params.Read("toy", map[string]any{
		"b": 1, "n": "seven", "d": "soon", "s": 1, "l": map[string]any{}, "m": 1, "t": []any{}, "extra": 1,
		"long": strings.Repeat("é", 100), "big": uint64(1) << 63, "half": 0.5,
	})
	r.Bool("b", false)
	r.Int("n", 0, 1, 9)
	r.Duration("d", 0, 0, time.Hour)
	r.String("s", "")
	r.Strings("l")
	r.Map("m")
	r.Texts("t")
	r.Bool("long", false)
	r.Int("big", 0, 0, 9)
	r.Int("half", 0, 0, 9)
	err := r.Err()
	for _, want := range []string{
		"b: 1 is neither true nor false", `n: "seven" is not a whole number from 1 to 9`,
		`d: "soon" is not a duration from 0s to 1h0m0s, such as "30s"`, "s: 1 is not a text", "l: map[] is not a list of texts",
		"m: 1 is not a map of fields", "t: [] is not a map of texts", "extra: no such field: a device of kind toy has b, big, d, half, l",
		"long: \"" + strings.Repeat("é", 38) + "… is neither", "big: 9223372036854775808 is not", "half: 0.5 is not",
	} {
		if !fault.Is(err, fault.Invalid) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
}

func TestPartsAreReadWithTheirPlace(t *testing.T) {
	r := params.Read("toy", map[string]any{
		"links": map[string]any{
			"a-b": map[string]any{"peer": "10.0.0.1", "mode": "fast", "extra": 1},
			"b-a": map[string]any{"mode": "odd"},
			"c-d": 7, "Bad": map[string]any{"x": 1},
		},
	})
	var read []string
	r.Links(func(link keychain.LinkID, part *params.Reader) {
		read = append(read, fmt.Sprint(link, " ", part.Required("peer", "192.0.2.1"), " ", part.Choice("mode", "slow", "slow", "fast")))
	})
	if want := []string{"a-b 10.0.0.1 fast", "b-a  slow"}; !slices.Equal(read, want) {
		t.Errorf("read %q, want %q", read, want)
	}
	err := r.Err()
	for _, want := range []string{
		"links.a-b.extra: no such field: here there are mode, peer", `links.b-a.peer: it is missing: give it, such as "192.0.2.1"`,
		`links.b-a.mode: "odd" is not one of slow, fast`, "links.c-d: 7 is not a map of fields", "links.Bad: it is not the name of a link",
	} {
		if !fault.Is(err, fault.Invalid) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err)
	if !ok || len(joined.Unwrap()) != 6 {
		t.Fatalf("%v does not come apart into its problems", err)
	}
	for _, one := range joined.Unwrap() {
		field, ok := one.(interface{ Field() string })
		if !ok || !strings.HasPrefix(one.Error(), field.Field()+": ") {
			t.Errorf("%v does not say its field", one)
		}
	}
}

func TestADeviceWithoutLinksIsToldSo(t *testing.T) {
	for _, fields := range []map[string]any{nil, {"links": map[string]any{}}} {
		r := params.Read("toy", fields)
		r.Links(func(keychain.LinkID, *params.Reader) {})
		if err := r.Err(); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "links: it is missing") {
			t.Errorf("%v: %v", fields, err)
		}
	}
}
