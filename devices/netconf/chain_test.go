package netconf

import (
	"encoding/xml"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// now is when the tests of lifetimes take place.
var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func parse(t *testing.T, inner string) (chain, error) {
	t.Helper()
	var got tree
	err := xml.Unmarshal([]byte(`<data><key-chains xmlns="`+namespace8177+`">`+inner+`</key-chains></data>`), &got)
	if err != nil {
		t.Fatal(err)
	}
	return chainOf(got, "c1", now)
}

func xmlKey(id int, send, accept string) string {
	return fmt.Sprintf("<key><key-id>%d</key-id><lifetime><send-lifetime>%s</send-lifetime><accept-lifetime>%s</accept-lifetime></lifetime></key>", id, send, accept)
}

func TestLifetimesAreJudgedByTheirTimes(t *testing.T) {
	at := func(from, to string) string {
		s := "<start-date-time>" + from + "</start-date-time>"
		if strings.HasPrefix(to, "<") {
			return s + to
		}
		return s + "<end-date-time>" + to + "</end-date-time>"
	}
	for text, want := range map[string]bool{
		string(always): true, string(notYet): false, string(over): false, "": true,
		at("2026-11-28T13:00:00+02:00", "2026-11-28T15:00:00+02:00"):       true,
		at("2026-11-28T13:00:00+02:00", "2026-11-28T13:30:00+02:00"):       false,
		at("2026-11-28T12:00:00Z", "<no-end-time/>"):                       true,
		at("2026-11-28T12:00:01.5Z", "<no-end-time/>"):                     false,
		at("2026-11-28T11:00:00Z", ""):                                     true,
		at("2026-11-28T11:59:00Z", "<duration>61</duration>"):              true,
		at("2026-11-28T11:59:00Z", "<duration>60</duration>"):              false,
		at("1970-01-01T00:00:00-00:00", "<duration>2147483646</duration>"): true,
		at("1950-01-01T00:00:00-00:00", "<duration>2147483646</duration>"): false,
		"\n <start-date-time> 2001-01-01T00:00:00Z </start-date-time>\n ":  true,
		"<always></always>": true,
		at("2001-01-01T00:00:00Z", "2026-11-28T12:00:00Z"):                     false,
		at("2001-01-01T00:00:00Z", "2026-11-28T12:00:00.000001Z"):              true,
		"<end-date-time>2001-01-01T00:00:00Z</end-date-time>" + string(always): true,
	} {
		if strings.Contains(text, "</start-date-time><end-date-time></end-date-time>") {
			text = strings.ReplaceAll(text, "<end-date-time></end-date-time>", "")
		}
		c, err := parse(t, "<key-chain><name>c1</name><description>keyorch l1 1=e1-0f1e2d3c4b</description>"+xmlKey(1, text, text)+"</key-chain>")
		if err != nil || len(c.keys) != 1 || c.keys[0].sends != want || c.keys[0].accepts != want {
			t.Errorf("%s: %+v (%v), want %v", text, c.keys, err, want)
		}
	}
}

func TestChainsAreRead(t *testing.T) {
	c, err := parse(t, "<key-chain><name>other</name>"+xmlKey(9, "", "")+"</key-chain>"+
		"<key-chain><name>c1</name><description>core keyorch l1 3=e3-0f1e2d3c4b 4=e4-a1b2c3d4e5 5=e5-a1b2c3d4e5</description>"+
		xmlKey(4, string(notYet), string(always))+xmlKey(3, string(always), string(always))+
		"<key><key-id>7</key-id><lifetime><send-accept-lifetime>"+string(over)+"</send-accept-lifetime></lifetime></key></key-chain>")
	want := "[{3 {3 0f1e2d3c4b} true true} {4 {4 a1b2c3d4e5} true false} {7 {0 } false false}]"
	if err != nil || fmt.Sprint(c.keys) != want || c.note.before != "core" {
		t.Fatalf("%v (%v), want %s", c.keys, err, want)
	}
	sends, err := c.sent("c1")
	if got := fmt.Sprint(c.accepted()); err != nil || got != "[3 (0f1e2d3c4b) 4 (a1b2c3d4e5)]" || sends.Epoch != 3 {
		t.Errorf("accepts %s, sends %v (%v)", got, sends, err)
	}
	if c, err := parse(t, ""); err != nil || len(c.keys) != 0 {
		t.Errorf("a chain that is not there: %+v (%v)", c, err)
	}
	for _, bad := range []string{
		"<key><key-id>x</key-id></key>", xmlKey(1, "<start-date-time>soon</start-date-time>", ""),
		xmlKey(1, "", "<start-date-time>2001-01-01T00:00:00Z</start-date-time><end-date-time>later</end-date-time>"),
	} {
		if _, err := parse(t, "<key-chain><name>c1</name>"+bad+"</key-chain>"); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestAmbiguousChainsAreNamed(t *testing.T) {
	ours := func(keys ...held) chain { return chain{note: note{link: "l1"}, keys: keys} }
	one, two := keychain.Ref{Epoch: 1, KCV: "0f1e2d3c4b"}, keychain.Ref{Epoch: 2, KCV: "a1b2c3d4e5"}
	if r, err := ours(held{1, one, true, true}, held{2, two, true, true}).sent("c1"); err != nil || !r.IsZero() {
		t.Errorf("two keys in use: %v (%v)", r, err)
	}
	_, err := ours(held{1, one, true, true}, held{id: 9, sends: true}).sent("c1")
	wants(t, err, fault.Unavailable, "key 9 of key chain c1 is not keyorch's")
	if r, err := ours(held{1, one, true, false}, held{id: 9, sends: true}).sent("c1"); err != nil || !r.IsZero() {
		t.Errorf("only a stranger's in use: %v (%v)", r, err)
	}
	wants(t, ours(held{1, one, true, true}, held{2, one, true, true}).judge("c1", "l1"), fault.Mismatch, "has epoch 1 twice")
	wants(t, ours().judge("c1", "l2"), fault.Unavailable, "key chain c1 is that of link l1")
}

func wants(t *testing.T, err error, kind fault.Kind, says string) {
	t.Helper()
	if err == nil || fault.Of(err) != kind || !strings.Contains(err.Error(), says) {
		t.Errorf("%v (%v), want %v: %q", err, fault.Of(err), kind, says)
	}
}
