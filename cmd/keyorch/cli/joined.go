package cli

import (
	"cmp"
	"strings"

	"github.com/keyorch/keyorch/identity"
)

// The variables that are keyorch's own. All others are those of etcdctl, Vault and
// Temporal.
const (
	envIdentity     = "KEYORCH_IDENTITY"
	envPKI          = "KEYORCH_PKI"
	envAuth         = "KEYORCH_VAULT_AUTH"
	envAuthRole     = "KEYORCH_VAULT_ROLE"
	envAuthMount    = "KEYORCH_VAULT_MOUNT"
	envRoleIDFile   = "KEYORCH_VAULT_ROLE_ID_FILE"
	envSecretIDFile = "KEYORCH_VAULT_SECRET_ID_FILE"
	envJWTFile      = "KEYORCH_VAULT_JWT_FILE"
)

// takeIdentity has the settings of a process come from the directory that --identity
// names, or else normally, where the environment is silent.
func (a *app) takeIdentity(normally string) error {
	getenv, err := asJoined(a.getenv, identity.Directory(cmp.Or(a.identityFlag, normally)))
	if err == nil {
		a.getenv = getenv
	}
	return err
}

// asJoined is the environment, and where that is silent what the directory of an
// identity says: so a host that joined needs no variable at all. What belongs
// together is taken from one of the two: a certificate and its key, and all of how
// to log in to Vault.
func asJoined(getenv func(string) string, d identity.Directory) (func(string) string, error) {
	if d == "" {
		return getenv, nil
	}
	c, joined, err := d.Connection()
	if err != nil {
		return nil, err
	}
	said := map[string]string{}
	silent := func(names ...string) bool {
		for _, n := range names {
			if getenv(n) != "" {
				return false
			}
		}
		return true
	}
	signed := joined || getenv(envPKI) != ""
	if signed && silent("ETCDCTL_CERT", "ETCDCTL_KEY") {
		said["ETCDCTL_CERT"], said["ETCDCTL_KEY"] = d.Cert(), d.Key()
	}
	if !joined {
		return overlaid(getenv, said), nil
	}
	said["ETCDCTL_ENDPOINTS"], said["ETCDCTL_CACERT"] = strings.Join(c.Etcd.Endpoints, ","), d.CA()
	said["VAULT_ADDR"], said["VAULT_NAMESPACE"] = c.Vault.Address, c.Vault.Namespace
	said["VAULT_CACERT"] = d.VaultCA()
	said["TEMPORAL_ADDRESS"], said["TEMPORAL_NAMESPACE"] = c.Temporal.Address, c.Temporal.Namespace
	if silent("VAULT_CLIENT_CERT", "VAULT_CLIENT_KEY") {
		said["VAULT_CLIENT_CERT"], said["VAULT_CLIENT_KEY"] = d.Cert(), d.Key()
	}
	if silent("VAULT_TOKEN", envAuth, envAuthRole, envAuthMount) {
		said[envAuth], said[envAuthRole], said[envAuthMount] = string(c.Vault.Auth), c.Vault.Role, c.Vault.Mount
		said[envRoleIDFile], said[envSecretIDFile] = d.RoleID(), d.SecretID()
		said[envPKI] = c.Vault.PKI
	}
	return overlaid(getenv, said), nil
}

// overlaid is getenv, and said where it is silent.
func overlaid(getenv func(string) string, said map[string]string) func(string) string {
	return func(name string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return said[name]
	}
}
