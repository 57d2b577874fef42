package netconf

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

func good() map[string]any {
	return map[string]any{
		"address": "192.0.2.1", "user": "keyorch", "identity": "/etc/keyorch/id",
		"hostKey": "SHA256:" + strings.Repeat("A", 43),
		"links":   map[string]any{"l1": map[string]any{"keychain": "c1"}},
	}
}

func TestFieldsOfTheTopology(t *testing.T) {
	c, err := read(good())
	want := link{chain: "c1", module: module8177, algorithm: "hmac-sha-256", format: keystring}
	if err != nil || c.target.Address != "192.0.2.1:830" || c.timeout != 30*time.Second || c.confirm != 30*time.Second || c.links["l1"] != want {
		t.Errorf("%+v (%v)", c, err)
	}
	for address, want := range map[string]string{
		"r1": "r1:830", "r1:22": "r1:22", "2001:db8::1": "[2001:db8::1]:830", "[2001:db8::1]": "[2001:db8::1]:830", "[2001:db8::1]:22": "[2001:db8::1]:22",
	} {
		f := good()
		f["address"] = address
		if c, err := read(f); err != nil || c.target.Address != want {
			t.Errorf("%s: %s (%v), want %s", address, c.target.Address, err, want)
		}
	}
	f := good()
	f["links"] = map[string]any{"l1": map[string]any{"keychain": "c1", "algorithm": "acme-keys:aes-cmac", "keyFormat": "hexadecimal-string"}}
	c, err = read(f)
	if want := (link{"c1", "acme-keys", "aes-cmac", hexadecimal}); err != nil || c.links["l1"] != want {
		t.Errorf("%+v (%v)", c.links, err)
	}
}

func TestFieldsThatAreWrongAreNamed(t *testing.T) {
	for _, c := range []struct {
		field string
		value any
		want  string
	}{
		{"address", nil, "address: it is missing"}, {"address", "a:b:c", "address: \"a:b:c\" is not host:port"},
		{"user", nil, "user: it is missing"}, {"identity", nil, "identity: it is missing"},
		{"hostKey", nil, "hostKey: it is missing"}, {"hostKey", "none", "hostKey: it is neither a fingerprint"},
		{"timeout", "10ms", "timeout: \"10ms\" is not a duration from 1s to 10m0s"},
		{"confirmTimeout", "1h", "confirmTimeout: \"1h\" is not a duration from 1s to 10m0s"},
		{"insecure", true, "insecure: no such field"},
		{"links", nil, "links: it is missing"},
		{"links", map[string]any{"l1": map[string]any{}}, "links.l1.keychain: it is missing"},
		{"links", map[string]any{"l1": map[string]any{"keychain": "c1", "algorithm": "a b"}}, "links.l1.algorithm: \"a b\" is not an identity"},
		{"links", map[string]any{"l1": map[string]any{"keychain": "c1", "algorithm": ":x"}}, "links.l1.algorithm"},
		{"links", map[string]any{"l1": map[string]any{"keychain": "c1", "keyFormat": "hex"}}, "links.l1.keyFormat: \"hex\" is not one of"},
		{"links", map[string]any{"l1": map[string]any{"keychain": "c1"}, "l2": map[string]any{"keychain": "c1"}},
			"links.l2.keychain: link l1 has key chain c1 already"},
	} {
		f := maps.Clone(good())
		f[c.field] = c.value
		_, err := New("n1", f)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s %v: %v, want %q", c.field, c.value, err, c.want)
		}
		if _, err := Capabilities(f); !fault.Is(err, fault.Invalid) {
			t.Errorf("capabilities with %s %v: %v", c.field, c.value, err)
		}
	}
}

func TestPartsAndCapabilities(t *testing.T) {
	caps, err := Capabilities(good())
	if err != nil || caps.CannotStage() != "" || !caps.Survives || caps.CounterBound {
		t.Errorf("%+v (%v)", caps, err)
	}
	if err := Part(good(), keychain.Part{Link: "l1", Sends: true, Accepts: false, Nodes: 2}); err != nil {
		t.Error(err)
	}
	wants(t, Part(good(), keychain.Part{Link: "l2", Sends: true, Accepts: true, Nodes: 2}), fault.Invalid, "the device has no parameters for link l2: add them under device.links.l2")
	d, err := New("n1", good())
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Upstream().Observe(t.Context(), "l2")
	wants(t, err, fault.Invalid, "no parameters for link l2")
	if d.Capabilities() != caps {
		t.Errorf("%+v", d.Capabilities())
	}
}
