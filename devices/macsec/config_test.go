package macsec

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/secret/secrettest"
)

func keyOf(c secrettest.Canary) func(context.Context) (secret.Key, error) {
	return func(context.Context) (secret.Key, error) { return c.Key, nil }
}

func TestEveryProblemOfTheTopologyIsNamed(t *testing.T) {
	fields := map[string]any{
		"netns": "a/b",
		"links": map[string]any{
			"no-interface": map[string]any{"peer": "02:00:00:00:00:0b:01"},
			"many":         map[string]any{"interface": "macsec0", "peer": "ff:ff:ff:ff:ff:ff", "peerPort": 0, "more": 1},
			"long":         map[string]any{"interface": "a-name-of-sixteen", "peer": "00:00:00:00:00:00"},
			"twin-a":       map[string]any{"interface": "macsec1", "peer": peerMAC},
			"twin-b":       map[string]any{"interface": "macsec1", "peer": "02-00-00-00-00-0B"},
		},
	}
	_, err := New("n1", fields)
	for _, want := range []string{
		"device of n1", `netns: "a/b" is neither the name of a network namespace`, "links.no-interface.interface: it is missing",
		`links.no-interface.peer: "02:00:00:00:00:0b:01" is not the MAC address of a sender`, `links.many.peer: "ff:ff:ff:ff:ff:ff" is not`,
		"links.many.peerPort: 0 is not a whole number from 1 to 65535", "links.many.more: no such field",
		`links.long.interface: "a-name-of-sixteen" cannot be the name`, `links.long.peer: "00:00:00:00:00:00" is not`,
		"links.twin-b.peer: link twin-a has that peer on macsec1 already",
	} {
		if !fault.Is(err, fault.Invalid) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if _, err := Capabilities(nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("no links: %v", err)
	}
}

func TestALinkNeedsTheParametersOfItsSides(t *testing.T) {
	fields := map[string]any{
		"netns": "/run/netns/lab",
		"links": map[string]any{
			"a-b":  map[string]any{"interface": "macsec0"},
			"b-a":  map[string]any{"interface": "macsec0", "peer": peerMAC},
			"a-c":  map[string]any{"interface": "macsec1"},
			"a-c2": map[string]any{"interface": "macsec1"},
		},
	}
	for _, c := range []struct {
		link           keychain.LinkID
		sends, accepts bool
		want           string
	}{
		{"a-b", true, false, ""},
		{"b-a", false, true, ""},
		{"a-b", false, true, "links.a-b.peer: it is missing: the node accepts on this link"},
		{"a-c", true, false, "links.a-c.interface: link a-c2 sends on macsec1 too"},
		{"b-a", true, true, "links.b-a.interface: link a-b sends on macsec0 too"},
		{"a-x", true, false, "no parameters for link a-x"},
	} {
		err := Part(fields, keychain.Part{Link: c.link, Sends: c.sends, Accepts: c.accepts, Nodes: 2})
		if (err == nil) != (c.want == "") || err != nil && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s sends %v accepts %v: %v, want %q", c.link, c.sends, c.accepts, err, c.want)
		}
	}
	d, err := New("n1", fields)
	if err != nil {
		t.Fatal(err)
	}
	caps, err := Capabilities(fields)
	if err != nil || caps != d.Capabilities() || caps.CannotStage() != "" || !caps.CounterBound || caps.Survives {
		t.Errorf("capabilities %+v (%v)", caps, err)
	}
	if _, err := d.Upstream().Observe(t.Context(), "a-x"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a link without parameters: %v", err)
	}
	_, err = d.Upstream().Observe(t.Context(), "a-b")
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(fmt.Sprint(err), "cannot open network namespace /run/netns/lab: no such file or directory") {
		t.Errorf("a namespace that is not there: %v", err)
	}
}

// TestAReceiverListensToOneSender: it would confirm a key that it takes from one of
// them only.
func TestAReceiverListensToOneSender(t *testing.T) {
	fields := map[string]any{"links": map[string]any{"l1": map[string]any{"interface": "macsec0", "peer": peerMAC}}}
	if err := Part(fields, keychain.Part{Link: "l1", Sends: true, Accepts: true, OtherSenders: 1, Nodes: 2}); err != nil {
		t.Errorf("one peer: %v", err)
	}
	err := Part(fields, keychain.Part{Link: "l1", Accepts: true, OtherSenders: 2, Nodes: 3})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "declare a link for each sender") {
		t.Errorf("two senders: %v", err)
	}
}
