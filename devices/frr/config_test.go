package frr

import (
	"strings"
	"testing"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

func links(names ...string) map[string]any {
	l := map[string]any{}
	for _, n := range names {
		l[n] = map[string]any{}
	}
	return l
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	for _, c := range []struct {
		name   string
		fields map[string]any
		want   []string
	}{
		{"no links", map[string]any{}, []string{"links: it is missing"}},
		{"unknown", map[string]any{"links": links("a"), "socket": "x"}, []string{"socket: no such field"}},
		{"pathspace", map[string]any{"links": links("a"), "pathspace": "../x"}, []string{"pathspace: "}},
		{"relative", map[string]any{"links": links("a"), "vtyDir": "run", "config": "frr.conf"}, []string{"vtyDir: ", "config: "}},
		{"algorithm", map[string]any{"links": map[string]any{"a": map[string]any{"algorithm": "md5"}}}, []string{"links.a.algorithm: ", "hmac-sha-256"}},
		{"keychain", map[string]any{"links": map[string]any{"a": map[string]any{"keychain": "two words"}}}, []string{"links.a.keychain: "}},
		{"shared", map[string]any{"links": map[string]any{"a": map[string]any{"keychain": "b"}, "b": nil}}, []string{"links.b.keychain: link a has key chain b already"}},
		{"inner", map[string]any{"links": map[string]any{"a": map[string]any{"chain": "x"}}}, []string{"links.a.chain: no such field"}},
	} {
		_, err := New("n1", c.fields)
		for _, want := range c.want {
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want invalid with %q", c.name, err, want)
			}
		}
	}
}

func TestDefaults(t *testing.T) {
	d, err := New("n1", map[string]any{"links": links("dc1-dc2"), "pathspace": "r1"})
	if err != nil {
		t.Fatal(err)
	}
	if d.saved != "/etc/frr/r1/frr.conf" || d.vtysh != "vtysh" || d.links["dc1-dc2"] != (chainConfig{name: "dc1-dc2", algorithm: "hmac-sha-256"}) {
		t.Errorf("%+v", d.config)
	}
	if c := d.Capabilities(); !c.Survives || c.CounterBound || c.CannotStage() != "" {
		t.Errorf("%+v", c)
	}
	if c, err := Capabilities(map[string]any{"links": links("a"), "persist": false}); err != nil || c.Survives {
		t.Errorf("without persist: %+v (%v)", c, err)
	}
}

func TestANodeStandsOnBothSides(t *testing.T) {
	fields := map[string]any{"links": links("a")}
	for _, c := range []struct {
		link           keychain.LinkID
		sends, accepts bool
		want           string
	}{
		{"a", true, true, ""},
		{"a", true, false, "under upstream and under downstream"},
		{"a", false, true, "under upstream and under downstream"},
		{"b", true, true, "no parameters for link b"},
	} {
		err := Part(fields, keychain.Part{Link: c.link, Sends: c.sends, Accepts: c.accepts, Nodes: 2})
		if (err == nil) != (c.want == "") || err != nil && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
