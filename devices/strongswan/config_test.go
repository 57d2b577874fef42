package strongswan

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// tunnel is a connection as it may stand in a topology.
func tunnel() map[string]any {
	return map[string]any{
		"local_addrs": "10.9.0.1", "remote_addrs": []any{"10.9.0.2"}, "version": 2, "mobike": false,
		"proposals": "aes256-sha256-curve25519, default",
		"local":     map[string]any{"auth": "psk", "id": "a.link1"},
		"remote":    map[string]any{"auth": "psk", "id": "b.link1"},
		"children": map[string]any{
			"net": map[string]any{"local_ts": []string{"10.1.0.1/32"}, "remote_ts": "10.1.0.2/32", "rekey_time": 3600.0, "priority": nil},
		},
	}
}

// with is tunnel with fields of it changed; nil takes one away.
func with(changes map[string]any) map[string]any {
	c := tunnel()
	maps.Copy(c, changes)
	return map[string]any{"links": map[string]any{"a-b": map[string]any{"connection": c}}}
}

func TestAConnectionIsWrittenInTheWordsOfSwanctl(t *testing.T) {
	c, err := read(with(nil))
	if err != nil {
		t.Fatal(err)
	}
	l := c.links["a-b"]
	want := "children{net{local_ts[10.1.0.1/32] rekey_time=3600 remote_ts[10.1.0.2/32] } } dpd_delay=10s keyingtries=1 " +
		"local{auth=psk id=a.link1 } local_addrs[10.9.0.1] mobike=no ppk_required=yes proposals[aes256-sha256-curve25519 default] " +
		"remote{auth=psk id=b.link1 } remote_addrs[10.9.0.2] unique=never version=2 "
	if got := show(l.connection.message()); got != want {
		t.Errorf("the connection is\n%s\nwant\n%s", got, want)
	}
	if c.socket != DefaultSocket || c.timeout != DefaultTimeout || l.overlap != DefaultOverlap {
		t.Errorf("defaults: %+v", c)
	}
}

func TestFieldsThatAreWrongAreNamed(t *testing.T) {
	for _, c := range []struct {
		fields map[string]any
		want   string
	}{
		{nil, "links: it is missing"},
		{map[string]any{"socket": "", "links": map[string]any{"a-b": nil}}, "socket: it is empty"},
		{map[string]any{"timeout": "1ms"}, `timeout: "1ms" is not a duration`},
		{map[string]any{"sockets": "x"}, "sockets: no such field: a device of kind strongswan has links, socket, timeout"},
		{map[string]any{"links": map[string]any{"a-b": map[string]any{"modus": "x"}}}, "links.a-b.modus: no such field: here there are connection, mode, overlap"},
		{map[string]any{"links": map[string]any{"a-b": map[string]any{"mode": "x"}}}, `links.a-b.mode: "x" is not one of ppk, psk`},
		{map[string]any{"links": map[string]any{"a-b": map[string]any{"connection": "x"}}}, `links.a-b.connection: "x" is not a map of fields`},
		{with(map[string]any{"version": 1}), "links.a-b.connection.version: it is always 2 here"},
		{with(map[string]any{"unique": "replace"}), "links.a-b.connection.unique: it is always never here"},
		{with(map[string]any{"ppk_required": false}), "links.a-b.connection.ppk_required: it is always yes here"},
		{with(map[string]any{"ppk_id": "x"}), "links.a-b.connection.ppk_id: keyorch gives every key an identity"},
		{with(map[string]any{"remote_addrs": nil}), "links.a-b.connection.remote_addrs: it is missing"},
		{with(map[string]any{"local": nil}), "links.a-b.connection.local.auth: it is missing"},
		{with(map[string]any{"remote": map[string]any{"id": "x"}}), "links.a-b.connection.remote.auth: it is missing"},
		{with(map[string]any{"children": nil}), "links.a-b.connection.children: it is missing"},
		{with(map[string]any{"children": map[string]any{"net": "x"}}), "links.a-b.connection.children.net: it is not a map"},
		{with(map[string]any{"children": map[string]any{"net": map[string]any{"start_action": "start"}}}), "children.net.start_action: it is always none here"},
		{with(map[string]any{"local": map[string]any{"auth": "pubkey", "certs": "a.pem"}}), "links.a-b.connection.local.certs: files are not read here"},
		{with(map[string]any{"pools": []any{map[string]any{}}}), "links.a-b.connection.pools: it is not a text"},
		{with(map[string]any{strings.Repeat("x", 256): "1"}), "the name of a field has 1 to 255 bytes"},
		{with(map[string]any{"mark_in": strings.Repeat("1", 1<<16)}), "links.a-b.connection.mark_in: it is not a text of at most 65535 bytes"},
	} {
		_, err := New("r1", c.fields)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
		if _, err := Capabilities(c.fields); !fault.Is(err, fault.Invalid) {
			t.Errorf("capabilities of it: %v", err)
		}
	}
}

func TestTheSideOfANodeFollowsFromItsConnection(t *testing.T) {
	initiator := with(nil)
	responder := map[string]any{"links": map[string]any{"a-b": nil}}
	for _, c := range []struct {
		fields         map[string]any
		link           keychain.LinkID
		sends, accepts bool
		want           string
	}{
		{initiator, "a-b", true, false, ""},
		{responder, "a-b", false, true, ""},
		{initiator, "b-c", true, false, "no parameters for link b-c: add them under device.links.b-c"},
		{responder, "a-b", true, false, "give its connection under device.links.a-b.connection"},
		{initiator, "a-b", false, true, "leave out device.links.a-b.connection"},
		{initiator, "a-b", true, true, "cannot stand on both sides of link a-b"},
		{nil, "a-b", true, false, "links: it is missing"},
	} {
		err := Part(c.fields, keychain.Part{Link: c.link, Sends: c.sends, Accepts: c.accepts, Nodes: 2})
		if c.want == "" && err != nil || c.want != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s, sends %v, accepts %v: %v, want %q", c.link, c.sends, c.accepts, err, c.want)
		}
	}
}

func TestTheParametersOfALinkAreRead(t *testing.T) {
	fields := with(nil)
	fields["socket"], fields["timeout"] = "/tmp/vici", "3s"
	fields["links"].(map[string]any)["a-b"].(map[string]any)["overlap"] = "0s"
	c, err := read(fields)
	if err != nil || c.socket != "/tmp/vici" || c.timeout != 3*time.Second || c.links["a-b"].overlap != 0 {
		t.Errorf("%+v (%v)", c, err)
	}
}
