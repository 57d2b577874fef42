package custody

import (
	"cmp"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// EnvConfig is what the environment says, and for what it leaves open the directory
// of an identity: dir may be empty. Errors are Invalid.
func EnvConfig(getenv func(string) string, dir identity.Directory) (Config, error) {
	c := Config{
		Address: getenv("VAULT_ADDR"), Token: getenv("VAULT_TOKEN"), Namespace: getenv("VAULT_NAMESPACE"),
		CACert: getenv("VAULT_CACERT"), ClientCert: getenv("VAULT_CLIENT_CERT"), ClientKey: getenv("VAULT_CLIENT_KEY"),
		Login: Login{
			Method: identity.Auth(getenv("KEYORCH_VAULT_AUTH")), Mount: getenv("KEYORCH_VAULT_MOUNT"), Role: getenv("KEYORCH_VAULT_ROLE"),
			RoleIDFile: getenv("KEYORCH_VAULT_ROLE_ID_FILE"), SecretIDFile: getenv("KEYORCH_VAULT_SECRET_ID_FILE"),
			JWTFile: getenv("KEYORCH_VAULT_JWT_FILE"),
		},
	}
	if dir != "" {
		if err := c.fill(dir); err != nil {
			return Config{}, err
		}
	}
	if c.Address == "" {
		return Config{}, fault.New(fault.Invalid, "connect to vault: VAULT_ADDR is not set")
	}
	if c.Login.Method == "" && c.Token != "" {
		c.Login.Method = identity.ByToken
	}
	return c, nil
}

// fill takes what is open in c from the directory of somebody who has joined.
func (c *Config) fill(dir identity.Directory) error {
	joined, ok, err := dir.Connection()
	if err != nil || !ok {
		return err
	}
	v := joined.Vault
	if c.Address == "" {
		c.Address = v.Address
		c.Namespace = cmp.Or(c.Namespace, v.Namespace)
		c.CACert = cmp.Or(c.CACert, dir.VaultCA())
	}
	if c.Login.Method != "" || c.Token != "" {
		return nil // the environment says who this is
	}
	c.Login.Method = v.Auth
	c.Login.Mount, c.Login.Role = cmp.Or(c.Login.Mount, v.Mount), cmp.Or(c.Login.Role, v.Role)
	c.Login.RoleIDFile, c.Login.SecretIDFile = cmp.Or(c.Login.RoleIDFile, dir.RoleID()), cmp.Or(c.Login.SecretIDFile, dir.SecretID())
	if v.Auth == identity.ByCertificate && c.ClientCert == "" && c.ClientKey == "" {
		c.ClientCert, c.ClientKey = dir.Cert(), dir.Key()
	}
	return nil
}
