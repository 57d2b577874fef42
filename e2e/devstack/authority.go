package devstack

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

const (
	// authorityLife is how long the authority is good for: longer than anything that
	// it signs.
	authorityLife = 2 * longLife
	// clockSkew is how far back certificates begin, for clocks that are slow.
	clockSkew = time.Hour
)

// authority is the stack's own certificate authority. Its key lies in the data
// directory, which is only ever right in development.
type authority struct {
	dir  string // DATA/tls
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// certFile is the authority's certificate, which clients check servers against.
func (a *authority) certFile() string { return a.file("ca.crt") }

// openAuthority reads the authority of a data directory, and makes it the first
// time.
func openAuthority(data string) (*authority, error) {
	a := &authority{dir: filepath.Join(data, "tls")}
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "make certificate authority")
	}
	pair, err := tls.LoadX509KeyPair(a.certFile(), a.file("ca.key"))
	switch {
	case err == nil:
		key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
		if !ok {
			return nil, fault.New(fault.Invalid, "read certificate authority: %s holds no ECDSA key", a.file("ca.key"))
		}
		a.cert, a.key = pair.Leaf, key
		return a, nil
	case errors.Is(err, fs.ErrNotExist): // new, or a first start that was killed
		return a, a.create()
	}
	return nil, fault.Wrap(fault.Invalid, err, "read certificate authority in %s", a.dir)
}

func (a *authority) create() (err error) {
	if a.key, err = newKey(); err != nil {
		return err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "keyorch-dev"},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := sign(template, authorityLife, template, a.key, a.key)
	if err != nil {
		return err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return fault.Wrap(fault.Invalid, err, "make certificate authority")
	}
	// The key last: without it the authority is made anew.
	return errors.Join(writeFile(a.certFile(), certPEM(der)), a.writeKey(a.file("ca.key"), a.key))
}

// pool trusts this authority alone.
func (a *authority) pool() *x509.CertPool {
	trusted := x509.NewCertPool()
	trusted.AddCert(a.cert)
	return trusted
}

// bundle is certificate and key in PEM, as Vault's PKI engine imports them.
func (a *authority) bundle() (string, error) {
	key, err := keyPEM(a.key)
	return string(certPEM(a.cert.Raw)) + string(key), err
}

// server makes a certificate for servers under every name of this machine, into
// NAME.crt and NAME.key. It is made anew at each start: names may be others.
func (a *authority) server(name string, names []string) (certFile, keyFile string, err error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "keyorch-dev " + name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, // etcd's peers are both
	}
	for _, n := range append([]string{loopback, "::1", "localhost"}, names...) {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	certFile, keyFile = a.file(name+".crt"), a.file(name+".key")
	return certFile, keyFile, a.issue(template, certFile, keyFile)
}

// serverCerts are the files that servers show and check clients by; none, and
// they speak plainly.
type serverCerts struct{ cert, key, ca string }

func (c serverCerts) plain() bool { return c.cert == "" }

func (c serverCerts) url(address string) string {
	if c.plain() {
		return "http://" + address
	}
	return "https://" + address
}

// client makes the certificate of an identity.
func (a *authority) client(dir identity.Directory, who identity.Identity) error {
	if err := os.MkdirAll(string(dir), 0o700); err != nil {
		return fault.Wrap(fault.Unavailable, err, "make certificate of %s", who)
	}
	for _, trusted := range []string{dir.CA(), filepath.Join(string(dir), "vault-ca.crt")} {
		if err := writeFile(trusted, certPEM(a.cert.Raw)); err != nil {
			return err
		}
	}
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: who.CommonName()},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, dir.Cert(), dir.Key())
}

// vouchesFor reports whether dir has a certificate of this authority that is good for
// now.
func (a *authority) vouchesFor(dir identity.Directory) bool {
	pair, err := tls.LoadX509KeyPair(dir.Cert(), dir.Key())
	return err == nil && pair.Leaf.CheckSignatureFrom(a.cert) == nil && time.Now().Before(pair.Leaf.NotAfter)
}

func (a *authority) issue(template *x509.Certificate, certFile, keyFile string) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	der, err := sign(template, longLife, a.cert, key, a.key)
	if err != nil {
		return err
	}
	return errors.Join(writeFile(certFile, certPEM(der)), a.writeKey(keyFile, key))
}

func (a *authority) writeKey(path string, key *ecdsa.PrivateKey) error {
	doc, err := keyPEM(key)
	if err != nil {
		return err
	}
	return writeFile(path, doc)
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return key, fault.Wrap(fault.Unavailable, err, "make a private key")
}

// sign signs a certificate for the holder of key.
func sign(template *x509.Certificate, life time.Duration, parent *x509.Certificate, key, by *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // RFC 5280 4.1.2.2: at most 20 bytes
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "make a serial number")
	}
	now := time.Now()
	template.SerialNumber, template.NotBefore, template.NotAfter = serial, now.Add(-clockSkew), now.Add(life)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	return der, fault.Wrap(fault.Invalid, err, "sign the certificate of %s", template.Subject.CommonName)
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "write a private key")
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
