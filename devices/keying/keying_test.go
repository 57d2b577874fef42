package keying_test

import (
	"fmt"
	"testing"

	"github.com/keyorch/keyorch/devices/keying"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
	"github.com/keyorch/keyorch/secret/secrettest"
)

func TestDeriveNamesTheKeyAndNeverUsesItAsItIs(t *testing.T) {
	c := secrettest.New(t)
	check, err := c.Key.Check()
	if err != nil {
		t.Fatal(err)
	}
	sa := keychain.SA{Link: "l1", Ref: keychain.Ref{Epoch: 4}}
	ref, a, err := keying.Derive("install", "n1", sa, c.Key, "label a", 32)
	if err != nil || ref != (keychain.Ref{Epoch: 4, KCV: keychain.KCVOf(check)}) {
		t.Fatalf("derive: %v, %v", ref, err)
	}
	_, b, err := keying.Derive("install", "n1", sa, c.Key, "label b", 32)
	if err != nil || a.Equal(b) || a.Equal(c.Key) {
		t.Errorf("labels do not keep keys apart (%v)", err)
	}
}

func TestDeriveRefusesAKeyThatIsNotTheOneNamed(t *testing.T) {
	c := secrettest.New(t)
	for _, bad := range []struct {
		sa   keychain.SA
		key  secret.Key
		kind fault.Kind
	}{
		{keychain.SA{Ref: keychain.Ref{Epoch: 4, KCV: "00000000ff"}}, c.Key, fault.Mismatch},
		{keychain.SA{}, c.Key, fault.Invalid},
		{keychain.SA{Ref: keychain.Ref{Epoch: 4}}, secret.New([]byte("short")), fault.Invalid},
		{keychain.SA{Ref: keychain.Ref{Epoch: 4}}, secret.Key{}, fault.Invalid},
	} {
		_, _, err := keying.Derive("install", "n1", bad.sa, bad.key, "label", 32)
		if !fault.Is(err, bad.kind) {
			t.Errorf("%v: %v (%v), want %v", bad.sa, err, fault.Of(err), bad.kind)
		}
		c.Absent(t, "an error", fmt.Sprint(err))
	}
}

func TestNamesAndLabelsReadBack(t *testing.T) {
	for _, e := range []keychain.Epoch{1, 4, 1 << 40, 1<<64 - 1} {
		r := keychain.Ref{Epoch: e, KCV: "a1b2c3d4e5"}
		name := keying.Name(r)
		if got, ok := keying.ParseName(name[:]); !ok || got != r {
			t.Errorf("name of %v reads back as %v, %v", r, got, ok)
		}
		if got, ok := keying.ParseLabel(keying.Label(r)); !ok || got != r {
			t.Errorf("label %q reads back as %v, %v", keying.Label(r), got, ok)
		}
	}
	for _, s := range []string{"", "e4", "4-a1b2c3d4e5", "e0-a1b2c3d4e5", "e04-a1b2c3d4e5", "e4-A1b2c3d4e5", "e4-a1b2c3d4", "e-4-a1b2c3d4e5"} {
		if r, ok := keying.ParseLabel(s); ok {
			t.Errorf("%q is taken for %v", s, r)
		}
	}
	for _, b := range [][]byte{nil, make([]byte, 16), []byte("kyo"), append([]byte("kyo"), make([]byte, 13)...)} {
		if r, ok := keying.ParseName(b); ok {
			t.Errorf("%x is taken for %v", b, r)
		}
	}
}
