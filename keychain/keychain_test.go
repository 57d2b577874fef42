package keychain_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/keychain"
)

func TestValidName(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "7": true, "dc1-spine1": true, "a--b": true, strings.Repeat("a", keychain.MaxName): true,
		"": false, strings.Repeat("a", keychain.MaxName+1): false, "-a": false, "a-": false, "A": false, "a_b": false,
		"a.b": false, "a/b": false, "a b": false, "ä": false, "a\n": false, "..": false,
	} {
		if err := keychain.ValidName(name); (err == nil) != ok {
			t.Errorf("ValidName(%q) = %v", name, err)
		}
	}
}

func TestParseKCV(t *testing.T) {
	for text, ok := range map[string]bool{
		"a1b2c3d4e5": true, "0000000000": true,
		"": false, "a1b2c3d4e": false, "a1b2c3d4e5f6": false, "A1B2C3D4E5": false, "a1b2c3d4eg": false, " a1b2c3d4e": false,
	} {
		kcv, err := keychain.ParseKCV(text)
		if (err == nil) != ok || ok && string(kcv) != text || !ok && kcv != "" {
			t.Errorf("ParseKCV(%q) = %q, %v", text, kcv, err)
		}
		if err != nil && text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("ParseKCV echoes what may be a key: %v", err)
		}
	}
	if got := keychain.KCVOf([5]byte{0xa1, 0, 0xc3, 0xd4, 0x0e}); got != "a100c3d40e" {
		t.Errorf("KCVOf = %s", got)
	}
}

func TestRefAgrees(t *testing.T) {
	ref := func(e keychain.Epoch, kcv keychain.KCV) keychain.Ref { return keychain.Ref{Epoch: e, KCV: kcv} }
	for _, c := range []struct {
		a, b keychain.Ref
		want bool
	}{
		{ref(4, "a1b2c3d4e5"), ref(4, "a1b2c3d4e5"), true},
		{ref(4, "a1b2c3d4e5"), ref(4, ""), true},
		{ref(4, ""), ref(4, ""), true},
		{ref(4, "a1b2c3d4e5"), ref(4, "0000000000"), false},
		{ref(4, "a1b2c3d4e5"), ref(5, "a1b2c3d4e5"), false},
		{ref(4, ""), ref(5, ""), false},
	} {
		if c.a.Agrees(c.b) != c.want || c.b.Agrees(c.a) != c.want {
			t.Errorf("%v agrees with %v: not %v", c.a, c.b, c.want)
		}
	}
}

func TestRefString(t *testing.T) {
	for want, r := range map[string]keychain.Ref{
		"none": {}, "4": {Epoch: 4}, "4 (a1b2c3d4e5)": {Epoch: 4, KCV: "a1b2c3d4e5"},
	} {
		if r.String() != want {
			t.Errorf("%#v prints %q, want %q", r, r.String(), want)
		}
	}
}

func TestReportAccepted(t *testing.T) {
	r := keychain.Report{Accepts: []keychain.Ref{{Epoch: 3, KCV: "a"}, {Epoch: 4, KCV: "b"}}}
	if got := r.Accepted(4); got.KCV != "b" {
		t.Errorf("Accepted(4) = %v", got)
	}
	if !r.Accepted(5).IsZero() || !r.Accepted(0).IsZero() {
		t.Error("it accepts what was not reported")
	}
}

// What an idle node reports fits into a line: no empty fields.
func TestReportJSON(t *testing.T) {
	text, err := json.Marshal(keychain.Report{Node: "dc2-r1", Turn: 7})
	if want := `{"node":"dc2-r1","turn":7}`; err != nil || string(text) != want {
		t.Errorf("%s, %v; want %s", text, err, want)
	}
}

func TestCannotStage(t *testing.T) {
	able := keychain.Capabilities{AcceptMany: 2, SwitchSeparate: true}
	if why := able.CannotStage(); why != "" {
		t.Errorf("%+v: %s", able, why)
	}
	for _, c := range []keychain.Capabilities{{}, {AcceptMany: 1, SwitchSeparate: true}, {AcceptMany: 4}} {
		if c.CannotStage() == "" {
			t.Errorf("%+v can stage", c)
		}
	}
}
