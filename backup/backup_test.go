package backup_test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/keyorch/keyorch/backup"
	"github.com/keyorch/keyorch/fault"
)

// written is a backup of a few keys.
func written(t testing.TB) []byte {
	var b bytes.Buffer
	w, err := backup.NewWriter(&b, 42, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := w.Put(fmt.Sprintf("links/l%d", i), []byte{byte(i), 0xff}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(data []byte) (keys []string, err error) {
	_, _, err = backup.Read(bytes.NewReader(data), func(key string, value []byte) error {
		keys = append(keys, fmt.Sprintf("%s=%x", key, value))
		return nil
	})
	return keys, err
}

func TestReadsWhatWasWritten(t *testing.T) {
	keys, err := read(written(t))
	if want := []string{"links/l0=00ff", "links/l1=01ff", "links/l2=02ff"}; err != nil || !slices.Equal(keys, want) {
		t.Errorf("%v, %v", keys, err)
	}
}

// TestDamageIsNamed cuts a backup at every byte, changes every byte, and puts something
// behind it.
func TestDamageIsNamed(t *testing.T) {
	whole := written(t)
	for n := range whole {
		if _, err := read(whole[:n]); !fault.Is(err, fault.Invalid) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
		changed := slices.Clone(whole)
		changed[n] ^= 1
		if _, err := read(changed); !fault.Is(err, fault.Invalid) {
			t.Fatalf("byte %d changed: %v", n, err)
		}
	}
	if _, err := read(append(slices.Clone(whole), '\n')); !fault.Is(err, fault.Invalid) {
		t.Errorf("something behind it: %v", err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	for what, other := range map[string][]byte{
		"an entry is missing": bytes.Join([][]byte{lines[0], lines[1], lines[3], lines[4]}, nil),
		"two are swapped":     bytes.Join([][]byte{lines[0], lines[2], lines[1], lines[3], lines[4]}, nil),
	} {
		if _, err := read(other); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := read(bytes.Join(lines[:3], nil))
	if err == nil || !strings.Contains(err.Error(), "cut after entry 2") {
		t.Errorf("cut after the second entry: %v", err)
	}
}

func TestOnlyWhoItIsForOpensIt(t *testing.T) {
	mine, other := key(t), key(t)
	var b bytes.Buffer
	w, err := backup.Encrypt(&b, []age.Recipient{mine.Recipient()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(written(t)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b.Bytes(), []byte("links")) {
		t.Error("it is in clear")
	}
	if _, err := backup.Decrypt(bytes.NewReader(b.Bytes()), []age.Identity{other}); !fault.Is(err, fault.Refused) {
		t.Errorf("another key: %v", err)
	}
	for cut := range b.Len() {
		r, err := backup.Decrypt(bytes.NewReader(b.Bytes()[:cut]), []age.Identity{mine})
		if err == nil {
			_, _, err = backup.Read(r, func(string, []byte) error { return nil })
		}
		if !fault.Is(err, fault.Invalid) {
			t.Fatalf("cut after %d of %d bytes: %v", cut, b.Len(), err)
		}
	}
	r, err := backup.Decrypt(bytes.NewReader(b.Bytes()), []age.Identity{mine})
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(r); err != nil || !bytes.Equal(data, written(t)) {
		t.Errorf("%v", err)
	}
}

func key(t *testing.T) *age.X25519Identity {
	k, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRecipientsAndIdentitiesAreNamed(t *testing.T) {
	k := key(t)
	ssh := "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEVYUvLzpoFnNnFiLHkpnDYDP8AKFgK6aPNPmYpLqXM2 alice"
	got, err := backup.Recipients("r", strings.NewReader("# mine\n\n"+k.Recipient().String()+"\n"+ssh+"\n"))
	if err != nil || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := backup.Recipients("r", strings.NewReader("\nage1nonsense\n")); err == nil || !strings.Contains(err.Error(), "r, line 2") {
		t.Errorf("%v", err)
	}
	if _, err := backup.Identities("i", strings.NewReader(k.String()+"\n")); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "AGE-SECRET-KEY-1NONSENSE", "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n"} {
		_, err := backup.Identities("i", strings.NewReader(bad))
		if !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "NONSENSE") || strings.Contains(err.Error(), "secret\n") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := backup.Encrypt(io.Discard, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("nobody: %v", err)
	}
}

// FuzzRead: whatever it is given, nothing panics, it ends, and what is wrong is Invalid.
func FuzzRead(f *testing.F) {
	f.Add(written(f))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := read(data)
		if err == nil && len(keys) > len(data) {
			t.Errorf("%d entries in %d bytes", len(keys), len(data))
		}
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%v", err)
		}
	})
}
