package secret_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/keyorch/keyorch/secret"
)

func read(t *testing.T, k secret.Key) (b []byte) {
	t.Helper()
	if err := k.Use(func(in []byte) error { b = bytes.Clone(in); return nil }); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNewTakesTheBytes(t *testing.T) {
	given := []byte("0123456789abcdef0123456789abcdef")
	want := bytes.Clone(given)
	k := secret.New(given)
	if !bytes.Equal(given, make([]byte, len(given))) {
		t.Error("New left the bytes with its caller")
	}
	if got := read(t, k); !bytes.Equal(got, want) || k.Len() != len(want) {
		t.Error("the key does not hold what it was made of")
	}
}

func TestUseGivesBackTheError(t *testing.T) {
	failed := errors.New("failed")
	k := secret.New([]byte{1})
	if err := k.Use(func([]byte) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("Use = %v", err)
	}
}

func TestZeroKeyIsEmpty(t *testing.T) {
	var k secret.Key
	k.Wipe()
	if k.Len() != 0 || len(read(t, k)) != 0 {
		t.Error("the zero key is not empty")
	}
	if _, err := k.Check(); err == nil {
		t.Error("the zero key has a check value")
	}
	if _, err := k.Derive("a", 16); err == nil {
		t.Error("the zero key derives a key")
	}
	if !k.Equal(secret.Key{}) || k.Equal(secret.New([]byte{1})) {
		t.Error("the zero key equals the zero key alone")
	}
}

func TestWipeReachesCopies(t *testing.T) {
	k := secret.New([]byte{1, 2, 3})
	other := k
	k.Wipe()
	if got := read(t, other); !bytes.Equal(got, []byte{0, 0, 0}) {
		t.Errorf("a copy still holds %d bytes that are not zero", len(got))
	}
}

func TestEqual(t *testing.T) {
	k := secret.New([]byte{1, 2, 3})
	for name, c := range map[string]struct {
		o    secret.Key
		want bool
	}{
		"itself":            {k, true},
		"the same bytes":    {secret.New([]byte{1, 2, 3}), true},
		"one bit differs":   {secret.New([]byte{1, 2, 2}), false},
		"a prefix":          {secret.New([]byte{1, 2}), false},
		"longer":            {secret.New([]byte{1, 2, 3, 0}), false},
		"nothing is not it": {secret.Key{}, false},
	} {
		if k.Equal(c.o) != c.want || c.o.Equal(k) != c.want {
			t.Errorf("%s: Equal is not %v", name, c.want)
		}
	}
}

// The vectors were computed with another implementation of RFC 5869, with the
// bytes 00 to 1f as input key material, no salt, and the label as info.
func TestKnownAnswers(t *testing.T) {
	ikm := make([]byte, secret.Size)
	for i := range ikm {
		ikm[i] = byte(i)
	}
	k := secret.New(ikm)
	check, err := k.Check()
	if err != nil || hex.EncodeToString(check[:]) != "bc60b58f3d" {
		t.Errorf("Check = %x, %v", check, err)
	}
	derived, err := k.Derive("macsec", 16)
	if err != nil || hex.EncodeToString(read(t, derived)) != "0a6c17d36b133cf16074d0694678ba60" {
		t.Errorf("Derive = %x, %v", read(t, derived), err)
	}
}

func TestLabelsDiffer(t *testing.T) {
	k := secret.New([]byte("0123456789abcdef0123456789abcdef"))
	var all [][]byte
	for _, label := range []string{"", "a", "b", "ab", "keyorch/v1 macsec key", "keyorch/v1 xfrm key"} {
		d, err := k.Derive(label, secret.Size)
		if err != nil || d.Len() != secret.Size {
			t.Fatalf("Derive(%q): %d bytes, %v", label, d.Len(), err)
		}
		all = append(all, read(t, d))
	}
	all = append(all, read(t, k))
	check, err := k.Check()
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range all {
		if bytes.HasPrefix(b, check[:]) {
			t.Errorf("key %d begins with the check value", i)
		}
		if slices.ContainsFunc(all[:i], func(o []byte) bool { return bytes.Equal(o, b) }) {
			t.Errorf("key %d is one of those before", i)
		}
	}
	if _, err := k.Derive("too long", 256*32); err == nil {
		t.Error("Derive gave more than RFC 5869 allows")
	}
}

func TestConcurrentUse(t *testing.T) {
	k, o := secret.New([]byte{1, 2, 3}), secret.New([]byte{1, 2, 3})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if !k.Equal(o) || !o.Equal(k) { // in both orders: neither waits for the other
					t.Error("not equal")
				}
			}
		})
	}
	wg.Wait()
}
