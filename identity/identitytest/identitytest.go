// Package identitytest makes authorities and certificates for tests, good ones and
// bad ones.
package identitytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keyorch/keyorch/identity"
)

// Authority signs certificates.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes one with a key of its own.
func NewAuthority(tb testing.TB) *Authority {
	tb.Helper()
	key := newKey(tb)
	template := &x509.Certificate{
		SerialNumber: serial(tb), Subject: pkix.Name{CommonName: "keyorch test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(tb, err)
	cert, err := x509.ParseCertificate(der)
	must(tb, err)
	return &Authority{cert: cert, key: key}
}

// PEM is its certificate.
func (a *Authority) PEM() []byte { return encode("CERTIFICATE", a.cert.Raw) }

// Option changes what is signed.
type Option func(*x509.Certificate)

// Life says from when to when it is valid; an hour around now otherwise.
func Life(from, to time.Time) Option {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to }
}

// Server makes it one of a server with these DNS names and IP addresses.
func Server(names ...string) Option {
	return func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		for _, n := range names {
			if ip := net.ParseIP(n); ip != nil {
				c.IPAddresses = append(c.IPAddresses, ip)
			} else {
				c.DNSNames = append(c.DNSNames, n)
			}
		}
	}
}

// Sign signs a request in PEM, as the name that it asks for, for a client.
func (a *Authority) Sign(tb testing.TB, csr []byte, options ...Option) []byte {
	tb.Helper()
	block, _ := pem.Decode(csr)
	if block == nil {
		tb.Fatal("the request is no PEM")
		return nil
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	must(tb, err)
	return a.sign(tb, request.Subject.CommonName, request.PublicKey, options)
}

// Issue puts a certificate for a common name, whatever it is, with a new key and a's
// own certificate into a new directory.
func (a *Authority) Issue(tb testing.TB, commonName string, options ...Option) identity.Files {
	tb.Helper()
	key := newKey(tb)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(tb, err)
	files := identity.Directory(tb.TempDir()).Files()
	Write(tb, files.CA, a.PEM())
	Write(tb, files.Cert, a.sign(tb, commonName, &key.PublicKey, options))
	Write(tb, files.Key, encode("PRIVATE KEY", der))
	return files
}

// Write puts a file in place, as nobody else may read it.
func Write(tb testing.TB, path string, text []byte) {
	tb.Helper()
	must(tb, os.MkdirAll(filepath.Dir(path), 0o700))
	must(tb, os.WriteFile(path, text, 0o600))
}

func (a *Authority) sign(tb testing.TB, commonName string, key any, options []Option) []byte {
	tb.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(tb), Subject: pkix.Name{CommonName: commonName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, change := range options {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key, a.key)
	must(tb, err)
	return encode("CERTIFICATE", der)
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(tb, err)
	return key
}

func serial(tb testing.TB) *big.Int {
	tb.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	must(tb, err)
	return n
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
