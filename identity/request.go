package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"github.com/keyorch/keyorch/fault"
)

// Request is a new private key, and what an authority is asked to sign for it. The
// key leaves it for a file and for nowhere else.
type Request struct {
	csr []byte
	key []byte
}

// NewRequest makes a key (ECDSA, P-256) for i.
func NewRequest(i Identity) (Request, error) {
	if err := i.Valid(); err != nil {
		return Request{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Request{}, fault.Wrap(fault.Unavailable, err, "make a key for %s", i)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: i.CommonName()}}, key)
	if err != nil {
		return Request{}, fault.Wrap(fault.Invalid, err, "make a certificate request for %s", i)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Request{}, fault.Wrap(fault.Invalid, err, "make a key for %s", i)
	}
	defer clear(private)
	return Request{
		csr: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}),
		key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}, nil
}

// CSR is what to have signed, in PEM.
func (r Request) CSR() []byte { return r.csr }

// String hides the key.
func (Request) String() string { return "a certificate request" }

// GoString hides the key.
func (r Request) GoString() string { return r.String() }

// Write puts what was signed, the key, and authorities where f says; without
// authorities that file stays as it is. All are PEM. Whoever reads the files at any
// moment, also after a crash, finds a set that fits: the new key waits beside the old
// one until the certificate is there, and Read looks in both places. What does not
// fit, or has expired, or is of another identity than i is refused, and nothing is
// written.
func (r Request) Write(f Files, i Identity, cert, authorities []byte, now time.Time) error {
	if err := r.fits(f, i, cert, authorities, now); err != nil {
		return fault.Wrap(fault.Of(err), err, "keep the certificate of %s", i)
	}
	if err := os.MkdirAll(filepath.Dir(f.Key), 0o700); err != nil {
		return fault.Wrap(fault.Refused, err, "keep the certificate of %s", i)
	}
	if err := f.settle(); err != nil {
		return fault.Wrap(fault.Refused, err, "keep the certificate of %s", i)
	}
	steps := []struct {
		path string
		text []byte
		mode os.FileMode
	}{
		{f.CA, authorities, 0o644},
		{f.Key + nextKey, r.key, 0o600},
		{f.Cert, cert, 0o644},
	}
	for _, s := range steps {
		if len(s.text) == 0 {
			continue
		}
		if err := replace(s.path, s.text, s.mode); err != nil {
			return fault.Wrap(fault.Refused, err, "keep the certificate of %s", i)
		}
	}
	return fault.Wrap(fault.Refused, f.settle(), "keep the certificate of %s", i)
}

// settle gives the key that waits beside the old one its name, if it is that of the
// certificate: also that of an earlier Write that did not get so far.
func (f Files) settle() error {
	cert, _ := os.ReadFile(f.Cert) // without it nothing fits
	next, _ := os.ReadFile(f.Key + nextKey)
	defer clear(next)
	if _, err := tls.X509KeyPair(cert, next); err != nil {
		return nil
	}
	if err := os.Rename(f.Key+nextKey, f.Key); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(f.Key))
}

// fits looks at a set before it is written, as Read will.
func (r Request) fits(f Files, i Identity, cert, authorities []byte, now time.Time) error {
	if block, _ := pem.Decode(cert); block == nil {
		return fault.New(fault.Invalid, "what was signed is no PEM")
	}
	pair, err := tls.X509KeyPair(cert, r.key)
	if err != nil {
		return fault.New(fault.Invalid, "what was signed is no certificate for the key that was asked for")
	}
	if name := pair.Leaf.Subject.CommonName; name != i.CommonName() {
		return fault.New(fault.Invalid, "it was signed for another name")
	}
	if len(authorities) > 0 && !x509.NewCertPool().AppendCertsFromPEM(authorities) {
		return fault.New(fault.Invalid, "there is no certificate among the authorities")
	}
	return f.valid(pair.Leaf, now)
}

// replace puts a file in place in one step, and makes that last.
func replace(path string, text []byte, mode os.FileMode) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	err := renameio.WriteFile(path, text, mode, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(mode))
	if err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

// syncDirectory makes renames last in the order in which they were made.
func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	_ = d.Close() // it was only read
	return err
}

// Certificates are renewed at about two thirds of their life: somewhere between
// these parts of it, so that those that were issued together are not renewed together, and
// a sixth of their life is left to try again.
const (
	renewFrom = 1. / 2
	renewTo   = 5. / 6
)

// RenewAt is when to renew a certificate: evenly spread over a third of its life as
// random is from 0 to 1, two thirds of its life after it began on average.
func RenewAt(cert *x509.Certificate, random float64) time.Time {
	life := cert.NotAfter.Sub(cert.NotBefore)
	part := renewFrom + (renewTo-renewFrom)*min(max(random, 0), 1)
	return cert.NotBefore.Add(time.Duration(part * float64(life)))
}
