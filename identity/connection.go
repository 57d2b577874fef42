package identity

import (
	"net/url"
	"slices"
	"strings"

	"github.com/keyorch/keyorch/fault"
)

// Connection is where the servers of a process are and how it proves to them who
// it is. There is no secret in it.
type Connection struct {
	Identity Identity `json:"identity"`
	Etcd     Etcd     `json:"etcd"`
	Vault    Vault    `json:"vault"`
	// Temporal is for workers and operators; agents have no business there.
	Temporal Temporal `json:"temporal,omitzero"`
}

// Etcd says where etcd is.
type Etcd struct {
	Endpoints []string `json:"endpoints"` // https://HOST:PORT
}

// Vault says where Vault is and how to log in to it.
type Vault struct {
	Address   string `json:"address"` // https://HOST:PORT
	Namespace string `json:"namespace,omitempty"`
	Auth      Auth   `json:"auth"`
	// Mount is the path of the auth method, and Role its role.
	Mount string `json:"mount"`
	Role  string `json:"role"`
	// PKI is the path that signs the identity's certificates, such as
	// keyorch-pki/sign/keyorch-agent.dc2.
	PKI string `json:"pki"`
}

// Temporal says where Temporal is.
type Temporal struct {
	Address   string `json:"address,omitempty"` // HOST:PORT
	Namespace string `json:"namespace,omitempty"`
}

// Auth is a way to log in to Vault.
type Auth string

// The ways, by the names of Vault's own methods.
const (
	ByToken       Auth = "token"
	ByAppRole     Auth = "approle"
	ByKubernetes  Auth = "kubernetes"
	ByCertificate Auth = "cert"
)

// Auths are all ways.
func Auths() []Auth { return []Auth{ByToken, ByAppRole, ByKubernetes, ByCertificate} }

// Valid says with Invalid, naming the field, why c cannot be, or nil.
func (c Connection) Valid() error {
	if err := c.Identity.Valid(); err != nil {
		return err
	}
	if len(c.Etcd.Endpoints) == 0 {
		return wrongField("etcd.endpoints", "there is none")
	}
	for _, e := range c.Etcd.Endpoints {
		if err := secureURL("etcd.endpoints", e); err != nil {
			return err
		}
	}
	if err := secureURL("vault.address", c.Vault.Address); err != nil {
		return err
	}
	if !slices.Contains(Auths(), c.Vault.Auth) {
		return wrongField("vault.auth", "it is none of token, approle, kubernetes and cert")
	}
	for field, path := range map[string]string{
		"vault.namespace": c.Vault.Namespace, "vault.mount": c.Vault.Mount, "vault.role": c.Vault.Role, "vault.pki": c.Vault.PKI,
	} {
		if !plainPath(path) {
			return wrongField(field, "it is not a path of Vault's")
		}
	}
	return nil
}

// secureURL wants an address that is spoken to over TLS, without a password in it.
func secureURL(field, address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return wrongField(field, "it is not an address like https://host:port")
	}
	return nil
}

// plainPath reports whether path can be part of a URL as it is.
func plainPath(path string) bool {
	strange := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("/-_.", r)
	}
	return strings.IndexFunc(path, strange) < 0 && !strings.Contains(path, "..") && !strings.Contains(path, "//") && !strings.HasPrefix(path, "/")
}

func wrongField(field, why string) error {
	return fault.New(fault.Invalid, "connection: %s: %s", field, why)
}
