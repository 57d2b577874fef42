package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/keyorch/keyorch/fault"
)

// Directory is where a process keeps who it is: its certificate and key, the
// authorities that it trusts, and where its servers are. Only its owner reads it.
type Directory string

// The files of a Directory. The first three are what etcd and Vault are shown;
// cert-manager and SPIFFE's helper write files of the same names.
const (
	certFile       = "tls.crt"
	keyFile        = "tls.key"
	caFile         = "ca.crt"
	vaultCAFile    = "vault-ca.crt"
	connectionFile = "connection.json"
	roleIDFile     = "role-id"
	secretIDFile   = "secret-id"
)

// Cert is the path of the certificate, in PEM.
func (d Directory) Cert() string { return d.path(certFile) }

// Key is the path of its private key, in PEM.
func (d Directory) Key() string { return d.path(keyFile) }

// CA is the path of the authorities that etcd's certificate is checked against.
func (d Directory) CA() string { return d.path(caFile) }

// VaultCA is the path of those of Vault, or empty when there is no such file: the
// system's then.
func (d Directory) VaultCA() string { return d.existing(vaultCAFile) }

// RoleID and SecretID are the paths of what AppRole logs in with, empty where there
// is no such file.
func (d Directory) RoleID() string { return d.existing(roleIDFile) }

// SecretID is described with RoleID.
func (d Directory) SecretID() string { return d.existing(secretIDFile) }

func (d Directory) path(name string) string { return filepath.Join(string(d), name) }

func (d Directory) existing(name string) string {
	if _, err := os.Stat(d.path(name)); err != nil {
		return ""
	}
	return d.path(name)
}

// Connection reads where the servers are. Joined is false when nobody has joined
// with this directory yet. Errors are Invalid.
func (d Directory) Connection() (c Connection, joined bool, err error) {
	doc, err := os.ReadFile(d.path(connectionFile))
	if errors.Is(err, fs.ErrNotExist) {
		return c, false, nil
	}
	if err != nil {
		return c, false, fault.Wrap(fault.Invalid, err, "read the identity in %s", string(d))
	}
	c, err = parseConnection(doc)
	return c, err == nil, fault.Wrap(fault.Invalid, err, "read %s: join again", d.path(connectionFile))
}

func parseConnection(doc []byte) (Connection, error) {
	var c Connection
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return Connection{}, err
	}
	return c, c.Valid()
}
