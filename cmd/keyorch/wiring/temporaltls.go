package wiring

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"time"

	"go.temporal.io/sdk/contrib/envconfig"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

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
		if _, err := readPair(t); err != nil {
			return err
		}
	}
	_, err := readAuthorities(t)
	return err
}

// filesOf are the files of t.
func filesOf(t *envconfig.ClientConfigTLS) identity.Files {
	return identity.Files{CA: t.ServerCACertPath, Cert: t.ClientCertPath, Key: t.ClientKeyPath}
}

// readPair reads a client's certificate and key.
func readPair(t *envconfig.ClientConfigTLS) (*tls.Certificate, error) {
	pair, err := filesOf(t).Pair(time.Now())
	return &pair, fault.Wrap(fault.Of(err), err, "connect to temporal: %s, %s", certVariable, keyVariable)
}

// readAuthorities reads who signs the server's certificates.
func readAuthorities(t *envconfig.ClientConfigTLS) (*x509.CertPool, error) {
	roots, err := filesOf(t).Authorities()
	return roots, fault.Wrap(fault.Of(err), err, "connect to temporal: %s", caVariable)
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
			return readPair(t)
		}
	}
	if t.ServerCACertPath != "" && !t.DisableHostVerification {
		name := conf.ServerName
		// Who signs is known only when the connection is made: the check is the standard
		// one, and made here.
		conf.InsecureSkipVerify = true
		conf.VerifyConnection = func(s tls.ConnectionState) error {
			roots, err := readAuthorities(t)
			if err != nil {
				return err
			}
			return identity.Verify(s.PeerCertificates, roots, name)
		}
	}
}
