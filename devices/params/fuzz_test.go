package params_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/params"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// FuzzFields: whatever stands in the fields of a device, every reader gives what is
// within its bounds, and each problem is Invalid, names a field and stays short
// however long the value is.
func FuzzFields(f *testing.F) {
	for _, s := range []string{
		`{}`, `null`, `[]`, `{"port":"eth0","mtu":1500,"on":true,"wait":"30s","list":["a","b"],"words":{"a":"b"},"mode":"ppk","links":{"dc1-dc2":{"peer":"192.0.2.1"}}}`,
		`{"port":5,"mtu":"1500","on":"yes","wait":30,"list":"a","words":["a"],"mode":"x","links":{"a/b":{},"l":[],"m":null}}`,
		`{"mtu":1e300,"wait":"9999999h","list":[1,null],"words":{"a":1},"links":{"":{"":""}},"extra":{"deep":[{}]}}`,
		`{"" :0,"\u001b[2J":1,"links":{"":1,"a-b":{"" :2}}}`,
		"{\"links\":{\"" + strings.Repeat("\x7f", keychain.MaxName) + "\":null}}",
		`{"port":"kH8vN2qLx0sR7tYw3zB5dF9gJ1mP4cVaUeOiTnSrQlAkH8vN2qLx0sR7tYw3zB5dF9gJ1mP4cVaUeOiTnSrQlA","psk":"x"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var fields map[string]any
		if json.Unmarshal(data, &fields) != nil {
			return
		}
		r := params.Read("test", fields)
		r.Required("port", "eth0")
		r.Bool("on", true)
		if n := r.Int("mtu", 1500, 68, 9000); n < 68 || n > 9000 {
			t.Errorf("mtu %d", n)
		}
		if d := r.Duration("wait", time.Second, time.Second, time.Hour); d < time.Second || d > time.Hour {
			t.Errorf("wait %v", d)
		}
		r.Strings("list")
		r.Texts("words")
		if m := r.Choice("mode", "psk", "psk", "ppk"); m != "psk" && m != "ppk" {
			t.Errorf("mode %q", m)
		}
		r.Links(func(link keychain.LinkID, part *params.Reader) {
			if keychain.ValidName(string(link)) != nil {
				t.Errorf("a link named %q", link)
			}
			part.Required("peer", "192.0.2.1")
		})
		err := r.Err()
		if err == nil {
			return
		}
		var all interface{ Unwrap() []error }
		if !fault.Is(err, fault.Invalid) || !errors.As(err, &all) || len(all.Unwrap()) == 0 {
			t.Fatalf("says %v", err)
		}
		for _, one := range all.Unwrap() {
			placed, ok := one.(interface{ Field() string })
			if !ok || placed.Field() == "" {
				t.Errorf("%q has no field", one)
			}
			if said := len([]rune(one.Error())); ok && said > len([]rune(placed.Field()))+200+4*keychain.MaxName { // a short name is quoted again
				t.Errorf("a problem of %d characters", said)
			}
		}
	})
}
