package haproxy_test

import (
	"strings"
	"testing"

	"github.com/keyorch/keyorch/devices/haproxy"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

func links(parts map[string]any) map[string]any { return map[string]any{"links": parts} }

func TestParametersThatAreEnough(t *testing.T) {
	c, err := haproxy.Capabilities(links(map[string]any{
		"edge": map[string]any{"keyFile": "/etc/haproxy/ticket-keys/edge"},
		"shop": map[string]any{"keyFile": "/etc/haproxy/ticket-keys/shop", "ring": "keys/shop", "group": "haproxy", "probe": "127.0.0.1:443", "serverName": "shop.example.org"},
	}))
	want := keychain.Capabilities{AcceptMany: 2, SwitchSeparate: true, Survives: true}
	if err != nil || c != want || c.CannotStage() != "" {
		t.Errorf("%+v, %v, want %+v", c, err, want)
	}
}

func TestEveryProblemNamesItsField(t *testing.T) {
	for field, fields := range map[string]map[string]any{
		"links: it is missing":      {},
		"socket: no such field":     {"socket": "/run/haproxy/admin.sock"},
		"master: ":                  {"master": "haproxy.sock"},
		"timeout: ":                 {"timeout": "1ms"},
		"links.a.keyFile: it is m":  links(map[string]any{"a": nil}),
		"links.a.keyFile: \"keys\"": links(map[string]any{"a": map[string]any{"keyFile": "keys"}}),
		"links.a.keyFile: \"/a b\"": links(map[string]any{"a": map[string]any{"keyFile": "/a b"}}),
		"links.a.ring: \"#0\"":      links(map[string]any{"a": map[string]any{"keyFile": "/a", "ring": "#0"}}),
		"links.a.ring: \"a;b\"":     links(map[string]any{"a": map[string]any{"keyFile": "/a", "ring": "a;b"}}),
		"links.a.probe: ":           links(map[string]any{"a": map[string]any{"keyFile": "/a", "probe": "localhost"}}),
		"links.a.serverName: ":      links(map[string]any{"a": map[string]any{"keyFile": "/a", "serverName": "x"}}),
		"links.b.keyFile: link a":   links(map[string]any{"a": map[string]any{"keyFile": "/a"}, "b": map[string]any{"keyFile": "/a"}}),
		"links.b.ring: link a":      links(map[string]any{"a": map[string]any{"keyFile": "/a"}, "b": map[string]any{"keyFile": "/b", "ring": "/a"}}),
	} {
		if _, err := haproxy.New("n1", fields); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("want %q, got: %v", field, err)
		}
	}
}

func TestANodeStandsOnBothSides(t *testing.T) {
	fields := links(map[string]any{"edge": map[string]any{"keyFile": "/etc/haproxy/ticket-keys/edge"}})
	for _, c := range []struct {
		link           keychain.LinkID
		sends, accepts bool
		want           string
	}{
		{"edge", true, true, ""},
		{"edge", true, false, "name it under upstream and under downstream of link edge"},
		{"edge", false, true, "name it under upstream and under downstream of link edge"},
		{"other", true, true, "links.other"},
	} {
		err := haproxy.Part(fields, keychain.Part{Link: c.link, Sends: c.sends, Accepts: c.accepts, Nodes: 2})
		if c.want == "" && err != nil || c.want != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
