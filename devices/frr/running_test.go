package frr

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/keychain"
)

// shown is what vtysh of FRR 8.4.4 prints.
func shown(chain string) string {
	return `Building configuration...

Current configuration:
!
frr version 8.4.4
frr defaults traditional
hostname r1
!
key chain other
 key 1
  cryptographic-algorithm hmac-sha-256
  key-string not-this-one
 exit
exit
!
` + chain + `interface lo
 ipv6 ospf6 area 0
exit
!
interface eth1 vrf red
 ipv6 ospf6 area 0
 ipv6 ospf6 authentication keychain dc1-dc2
 ipv6 ospf6 dead-interval 4
exit
!
router ospf6
 ospf6 router-id 10.9.0.1
exit
!
end
 ospf6d
`
}

func both() string {
	return fmt.Sprintf(`key chain dc1-dc2
 key 12
  cryptographic-algorithm hmac-sha-256
  key-string %s
  send-lifetime 00:00:00 Jan 01 1993 00:00:01 Jan 01 1993
 exit
 key 2
  accept-lifetime 00:00:00 Jan 01 1993 infinite
  cryptographic-algorithm hmac-sha-256
  key-string %s
 exit
 key 3
 exit
exit
!
`, ours(12, 12).text, ours(2, 2).text)
}

func TestTheRunningConfiguration(t *testing.T) {
	r, err := parseRunning([]byte(shown(both())), "dc1-dc2")
	if err != nil {
		t.Fatal(err)
	}
	if got := r.accepts(today); !slices.Equal(got, []keychain.Ref{ours(2, 2).ref, ours(12, 12).ref}) {
		t.Errorf("it accepts %v", got)
	}
	if got := r.sends(today); got != ours(2, 2).ref {
		t.Errorf("it sends with %v", got)
	}
	if len(r.keys) != 3 || r.loud || r.uses["eth1"] != "dc1-dc2" {
		t.Errorf("%d keys, loud %v, uses %v", len(r.keys), r.loud, r.uses)
	}
}

func TestAKeyThatFRRWouldSendWithHidesOurs(t *testing.T) {
	const blank = "key chain dc1-dc2\n key 1\n exit\n"
	text := shown(strings.Replace(both(), "key chain dc1-dc2\n", blank, 1))
	r, err := parseRunning([]byte(text), "dc1-dc2")
	if err != nil || !r.sends(today).IsZero() {
		t.Errorf("it sends with %v (%v), though key 1 has no key-string and comes first", r.sends(today), err)
	}
}

func TestAnAnswerThatWasCutIsNoAnswer(t *testing.T) {
	whole := shown(both())
	for _, cut := range []string{
		"",
		strings.Replace(whole, "frr version 8.4.4\nfrr defaults traditional\n", "", 1), // ospf6d died before it answered
		strings.Replace(whole, "\n ospf6d\n", "\n\n", 1),
		whole[:len(whole)/2],
	} {
		if _, err := parseRunning([]byte(cut), "dc1-dc2"); !errors.Is(err, errCut) {
			t.Errorf("%d bytes of %d are taken for an answer: %v", len(cut), len(whole), err)
		}
	}
	for n := range whole {
		if r, err := parseRunning([]byte(whole[:n]), "dc1-dc2"); err == nil && n < len(whole)-1 {
			t.Fatalf("the first %d bytes are taken for an answer: %+v", n, r.keys)
		}
	}
}

func TestOddConfigurations(t *testing.T) {
	for text, want := range map[string]string{
		"key chain dc1-dc2\n key x\n exit\nexit\n":                                     "number cannot be read",
		"key chain dc1-dc2\n key 1\n  send-lifetime tomorrow\n exit\nexit\n":           "send-lifetime that cannot be read",
		"key chain dc1-dc2\n key 1\n  accept-lifetime 1 2 3 4 5 6 7\n exit\nexit\n":    "accept-lifetime that cannot be read",
		"key chain dc1-dc2\n  key-string stray\n newer thing\n key 1\n exit\nexit\n":   "",
		"log commands\nkey chain dc1-dc2\n key 1\n  key-string e4-a.b\n exit\nexit\n!": "",
	} {
		_, err := parseRunning([]byte(shown(text)), "dc1-dc2")
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if r, err := parseRunning([]byte(shown("log commands\n")), "x"); err != nil || !r.loud {
		t.Errorf("log commands is not seen (%v)", err)
	}
}

func TestKeyStrings(t *testing.T) {
	k := ours(4, 4)
	if r, ok := parseText(k.text); !ok || r != k.ref {
		t.Errorf("%s is not read back: %v", k.text, r)
	}
	for _, no := range []string{"", "by-hand", string(k.text[:len(k.text)-1]), string(k.text) + "x", "e4-a1b2c3d4e5.", strings.Replace(string(k.text), "e4", "e04", 1), string(k.text[:20]) + "=" + string(k.text[21:])} {
		if r, ok := parseText([]byte(no)); ok {
			t.Errorf("%q is taken for a key-string of ours: %v", no, r)
		}
	}
}

func FuzzParseRunning(f *testing.F) {
	f.Add(shown(both()))
	f.Add(shown(""))
	f.Add("key chain dc1-dc2\n key 1\n key-string")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRunning([]byte(text), "dc1-dc2")
		if err != nil {
			return
		}
		for i, k := range r.keys {
			if i > 0 && r.keys[i-1].id > k.id {
				t.Errorf("keys are not sorted: %+v", r.keys)
			}
		}
		_, _ = r.accepts(today), r.sends(today)
	})
}
