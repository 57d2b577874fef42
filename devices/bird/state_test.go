package bird

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret/secrettest"
)

// newKey is the key of an epoch, with its epoch for a Serial.
func newKey(t testing.TB, e keychain.Epoch) key {
	t.Helper()
	d := &Device{config: config{links: map[keychain.LinkID]segment{"l1": {algorithm: "hmac sha256"}}}}
	k, err := d.derive("install", keychain.SA{Link: "l1", Ref: keychain.Ref{Epoch: e}, Serial: keychain.Serial(e)}, secrettest.New(t).Key)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newState(t testing.TB, sends keychain.Epoch, epochs ...keychain.Epoch) state {
	t.Helper()
	s := state{Sends: sends}
	for _, e := range epochs {
		var err error
		if s, err = s.with(newKey(t, e)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestPasswordsAreNotTheLinkKey(t *testing.T) {
	c := secrettest.New(t)
	d := &Device{config: config{links: map[keychain.LinkID]segment{"l1": {link: "l1", algorithm: "hmac sha256"}}}}
	k, err := d.derive("install", keychain.SA{Link: "l1", Ref: keychain.Ref{Epoch: 4}, Serial: 4}, c.Key)
	if err != nil {
		t.Fatal(err)
	}
	s := state{Keys: []key{k}, Sends: 4}
	for _, protocol := range []string{ospf, bfd} {
		c.Absent(t, protocol, string(d.links["l1"].passwords(protocol, s)))
	}
	if n := len(password(k.BFD)); n != 20 {
		t.Errorf("a BFD password has %d characters, at most 20 fit", n)
	}
	k.Algorithm = "keyed md5"
	if n := len(k.ospfPassword()); n != 16 {
		t.Errorf("an MD5 password has %d characters, 16 fit", n)
	}
	if string(password(k.OSPF))[:20] == string(password(k.BFD)) {
		t.Error("OSPF and BFD share a password")
	}
}

func TestKeysComeAndGo(t *testing.T) {
	s := newState(t, 1, 2, 1)
	if s.Keys[0].Epoch != 1 {
		t.Error("keys are not sorted")
	}
	if again, err := s.with(s.Keys[1]); err != nil || again.tag() != s.tag() {
		t.Errorf("the same key again: %v", err)
	}
	if _, err := s.with(newKey(t, 2)); !fault.Is(err, fault.Mismatch) {
		t.Errorf("another key under epoch 2: %v", err)
	}
	wrapped := newKey(t, 257) // 256 serials later the key id is the same again
	wrapped.ID = 2
	if _, err := s.with(wrapped); !fault.Is(err, fault.Refused) && strings.Contains(fmt.Sprint(err), "key id") {
		t.Errorf("another key under an id: %v", err)
	}
	if _, err := s.without(1); !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("remove the key in use: %v", err)
	}
	one, err := s.without(2)
	if err != nil || len(one.Keys) != 1 || len(s.Keys) != 2 {
		t.Errorf("remove: %v, %v, from %v", one.claim(), err, s.claim())
	}
	if _, err := one.without(1); !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "last") {
		t.Errorf("remove the last key: %v", err)
	}
	if same, err := one.without(7); err != nil || same.tag() != one.tag() {
		t.Errorf("remove what is absent: %v", err)
	}
	full := state{}
	for e := range keychain.Epoch(acceptMany) {
		full, err = full.with(newKey(t, e+1))
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := full.with(newKey(t, 99)); !fault.Is(err, fault.Refused) {
		t.Errorf("one key too many: %v", err)
	}
}

func TestTagsTellSetsApart(t *testing.T) {
	a := newState(t, 1, 1, 2)
	tags := []string{state{}.tag(), a.tag()}
	for _, change := range []func(*state){
		func(s *state) { s.Sends = 2 },
		func(s *state) { s.Keys[1].ID++ },
		func(s *state) { s.Keys[1].Algorithm = "hmac sha512" },
		func(s *state) { s.Keys[1].KCV = "0000000001" },
	} {
		b := state{Sends: a.Sends, Keys: slices.Clone(a.Keys)}
		change(&b)
		tags = append(tags, b.tag())
	}
	slices.Sort(tags)
	if len(slices.Compact(tags)) != 6 {
		t.Errorf("some of six sets have the same tag: %v", tags)
	}
}

func TestClaimsReadBack(t *testing.T) {
	for _, s := range []state{newState(t, 0, 1), newState(t, 2, 1, 2, 1<<60)} {
		got := parseClaim(s.constant())
		if want := s.claim(); !slices.Equal(got.accepts, want.accepts) || got.sends != want.sends {
			t.Errorf("%q reads back as %v", s.constant(), got)
		}
	}
	good := newState(t, 1, 1).constant()
	for _, bad := range []string{
		"", "accepts", "yes", strings.Replace(good, "e1-", "e0-", 1), strings.Replace(good, "accepts ", "accepts x ", 1),
		strings.Replace(good, "sends e1", "sends e2", 1), strings.TrimPrefix(good, "accepts"), strings.Replace(good, " set ", " ", 1),
	} {
		if c := parseClaim(bad); len(c.accepts) > 0 || !c.sends.IsZero() {
			t.Errorf("%q claims %v", bad, c)
		}
	}
}

func FuzzClaim(f *testing.F) {
	f.Add("accepts e3-0f1e2d3c4b e4-a1b2c3d4e5 sends e3-0f1e2d3c4b set 5f3a9c01")
	f.Add("changing: accepts sends none set a or b")
	f.Fuzz(func(t *testing.T, constant string) {
		c := parseClaim(constant)
		if !c.sends.IsZero() && !slices.Contains(c.accepts, c.sends) {
			t.Errorf("%q sends with what it does not accept: %v", constant, c)
		}
		if again := parseClaim(c.text("x")); !slices.Equal(again.accepts, c.accepts) || again.sends != c.sends {
			t.Errorf("%q reads back as %v", c.text("x"), again)
		}
	})
}

func TestSymbolsAreBirdsAndDiffer(t *testing.T) {
	long := strings.Repeat("a-", 31) + "b"
	seen := map[string]string{}
	for _, link := range []string{"a", "a-b", "a--b", long, long[:62] + "c"} {
		s := segment{link: keychain.LinkID(link)}
		symbol := s.version("5f3a9c01")
		if len(symbol) > 63 || strings.Trim(symbol, "abcdefghijklmnopqrstuvwxyz0123456789_V") != "" {
			t.Errorf("%s gives %q", link, symbol)
		}
		if other, ok := seen[symbol]; ok {
			t.Errorf("%s and %s give %q", link, other, symbol)
		}
		seen[symbol] = link
	}
}

func TestWordsOfBirdHoldNoPassword(t *testing.T) {
	s := newState(t, 1, 1)
	said := s.scrub("bird says " + string(s.Keys[0].ospfPassword()) + " and " + string(password(s.Keys[0].BFD)))
	if said != "bird says [redacted] and [redacted]" {
		t.Errorf("scrubbed: %q", said)
	}
}
