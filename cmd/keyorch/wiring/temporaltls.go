package wiring

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"time"

	"go.temporal.io/sdk/contrib/envconfig"

	"github.com/keyorch/keyorch/fault"
)

// mayRead is who may read a private key: its owner, and its group, as Kubernetes
// mounts it.
const mayRead = 0o740

// The variables that name Temporal's files.
const (
	certVariable = "TEMPORAL_TLS_CLIENT_CERT_PATH"
	keyVariable  = "TEMPORAL_TLS_CLIENT_KEY_PATH"
	caVariable   = "TEMPORAL_TLS_SERVER_CA_CERT_PATH"
)

// checkTLS looks for everything in the files that the server would refuse later in
// fewer words. Faults: Invalid, Refused.
func checkTLS(t *envconfig.ClientConfigTLS) error {
	if t == nil || t.Disabled {
		return nil
	}
	if (t.ClientCertPath == "") != (t.ClientKeyPath == "") {
		return fault.New(fault.Invalid, "connect to temporal: %s and %s go together, and one is missing", certVariable, keyVariable)
	}
	if t.ClientCertPath != "" {
		if _, err := readPair(t.ClientCertPath, t.ClientKeyPath); err != nil {
			return err
		}
	}
	if t.ServerCACertPath != "" {
		if _, err := readAuthorities(t.ServerCACertPath); err != nil {
			return err
		}
	}
	return nil
}

// readPair reads a client's certificate and key.
func readPair(certPath, keyPath string) (*tls.Certificate, error) {
	if err := readable(certPath, certVariable); err != nil {
		return nil, err
	}
	if err := readable(keyPath, keyVariable); err != nil {
		return nil, err
	}
	info, err := os.Stat(keyPath)
	if err != nil {
		return nil, fault.New(fault.Invalid, "connect to temporal: %s: %s cannot be looked at", keyVariable, keyPath)
	}
	if mode := info.Mode().Perm(); mode&^mayRead != 0 {
		return nil, fault.New(fault.Refused, "connect to temporal: %s may be read or changed by others (mode %04o): chmod 600 %s", keyPath, mode, keyPath)
	}
	pair, err := tls.LoadX509KeyPair(certPath, keyPath)
	if err != nil { // the library's words may quote the files
		return nil, fault.New(fault.Invalid, "connect to temporal: %s and %s are no certificate with its key, both PEM", certPath, keyPath)
	}
	when := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch now := time.Now(); {
	case now.After(pair.Leaf.NotAfter):
		return nil, fault.New(fault.Refused, "connect to temporal: the certificate in %s expired at %s: have it renewed", certPath, when(pair.Leaf.NotAfter))
	case now.Before(pair.Leaf.NotBefore):
		return nil, fault.New(fault.Refused, "connect to temporal: the certificate in %s is not valid before %s, and here it is %s: compare the clocks",
			certPath, when(pair.Leaf.NotBefore), when(now))
	}
	return &pair, nil
}

// readAuthorities reads who signs the server's certificates.
func readAuthorities(path string) (*x509.CertPool, error) {
	if err := readable(path, caVariable); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "connect to temporal: %s: %s cannot be read", caVariable, path)
	}
	pool := x509.NewCertPool()
	if block, _ := pem.Decode(data); block == nil || !pool.AppendCertsFromPEM(data) {
		return nil, fault.New(fault.Invalid, "connect to temporal: %s: there is no certificate in PEM in %s", caVariable, path)
	}
	return pool, nil
}

func readable(path, variable string) error {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.Invalid, "connect to temporal: %s: there is no %s", variable, path)
	case err != nil:
		return fault.New(fault.Invalid, "connect to temporal: %s: %s cannot be read by this user", variable, path)
	}
	return f.Close()
}

// keepCurrent has files read anew for every connection, so that a renewed certificate
// needs no restart. The library reads them once.
func keepCurrent(conf *tls.Config, t *envconfig.ClientConfigTLS, host string) {
	if conf.ServerName == "" {
		conf.ServerName = host
	}
	if t == nil {
		return
	}
	if t.ClientCertPath != "" {
		conf.Certificates = nil
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return readPair(t.ClientCertPath, t.ClientKeyPath)
		}
	}
	if t.ServerCACertPath != "" && !t.DisableHostVerification {
		name := conf.ServerName
		// Who signs is known only when the connection is made: the check is the standard
		// one, and made here.
		conf.InsecureSkipVerify = true
		conf.VerifyConnection = func(s tls.ConnectionState) error { return verify(s.PeerCertificates, t.ServerCACertPath, name) }
	}
}

func verify(chain []*x509.Certificate, authorities, name string) error {
	roots, err := readAuthorities(authorities)
	if err != nil {
		return err
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: name})
	return err
}
