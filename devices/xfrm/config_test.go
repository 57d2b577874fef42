package xfrm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

func TestEveryProblemIsNamed(t *testing.T) {
	_, err := New("n1", map[string]any{
		"netns": "a/b", "key": 1,
		"links": map[string]any{
			"none":   nil,
			"same":   map[string]any{"local": "192.0.2.1", "remote": "192.0.2.1", "replayWindow": 0},
			"mixed":  map[string]any{"local": "192.0.2.1", "remote": "2001:db8::1", "keyBits": "192"},
			"inner":  map[string]any{"local": "192.0.2.1", "remote": "192.0.2.2", "localNet": "10.1.0.1/16", "remoteNet": "2001:db8::/64"},
			"host":   map[string]any{"local": "192.0.2.1", "remote": "192.0.2.2", "localNet": "10.1.0.0/16", "mode": "transport"},
			"wrong":  map[string]any{"local": "host.example", "remote": "ff02::1", "mode": "beet", "remoteNet": "10.1.0.0"},
			"mapped": map[string]any{"local": "::ffff:192.0.2.1", "remote": "fe80::1%eth0"},
		},
	})
	refuses(t, err, fault.Invalid, "device of n1: ", `netns: "a/b" is neither`, "key: no such field: a device of kind xfrm has links, netns",
		"links.none.local: it is missing", "links.same.remote: it is the same address as local", "links.same.replayWindow: 0 is not",
		"links.mixed.remote: 192.0.2.1 and 2001:db8::1 are not of the same IP version", `links.mixed.keyBits: "192" is not one of 128, 256`,
		"links.inner.localNet: 10.1.0.1/16 has bits set after its length: is 10.1.0.0/16 meant?", "links.inner.remoteNet: 10.1.0.1/16 and 2001:db8::/64 are not",
		"links.host.mode: in transport mode", `links.wrong.local: "host.example" is not the address of a host`, `links.wrong.remote: "ff02::1"`,
		`links.wrong.mode: "beet" is not one of tunnel, transport`, `links.wrong.remoteNet: "10.1.0.0" is not a network`,
		`links.mapped.local: "::ffff:192.0.2.1"`, `links.mapped.remote: "fe80::1%eth0"`)
	_, err = Capabilities(nil)
	refuses(t, err, fault.Invalid, "links: it is missing")
}

func TestPart(t *testing.T) {
	f := fields("a-b", "b-a")
	must(t, Part(f, keychain.Part{Link: "a-b", Sends: true, Accepts: false, Nodes: 2}))
	must(t, Part(f, keychain.Part{Link: "b-a", Sends: false, Accepts: true, Nodes: 2}))
	refuses(t, Part(f, keychain.Part{Link: "a-b", Sends: true, Accepts: true, Nodes: 2}), fault.Invalid, "cannot send and accept on one link")
	refuses(t, Part(f, keychain.Part{Link: "c-d", Sends: true, Accepts: false, Nodes: 2}), fault.Invalid, "no parameters for link c-d", "device.links.c-d")
	refuses(t, Part(f, keychain.Part{Link: "a-b", Sends: true, Nodes: 3}), fault.Invalid, "link a-b has 3 nodes", "declare a link for each pair")
	refuses(t, Part(nil, keychain.Part{Link: "a-b", Sends: true, Accepts: false, Nodes: 2}), fault.Invalid, "links: it is missing")
}

func TestDefaults(t *testing.T) {
	c, err := read(map[string]any{"links": map[string]any{
		"a-b": map[string]any{"local": "192.0.2.1", "remote": "192.0.2.2"},
		"six": map[string]any{"local": "2001:db8::1", "remote": "2001:db8::2", "mode": "transport", "keyBits": "128"},
	}})
	must(t, err)
	p := c.links["a-b"]
	if p.localNet.String() != "192.0.2.1/32" || p.remoteNet.String() != "192.0.2.2/32" || p.keySize != 32 || p.window != defaultWindow {
		t.Errorf("got %+v", p)
	}
	if p := c.links["six"]; p.localNet.String() != "2001:db8::1/128" || p.keySize != 16 {
		t.Errorf("got %+v", p)
	}
	if caps, err := Capabilities(fields("a-b")); err != nil || caps != (keychain.Capabilities{AcceptMany: 256, SwitchSeparate: true, CounterBound: true}) {
		t.Errorf("%+v (%v)", caps, err)
	}
}

// fields is a device with links of these names, each between addresses and nets of
// its own.
func fields(links ...string) map[string]any {
	all := map[string]any{}
	for i, link := range links {
		all[link] = map[string]any{
			"local": fmt.Sprintf("192.0.2.%d", 2*i+1), "remote": fmt.Sprintf("192.0.2.%d", 2*i+2),
			"localNet": fmt.Sprintf("10.%d.0.0/24", i), "remoteNet": fmt.Sprintf("10.%d.1.0/24", i),
		}
	}
	return map[string]any{"links": all}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refuses wants err to be of kind and to say all of words.
func refuses(t *testing.T, err error, kind fault.Kind, words ...string) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Fatalf("got %v (%v), want %v", err, fault.Of(err), kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}
