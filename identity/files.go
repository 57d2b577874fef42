package identity

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/keyorch/keyorch/fault"
)

// Files are where a certificate, its key and the authorities of the server are, as
// keyorch, cert-manager or SPIFFE's helper wrote them: all PEM.
type Files struct {
	// CA holds the authorities that the server's certificate is checked against;
	// empty means the system's.
	CA string
	// Cert is the certificate that is shown to the server, with those between it
	// and its authority; Key is its private key.
	Cert, Key string
}

// Files are those of d.
func (d Directory) Files() Files { return Files{CA: d.CA(), Cert: d.Cert(), Key: d.Key()} }

// Certificate is what Files held when they were read.
type Certificate struct {
	Identity Identity
	Leaf     *x509.Certificate
	pair     tls.Certificate
	roots    *x509.CertPool // nil: the system's
}

// mayRead is who may read a key: its owner, and its group, as Kubernetes mounts it.
const mayRead = 0o740

// nextKey is what the name of a key ends with that is about to become the key: see
// Request.Write.
const nextKey = ".next"

// Read reads the files and looks for everything in them that the server, server
// being its name for messages, would refuse later in fewer words. Faults: Invalid for
// files that can never do, and Refused for what somebody can mend: an expired
// certificate, one that is not valid yet, and a key that others may read.
func (f Files) Read(now time.Time, server string) (Certificate, error) {
	c, err := f.read(now)
	if err != nil {
		return Certificate{}, fault.Wrap(fault.Of(err), err, "read the certificate for %s", server)
	}
	return c, nil
}

// Check is Read for its errors alone.
func (f Files) Check(now time.Time, server string) error {
	_, err := f.Read(now, server)
	return err
}

func (f Files) read(now time.Time) (c Certificate, err error) {
	if c.pair, err = f.Pair(now); err != nil {
		return Certificate{}, err
	}
	c.Leaf = c.pair.Leaf
	if c.Identity, err = ParseCommonName(c.Leaf.Subject.CommonName); err != nil {
		return Certificate{}, fault.Wrap(fault.Invalid, err, "the common name in %s", f.Cert)
	}
	if c.roots, err = f.Authorities(); err != nil {
		return Certificate{}, err
	}
	return c, nil
}

// Pair is the certificate with its key, whatever its name, with all else that Read
// looks for. Faults: those of Read.
func (f Files) Pair(now time.Time) (tls.Certificate, error) {
	cert, err := readPEM(f.Cert, "certificate")
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := readPEM(f.Key, "private key")
	if err != nil {
		return tls.Certificate{}, err
	}
	defer clear(key)
	if err := f.kept(); err != nil {
		return tls.Certificate{}, err
	}
	pair, err := f.pair(cert, key)
	if err == nil {
		err = f.valid(pair.Leaf, now)
	}
	if err != nil {
		return tls.Certificate{}, err
	}
	return pair, nil
}

// readPEM reads a file that must have something of PEM in it.
func readPEM(path, what string) ([]byte, error) {
	if path == "" {
		return nil, fault.New(fault.Invalid, "no file with the %s is given", what)
	}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.New(fault.Invalid, "there is no file %s, which should hold the %s", path, what)
	case err != nil:
		return nil, fault.Wrap(fault.Invalid, err, "the %s", what)
	}
	if block, _ := pem.Decode(text); block == nil {
		return nil, fault.New(fault.Invalid, "%s holds no %s in PEM", path, what)
	}
	return text, nil
}

// kept looks at who may read the key.
func (f Files) kept() error {
	info, err := os.Stat(f.Key)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "the private key")
	}
	if mode := info.Mode().Perm(); mode&^mayRead != 0 {
		return fault.New(fault.Refused, "%s may be read or changed by others (mode %04o): run chmod 600 %s", f.Key, mode, f.Key)
	}
	return nil
}

// pair puts certificate and key together. While a new set is put in place, its key
// still has the other name.
func (f Files) pair(cert, key []byte) (tls.Certificate, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err == nil {
		return pair, nil
	}
	if next, readErr := os.ReadFile(f.Key + nextKey); readErr == nil {
		defer clear(next)
		if pair, nextErr := tls.X509KeyPair(cert, next); nextErr == nil {
			return pair, nil
		}
	}
	block, _ := pem.Decode(cert)
	if _, bad := x509.ParseCertificate(block.Bytes); block.Type != "CERTIFICATE" || bad != nil {
		return tls.Certificate{}, fault.New(fault.Invalid, "%s holds no certificate that can be read", f.Cert)
	}
	// The library's own words may quote what is in the files.
	return tls.Certificate{}, fault.New(fault.Invalid, "the key in %s does not fit the certificate in %s", f.Key, f.Cert)
}

// valid looks at the time.
func (f Files) valid(leaf *x509.Certificate, now time.Time) error {
	when := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch {
	case now.After(leaf.NotAfter):
		return fault.New(fault.Refused, "%s expired at %s: have it renewed, or enrol and join again", f.Cert, when(leaf.NotAfter))
	case now.Before(leaf.NotBefore):
		return fault.New(fault.Refused, "%s is not valid before %s, and here it is %s: compare the clocks", f.Cert, when(leaf.NotBefore), when(now))
	}
	return nil
}

// Authorities are those of the server; nil means the system's. Faults: Invalid.
func (f Files) Authorities() (*x509.CertPool, error) {
	if f.CA == "" {
		return nil, nil
	}
	text, err := readPEM(f.CA, "authorities")
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fault.New(fault.Invalid, "%s holds no certificate of an authority", f.CA)
	}
	return roots, nil
}
