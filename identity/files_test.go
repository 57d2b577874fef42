package identity_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
	"github.com/keyorch/keyorch/identity/identitytest"
)

const dc2 = "keyorch-agent.dc2"

func TestCertificatesAreChecked(t *testing.T) {
	now := time.Now()
	authority := identitytest.NewAuthority(t)
	day := 24 * time.Hour
	for _, c := range []struct {
		name    string
		cn      string
		options []identitytest.Option
		spoil   func(*identity.Files)
		kind    fault.Kind
		words   string
	}{
		{name: "a good one"},
		{name: "the system's authorities", spoil: func(f *identity.Files) { f.CA = "" }},
		{name: "its group may read the key", spoil: func(f *identity.Files) { chmod(t, f.Key, 0o440) }},
		{name: "others may read the key", spoil: func(f *identity.Files) { chmod(t, f.Key, 0o644) }, kind: fault.Refused, words: "chmod 600 "},
		{name: "its group may write the key", spoil: func(f *identity.Files) { chmod(t, f.Key, 0o660) }, kind: fault.Refused, words: "mode 0660"},
		{name: "no certificate", spoil: func(f *identity.Files) { remove(t, f.Cert) }, kind: fault.Invalid, words: "there is no file"},
		{name: "no name of a certificate", spoil: func(f *identity.Files) { f.Cert = "" }, kind: fault.Invalid, words: "no file with the certificate"},
		{name: "no key", spoil: func(f *identity.Files) { remove(t, f.Key) }, kind: fault.Invalid, words: "private key"},
		{name: "no authorities", spoil: func(f *identity.Files) { remove(t, f.CA) }, kind: fault.Invalid, words: "authorities"},
		{name: "a directory for a key", spoil: func(f *identity.Files) { f.Key = t.TempDir() }, kind: fault.Invalid, words: "is a directory"},
		{name: "no PEM", spoil: func(f *identity.Files) { identitytest.Write(t, f.Cert, []byte("hello")) }, kind: fault.Invalid, words: "no certificate in PEM"},
		{name: "authorities that are none", spoil: func(f *identity.Files) { f.CA = f.Key }, kind: fault.Invalid, words: "no certificate of an authority"},
		{name: "a key for a certificate", spoil: func(f *identity.Files) { f.Cert = f.Key }, kind: fault.Invalid, words: "no certificate that can be read"},
		{name: "the key of another", spoil: func(f *identity.Files) { f.Key = authority.Issue(t, dc2).Key }, kind: fault.Invalid, words: "does not fit"},
		{name: "expired", options: []identitytest.Option{identitytest.Life(now.Add(-2*day), now.Add(-day))}, kind: fault.Refused,
			words: "expired at " + now.Add(-day).UTC().Format("2006-01-02")},
		{name: "not yet valid", options: []identitytest.Option{identitytest.Life(now.Add(day), now.Add(2*day))}, kind: fault.Refused,
			words: "not valid before " + now.Add(day).UTC().Format("2006-01-02")},
		{name: "a stranger", cn: "example.com", kind: fault.Invalid, words: "not a name of keyorch's"},
		{name: "nobody", cn: " ", kind: fault.Invalid, words: "common name"},
	} {
		cn := c.cn
		if cn == "" {
			cn = dc2
		}
		files := authority.Issue(t, cn, c.options...)
		if c.spoil != nil {
			c.spoil(&files)
		}
		got, err := files.Read(now, "etcd")
		if c.words == "" {
			if err != nil || got.Identity != identity.OfSite("dc2") {
				t.Errorf("%s: %v, %v", c.name, got.Identity, err)
			}
			continue
		}
		if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.words) || !strings.HasPrefix(err.Error(), "read the certificate for etcd: ") {
			t.Errorf("%s: %v (%v), want %v with %q", c.name, err, fault.Of(err), c.kind, c.words)
		}
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func TestRequestsKeepTheirKey(t *testing.T) {
	r, err := identity.NewRequest(identity.OfSite("dc2"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(r), fmt.Sprintf("%v %+v %#v %s", r, r, r, &r), fmt.Sprintf("%q", r)} {
		if strings.Contains(text, "PRIVATE") || len(text) > 200 {
			t.Errorf("a request prints as %s", text)
		}
	}
	if _, err := identity.NewRequest(identity.Identity{Role: "x"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a request for nobody: %v", err)
	}
}

func TestASignedSetIsKept(t *testing.T) {
	authority := identitytest.NewAuthority(t)
	files, who := identity.Directory(t.TempDir()).Files(), identity.OfSite("dc2")
	request := func() identity.Request {
		r, err := identity.NewRequest(who)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := request()
	if err := first.Write(files, who, authority.Sign(t, first.CSR()), authority.PEM(), time.Now()); err != nil {
		t.Fatal(err)
	}
	before, err := files.Read(time.Now(), "etcd")
	if err != nil {
		t.Fatal(err)
	}
	// What must not be kept changes nothing.
	second, other := request(), request()
	day := 24 * time.Hour
	for why, c := range map[string]struct{ cert, ca []byte }{
		"no PEM":         {[]byte("x"), nil},
		"another key":    {authority.Sign(t, other.CSR()), nil},
		"expired":        {authority.Sign(t, second.CSR(), identitytest.Life(time.Now().Add(-2*day), time.Now().Add(-day))), nil},
		"no authorities": {authority.Sign(t, second.CSR()), []byte("x")},
	} {
		if err := second.Write(files, who, c.cert, c.ca, time.Now()); err == nil {
			t.Errorf("%s is kept", why)
		}
		if now, err := files.Read(time.Now(), "etcd"); err != nil || now.Leaf.SerialNumber.Cmp(before.Leaf.SerialNumber) != 0 {
			t.Errorf("%s has changed the files: %v", why, err)
		}
	}
	if err := second.Write(files, identity.OfSite("dc3"), authority.Sign(t, second.CSR()), nil, time.Now()); !fault.Is(err, fault.Invalid) {
		t.Errorf("a certificate of another identity: %v", err)
	}
	if err := second.Write(files, who, authority.Sign(t, second.CSR()), nil, time.Now()); err != nil {
		t.Fatal(err)
	}
	now, err := files.Read(time.Now(), "etcd")
	if err != nil || now.Leaf.SerialNumber.Cmp(before.Leaf.SerialNumber) == 0 {
		t.Fatalf("the new certificate is not there: %v", err)
	}
	for path, mode := range map[string]os.FileMode{files.Key: 0o600, files.Cert: 0o644} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if _, err := os.Stat(files.Key + ".next"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the key still has a second name: %v", err)
	}
}

// A crash before the last step leaves a set that can be used, and renewed.
func TestACrashLeavesASetThatFits(t *testing.T) {
	authority := identitytest.NewAuthority(t)
	files, who := authority.Issue(t, dc2), identity.OfSite("dc2")
	oldKey, err := os.ReadFile(files.Key)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r, err := identity.NewRequest(who)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Write(files, who, authority.Sign(t, r.CSR()), nil, time.Now()); err != nil {
			t.Fatal(err)
		}
		// As after a crash before the last step.
		if err := os.Rename(files.Key, files.Key+".next"); err != nil {
			t.Fatal(err)
		}
		identitytest.Write(t, files.Key, oldKey)
		if err := files.Check(time.Now(), "etcd"); err != nil {
			t.Fatal(err)
		}
	}
	remove(t, files.Key+".next")
	if err := files.Check(time.Now(), "etcd"); err == nil {
		t.Fatal("the check does not see that the key is gone")
	}
}

func TestRenewalsAreSpreadEvenly(t *testing.T) {
	authority := identitytest.NewAuthority(t)
	from := time.Now().Add(-time.Minute).Truncate(time.Second)
	life := 24 * time.Hour
	cert, err := authority.Issue(t, dc2, identitytest.Life(from, from.Add(life))).Read(time.Now(), "etcd")
	if err != nil {
		t.Fatal(err)
	}
	const certificates = 1000
	perTenth := make(map[int]int)
	var sum time.Duration
	for i := range certificates {
		age := identity.RenewAt(cert.Leaf, (float64(i)+0.5)/certificates).Sub(from)
		if age < life/2 || age > life*5/6 {
			t.Fatalf("one is renewed after %v of %v", age, life)
		}
		sum += age
		perTenth[int((age-life/2)*10/(life/3))]++
	}
	if mean := sum / certificates; (mean - life*2/3).Abs() > time.Minute {
		t.Errorf("they are renewed after %v on average, want two thirds of %v", mean, life)
	}
	for tenth := range 10 {
		if n := perTenth[tenth]; n < 90 || n > 110 {
			t.Errorf("%d of %d are renewed in tenth %d of the time", n, certificates, tenth)
		}
	}
	for _, random := range []float64{-1, 2} {
		if at := identity.RenewAt(cert.Leaf, random); at.Before(from.Add(life/2)) || at.After(from.Add(life*5/6)) {
			t.Errorf("%v gives %v", random, at)
		}
	}
}
