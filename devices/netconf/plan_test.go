package netconf

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret/secrettest"
)

func ref(e keychain.Epoch) keychain.Ref {
	return keychain.Ref{Epoch: e, KCV: keychain.KCV(fmt.Sprintf("%010x", e))}
}

// state makes a chain: "3as" is the key of epoch 3 under key-id 3, accepted and
// sent with; "x9s" a stranger's under key-id 9.
func state(t *testing.T, keys string) chain {
	t.Helper()
	c := chain{note: note{link: "l1"}}
	for word := range strings.FieldsSeq(keys) {
		h := held{accepts: strings.Contains(word, "a"), sends: strings.Contains(word, "s")}
		digits, stranger := strings.CutPrefix(strings.TrimRight(word, "as-"), "x")
		if _, err := fmt.Sscan(digits, &h.id); err != nil {
			t.Fatal(err)
		}
		if !stranger {
			h.ref = ref(keychain.Epoch(h.id))
		}
		c.keys = append(c.keys, h)
	}
	return c
}

// written is a plan in short.
func written(p *plan) string {
	short := map[span]string{always: "always", notYet: "notYet", over: "over"}
	var all []string
	for _, e := range p.edits {
		s := fmt.Sprintf("%s%d", e.operation, e.id)
		if e.send != "" {
			s += " send " + short[e.send]
		}
		if e.accept != "" {
			s += " accept " + short[e.accept]
		}
		all = append(all, s)
	}
	return strings.Join(all, "; ")
}

func TestPlans(t *testing.T) {
	install := func(c chain, e keychain.Epoch) (*plan, error) { return c.install("c1", ref(e), uint64(e)) }
	switchTo := func(c chain, e keychain.Epoch) (*plan, error) { return c.switchTo("c1", ref(e), uint64(e)) }
	remove := func(c chain, e keychain.Epoch) (*plan, error) { return c.remove("c1", e) }
	for _, c := range []struct {
		state string
		do    func(chain, keychain.Epoch) (*plan, error)
		epoch keychain.Epoch
		want  string
	}{
		{"", install, 1, "create1 send notYet accept always"},
		{"1as x9as", install, 2, "create2 send notYet accept always"},
		{"1as 2a", install, 2, ""},
		{"2s", install, 2, "2 accept always"}, // the node only sent so far
		{"2-", install, 2, "2 accept always"},

		{"1as 2a", switchTo, 2, "2 send always; 1 send over"},
		{"1a 2as", switchTo, 2, ""},
		{"1a 2as", switchTo, 1, "1 send always; 2 send over"}, // going back
		{"1as 2as", switchTo, 2, "1 send over"},               // somebody edited by hand
		{"", switchTo, 1, "create1 send always accept notYet"},
		{"1s", switchTo, 2, "create2 send always accept notYet; delete1"}, // a node that only sends
		{"1as", switchTo, 2, "create2 send always accept notYet; 1 send over"},
		{"1as 2a 3-", switchTo, 2, "2 send always; 1 send over; delete3"},
		{"1as 2a x9a", switchTo, 2, "2 send always; 1 send over"},

		{"1a 2as", remove, 1, "delete1"},
		{"1as 2a", remove, 1, "1 accept over"}, // still sent with
		{"1s 2a", remove, 1, ""},
		{"2as", remove, 1, ""},
		{"", remove, 1, ""},
	} {
		p, err := c.do(state(t, c.state), c.epoch)
		if err != nil || written(p) != c.want {
			t.Errorf("%q, epoch %d: %q (%v), want %q", c.state, c.epoch, written(p), err, c.want)
		}
	}
}

func TestPlansThatAreRefused(t *testing.T) {
	_, err := state(t, "1as").remove("c1", 1)
	wants(t, err, fault.Refused, "epoch 1 is the last key that key chain c1 accepts")
	_, err = state(t, "1as x9a").remove("c1", 1)
	wants(t, err, fault.Refused, "the last key")
	_, err = state(t, "1as").install("c1", keychain.Ref{Epoch: 1, KCV: "ffffffffff"}, 1)
	wants(t, err, fault.Mismatch, "another key under epoch 1: its KCV is 0000000001, not ffffffffff")
	_, err = state(t, "1as").switchTo("c1", keychain.Ref{Epoch: 1, KCV: "ffffffffff"}, 1)
	wants(t, err, fault.Mismatch, "another key under epoch 1")
	_, err = state(t, "x2a").install("c1", ref(2), 2)
	wants(t, err, fault.Unavailable, "key 2 of key chain c1 is not keyorch's")
	_, err = state(t, "x9s 2a").switchTo("c1", ref(2), 2)
	wants(t, err, fault.Unavailable, "key 9 of key chain c1 is not keyorch's")
	_, err = state(t, "2as").install("c1", ref(5), 2)
	wants(t, err, fault.Refused, "key 2 of key chain c1 is that of epoch 2, and is in use")
	p, err := state(t, "2-").install("c1", ref(5), 2)
	if err != nil || written(p) != "replace2 send notYet accept always" || p.refs()[2] != ref(5) {
		t.Errorf("over a key that is not used: %q (%v)", written(p), err)
	}
}

func TestAPlanKnowsWhatItMakes(t *testing.T) {
	before := state(t, "1as 2a x9a")
	p, err := before.switchTo("c1", ref(2), 2)
	if err != nil {
		t.Fatal(err)
	}
	if !p.shows(state(t, "1a 2as x9as")) || p.shows(before) || p.shows(state(t, "2as")) || p.shows(state(t, "1a 2as 3a")) {
		t.Errorf("the plan makes %v", p.after)
	}
	p, err = state(t, "1a 2as").remove("c1", 1)
	if err != nil || len(p.refs()) != 1 || !p.shows(state(t, "2as")) {
		t.Errorf("the plan makes %v (%v)", p.after, err)
	}
}

func TestEditsAreWritten(t *testing.T) {
	l := link{chain: "a<b", module: "m", algorithm: "hmac-sha-256", format: keystring}
	p := &plan{edits: []edit{
		{id: 1, send: over}, {id: 2, operation: "create", send: always, accept: notYet}, {id: 3, operation: "delete"},
	}}
	got := string(l.config(p, "x & y", material{text: []byte("KEY"), namespace: "urn:m"}))
	for _, want := range []string{
		"<name>a&lt;b</name><description>x &amp; y</description>",
		`<key><key-id>1</key-id><lifetime><send-lifetime nc:operation="replace">` + string(over) + "</send-lifetime></lifetime></key>",
		`<key nc:operation="create"><key-id>2</key-id><lifetime><send-lifetime><always/></send-lifetime><accept-lifetime>` + string(notYet) +
			`</accept-lifetime></lifetime><crypto-algorithm xmlns:of="urn:m">of:hmac-sha-256</crypto-algorithm>` +
			"<key-string><keystring>KEY</keystring></key-string></key>",
		`<key nc:operation="delete"><key-id>3</key-id></key></key-chain></key-chains>`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %s", want, got)
		}
	}
}

func TestBothFormatsAreOneKey(t *testing.T) {
	c := secrettest.New(t)
	text := link{format: keystring}.keyText(c.Key)
	colons := link{format: hexadecimal}.keyText(c.Key)
	var want []string
	for _, b := range text {
		want = append(want, fmt.Sprintf("%02x", b))
	}
	if len(text) != 43 || string(colons) != strings.Join(want, ":") {
		t.Errorf("%d characters; %d in hexadecimal", len(text), len(colons))
	}
}
