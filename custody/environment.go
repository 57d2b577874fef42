package custody

import (
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// EnvConfig is what the environment says. Errors are Invalid.
func EnvConfig(getenv func(string) string) (Config, error) {
	c := Config{
		Address: getenv("VAULT_ADDR"), Token: getenv("VAULT_TOKEN"), Namespace: getenv("VAULT_NAMESPACE"),
		CACert: getenv("VAULT_CACERT"), ClientCert: getenv("VAULT_CLIENT_CERT"), ClientKey: getenv("VAULT_CLIENT_KEY"),
		Login: Login{
			Method: identity.Auth(getenv("KEYORCH_VAULT_AUTH")), Mount: getenv("KEYORCH_VAULT_MOUNT"), Role: getenv("KEYORCH_VAULT_ROLE"),
			RoleIDFile: getenv("KEYORCH_VAULT_ROLE_ID_FILE"), SecretIDFile: getenv("KEYORCH_VAULT_SECRET_ID_FILE"),
			JWTFile: getenv("KEYORCH_VAULT_JWT_FILE"),
		},
	}
	if c.Address == "" {
		return Config{}, fault.New(fault.Invalid, "connect to vault: VAULT_ADDR is not set")
	}
	if c.Login.Method == "" && c.Token != "" {
		c.Login.Method = identity.ByToken
	}
	return c, nil
}
