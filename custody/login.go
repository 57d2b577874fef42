package custody

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/approle"
	"github.com/hashicorp/vault/api/auth/kubernetes"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// jwtFile is where a pod finds the token of its service account.
const jwtFile = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// Login says how to prove to Vault who this process is. Files are read anew for
// each login. The zero Login uses the token of Config.
type Login struct {
	Method identity.Auth
	Mount  string // the path of the auth method; its own name when empty
	Role   string // for kubernetes and cert; empty for cert tries every role
	// RoleID, or the file of it, and the file of the secret ID: for approle.
	RoleID, RoleIDFile, SecretIDFile string
	// SecretID is in place of SecretIDFile for who has just got one.
	SecretID identity.Credential
	JWTFile  string // for kubernetes; where pods have it when empty
}

// byToken reports whether there is nothing to log in with but a token.
func (l Login) byToken() bool { return l.Method == "" || l.Method == identity.ByToken }

func (l Login) mount() string {
	return cmp.Or(strings.Trim(l.Mount, "/"), string(l.Method))
}

// at is the login in words: "by approle at auth/approle".
func (l Login) at() string {
	at := "by " + string(l.Method) + " at auth/" + l.mount()
	if l.Role != "" {
		at += " as " + l.Role
	}
	return at
}

// check refuses a Login that cannot be. Errors are Invalid and say what to set.
func (l Login) check(cfg Config) error {
	wrong := func(why string) error {
		return fault.New(fault.Invalid, "log in to vault by %s: %s", l.Method, why)
	}
	if strings.Contains(l.Mount, "..") || strings.ContainsAny(l.Mount+l.Role, "?#%") {
		return wrong("the mount or the role is not a path of Vault's: check KEYORCH_VAULT_MOUNT and KEYORCH_VAULT_ROLE")
	}
	switch l.Method {
	case "", identity.ByToken:
	case identity.ByAppRole:
		if l.RoleID == "" && l.RoleIDFile == "" {
			return wrong("there is no role ID: set KEYORCH_VAULT_ROLE_ID_FILE")
		}
		if l.SecretID == "" && l.SecretIDFile == "" {
			return wrong("there is no secret ID: set KEYORCH_VAULT_SECRET_ID_FILE")
		}
	case identity.ByKubernetes:
		if l.Role == "" {
			return wrong("there is no role: set KEYORCH_VAULT_ROLE")
		}
	case identity.ByCertificate:
		if cmp.Or(cfg.ClientCert, os.Getenv(api.EnvVaultClientCert)) == "" || cmp.Or(cfg.ClientKey, os.Getenv(api.EnvVaultClientKey)) == "" {
			return wrong("there is no certificate: set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY, or join")
		}
	default:
		return fault.New(fault.Invalid, "log in to vault: there is no such way: KEYORCH_VAULT_AUTH is token, approle, kubernetes or cert")
	}
	return nil
}

// method is the client's own way of logging in, with the files as they are now.
func (l Login) method(f files, address string) (api.AuthMethod, error) {
	switch l.Method {
	case identity.ByAppRole:
		roleID, err := l.roleID()
		if err != nil {
			return nil, err
		}
		secretID, err := l.secretID()
		if err != nil {
			return nil, err
		}
		return approle.NewAppRoleAuth(roleID, &approle.SecretID{FromString: secretID}, approle.WithMountPath(l.mount()))
	case identity.ByKubernetes:
		file := cmp.Or(l.JWTFile, jwtFile)
		jwt, err := textOf(file)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "read the token of the service account: check KEYORCH_VAULT_JWT_FILE")
		}
		return kubernetes.NewKubernetesAuth(l.Role, kubernetes.WithMountPath(l.mount()), kubernetes.WithServiceAccountToken(jwt))
	case identity.ByCertificate:
		return certLogin{l}, f.goodNow(address)
	case identity.ByToken:
	}
	return nil, fault.New(fault.Invalid, "log in to vault: there is no such way")
}

func (l Login) roleID() (string, error) {
	if l.RoleID != "" {
		return l.RoleID, nil
	}
	id, err := textOf(l.RoleIDFile)
	return id, fault.Wrap(fault.Invalid, err, "read the role ID")
}

func (l Login) secretID() (string, error) {
	if l.SecretID != "" {
		return string(l.SecretID), nil
	}
	if info, err := os.Stat(l.SecretIDFile); err == nil && info.Mode()&0o007 != 0 {
		return "", fault.New(fault.Refused, "read the secret ID: everybody can read %s: run chmod 600 %s", l.SecretIDFile, l.SecretIDFile)
	}
	id, err := textOf(l.SecretIDFile)
	return id, fault.Wrap(fault.Invalid, err, "read the secret ID")
}

// textOf is the one line in a file.
func textOf(file string) (string, error) {
	doc, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(doc))
	if text == "" {
		return "", errors.New(file + " is empty")
	}
	return text, nil
}

// goodNow refuses a certificate that Vault would refuse anyhow, in plain words.
func (f files) goodNow(address string) error {
	if !strings.HasPrefix(address, "https:") {
		return fault.New(fault.Invalid, "log in to vault by cert: a certificate can be shown over TLS alone, and the address is %s", address)
	}
	return f.Check(time.Now(), "vault")
}

// certLogin has the connection's certificate stand for the process.
type certLogin struct{ how Login }

// Login is what api.AuthMethod asks for.
func (l certLogin) Login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	var in map[string]any
	if l.how.Role != "" {
		in = map[string]any{"name": l.how.Role}
	}
	return client.Logical().WriteWithContext(ctx, "auth/"+l.how.mount()+"/login", in)
}

// What Vault's auth methods say. It is compared with and never shown.
const (
	saysNoHandler    = "no handler for route"
	saysRoleName     = "invalid role name"
	saysNoCert       = "client certificate must be supplied"
	saysNoTLS        = "tls connection required"
	saysLookupFailed = "lookup failed"
)

// refused is a login that Vault answered with status code and did not allow.
func (l Login) refused(code int, err error, namespace string) error {
	no := func(why string) error {
		return fault.New(fault.Refused, "log in to vault %s: %s", l.at(), why)
	}
	switch {
	case code == http.StatusNotFound || said(err, saysNoHandler):
		return no("there is no auth method there" + inNamespace(namespace) + ": run keyorch bootstrap, or check KEYORCH_VAULT_MOUNT and VAULT_NAMESPACE")
	case l.Method == identity.ByAppRole:
		return no("the role ID or the secret ID is wrong, used up or expired, or nobody is enrolled under it any more: enroll and join again")
	case l.Method == identity.ByKubernetes && said(err, saysRoleName):
		return no("there is no such role: run keyorch enroll, or check KEYORCH_VAULT_ROLE")
	case l.Method == identity.ByKubernetes && said(err, saysLookupFailed):
		return no("the API server does not know the token of the service account: it has expired, was deleted, or is for another audience")
	case l.Method == identity.ByKubernetes:
		return no("the token of the service account is refused: the role is for another service account, namespace or audience, or Vault may not ask the API server for a TokenReview")
	case said(err, saysNoCert), said(err, saysNoTLS):
		return no("no certificate came to Vault: does a proxy end the TLS connection?")
	}
	return no("the certificate is not known to the role: it is of another authority or name, or nobody is enrolled under it any more: enroll and join again")
}

func inNamespace(namespace string) string {
	if namespace == "" {
		return ""
	}
	return " in namespace " + namespace
}
