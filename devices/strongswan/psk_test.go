package strongswan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// pskLink is the parameters of a link in mode psk, with fields of it changed; nil
// takes one away.
func pskLink(changes map[string]any) map[string]any {
	l := map[string]any{
		"mode": "psk", "localID": "Branch.example", "remoteID": "hub.example",
		"connection": map[string]any{"local_addrs": "10.9.0.1", "remote_addrs": "10.9.0.2", "proposals": "aes256-sha256-curve25519"},
	}
	maps.Copy(l, changes)
	return l
}

func pskFields(changes map[string]any) map[string]any {
	return map[string]any{"links": map[string]any{"a-b": pskLink(changes)}}
}

func TestAProbeBelongsToOneKey(t *testing.T) {
	c, err := read(pskFields(nil))
	if err != nil {
		t.Fatal(err)
	}
	p := c.links["a-b"].psk
	common := "keyingtries=1 local{auth=psk id=%[1]s.5e3c7a9fd0d1c4c6.a-b.keyorch } local_addrs[10.9.0.1] proposals[aes256-sha256-curve25519] " +
		"remote{auth=psk id=%[1]s.HUB.a-b.keyorch } remote_addrs[10.9.0.2] unique=never version=2 "
	branch, hub := probeID("a-b", four, "branch.example"), probeID("a-b", four, "hub.example")
	common = strings.NewReplacer("5e3c7a9fd0d1c4c6", strings.Split(branch, ".")[1], "HUB", strings.Split(hub, ".")[1]).Replace(common)
	if got, want := show(p.probe("a-b", four).message()), "childless=force dpd_delay=10s "+fmt.Sprintf(common, "e4-a1b2c3d4e5"); got != want {
		t.Errorf("a probe is\n%s\nwant\n%s", got, want)
	}
	if got, want := show(p.probe("a-b", keychain.Ref{}).message()), "childless=allow dpd_delay=10s "+fmt.Sprintf(common, "*"); got != want {
		t.Errorf("it is answered by\n%s\nwant\n%s", got, want)
	}
	// The other end must come to the same two identities.
	other, err := read(pskFields(map[string]any{"localID": "hub.example", "remoteID": "branch.EXAMPLE"}))
	if err != nil {
		t.Fatal(err)
	}
	if back := other.links["a-b"].psk.probe("a-b", four); back.section("local")["id"] != hub || back.section("remote")["id"] != branch {
		t.Errorf("the peer has %v", back)
	}
	seen := map[string]bool{branch: true, hub: true, probeID("a-b", five, "hub.example"): true, probeID("b-a", four, "hub.example"): true}
	if len(seen) != 4 {
		t.Errorf("probes are not told apart: %v", seen)
	}
}

func TestWrongFieldsOfAPSKAreNamed(t *testing.T) {
	inside := func(name string, value any) map[string]any {
		return pskFields(map[string]any{"connection": map[string]any{"remote_addrs": "10.9.0.2", name: value}})
	}
	two := func(changes map[string]any) map[string]any {
		fields := pskFields(nil)
		fields["links"].(map[string]any)["b-c"] = pskLink(changes)
		return fields
	}
	for _, c := range []struct {
		fields map[string]any
		want   string
	}{
		{pskFields(map[string]any{"overlap": "1s"}), "links.a-b.overlap: no such field: here there are child, connection, ike, localID, mode, remoteID"},
		{pskFields(map[string]any{"localID": nil}), "links.a-b.localID: it is missing"},
		{pskFields(map[string]any{"remoteID": "%any"}), "links.a-b.remoteID: it is not a name"},
		{pskFields(map[string]any{"remoteID": "*.example"}), "links.a-b.remoteID: it is not a name"},
		{pskFields(map[string]any{"remoteID": "fe80::1%eth0"}), "links.a-b.remoteID: it is not a name"},
		{pskFields(map[string]any{"remoteID": "C=CH, CN=*"}), "links.a-b.remoteID: it is not a name"},
		{pskFields(map[string]any{"remoteID": "branch.example"}), "links.a-b.remoteID: it is the localID as well"},
		{pskFields(map[string]any{"child": "net"}), "links.a-b.child: give ike and child"},
		{pskFields(map[string]any{"connection": nil}), "links.a-b.connection.remote_addrs: it is missing"},
		{inside("children", map[string]any{"net": map[string]any{}}), "links.a-b.connection.children: the connection of the probe has none"},
		{inside("local", map[string]any{"auth": "psk"}), "links.a-b.connection.local: the connection of the probe has none"},
		{inside("childless", "never"), "links.a-b.connection.childless: it is always allow here"},
		{inside("unique", "replace"), "links.a-b.connection.unique: it is always never here"},
		{two(map[string]any{"remoteID": "c.example"}), "localID: link "},
		{two(map[string]any{"localID": "c.example"}), "remoteID: link "},
	} {
		_, err := New("r1", c.fields)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func TestIdentitiesHaveOneForm(t *testing.T) {
	for id, want := range map[string]string{
		"Gw.Example": "gw.example", "10.9.0.1": "10.9.0.1", "2001:DB8:0::1": "2001:db8::1", "ops@Example.net": "ops@example.net",
	} {
		c, err := read(pskFields(map[string]any{"localID": id}))
		if err != nil || c.links["a-b"].psk.local != want {
			t.Errorf("%s: %+v (%v)", id, c.links["a-b"].psk, err)
		}
	}
}

func TestBothEndsOfAPSKStandOnBothSides(t *testing.T) {
	for _, c := range []struct {
		part keychain.Part
		want string
	}{
		{keychain.Part{Link: "a-b", Sends: true, Accepts: true, Nodes: 2}, ""},
		{keychain.Part{Link: "a-b", Sends: true, Nodes: 2}, "in mode psk both ends sign with the key and verify with it"},
		{keychain.Part{Link: "a-b", Accepts: true, Nodes: 2}, "name it under upstream and under downstream of link a-b"},
		{keychain.Part{Link: "a-b", Sends: true, Accepts: true, Nodes: 3}, "declare a link for each pair"},
	} {
		err := Part(pskFields(nil), c.part)
		if c.want == "" && err != nil || c.want != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.part, err, c.want)
		}
	}
}

func TestSecretsAreToldApartByWhatTheyAreFor(t *testing.T) {
	name := nameOf("a-b", four)
	names := []string{nameOf("a-b", five) + accepting, name + signing, "ike-operator", name + accepting, nameOf("b-a", four) + accepting, name, name + accepting}
	for suffix, want := range map[string][]keychain.Ref{accepting: {four, five}, signing: {four}, "": {four}} {
		if got := named("a-b", names, suffix); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", suffix, got, want)
		}
	}
	long := keychain.LinkID(strings.Repeat("l", keychain.MaxName))
	last := keychain.Ref{Epoch: 1<<64 - 1, KCV: "a1b2c3d4e5"}
	if id := probeID(long, last, "hub.example"); len(id) > maxFieldName {
		t.Errorf("%s is too long for an identity", id)
	}
	if _, ours := parseName("a-b", psk{link: "a-b"}.answer()); ours {
		t.Error("the connection that answers probes is taken for that of a key")
	}
}

func TestATunnelIsUpWhileItsChildIs(t *testing.T) {
	for _, c := range []struct {
		state string
		child childSA
		want  bool
	}{
		{"ESTABLISHED", childSA{name: "net", installed: true}, true},
		{"DELETING", childSA{name: "net", installed: true}, false},
		{"ESTABLISHED", childSA{name: "net"}, false},
		{"ESTABLISHED", childSA{name: "other", installed: true}, false},
	} {
		if got := (ikeSA{ending: ends(c.state), children: []childSA{c.child}}).carries("net"); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
