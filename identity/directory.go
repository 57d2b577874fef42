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

// existing is a path if there is something in the file.
func (d Directory) existing(name string) string {
	if info, err := os.Stat(d.path(name)); err != nil || info.Size() == 0 {
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

// KeepConnection writes where the servers are: the last thing that joining does. Here
// and below faults are Refused, for a directory that cannot be written to.
func (d Directory) KeepConnection(c Connection) error {
	doc, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "keep the identity in %s", string(d))
	}
	return d.keep(connectionFile, append(doc, '\n'))
}

// KeepVaultCA writes the authorities of Vault, and makes the directory.
func (d Directory) KeepVaultCA(pem string) error { return d.keep(vaultCAFile, []byte(pem)) }

// KeepAppRole writes what AppRole logs in with.
func (d Directory) KeepAppRole(roleID string, secretID Credential) error {
	if err := d.keep(roleIDFile, []byte(roleID+"\n")); err != nil {
		return err
	}
	return d.keep(secretIDFile, []byte(string(secretID)+"\n"))
}

func (d Directory) keep(name string, text []byte) error {
	err := os.MkdirAll(string(d), 0o700)
	if err == nil {
		err = replace(d.path(name), text, 0o600)
	}
	return fault.Wrap(fault.Refused, err, "keep the identity in %s", string(d))
}
