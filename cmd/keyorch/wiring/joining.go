package wiring

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// JoinToken is what a host that is to be e needs: where the servers are, as getenv
// has them here, and the invitation. Faults: Invalid, naming the variable.
func JoinToken(getenv func(string) string, e custody.Enrolment, in custody.Invitation) (identity.JoinToken, error) {
	var paths custody.Paths
	paths = paths.Whole()
	cn := e.Identity.CommonName()
	t := identity.JoinToken{
		Connection: identity.Connection{
			Identity: e.Identity,
			Vault: identity.Vault{
				Address: getenv("VAULT_ADDR"), Namespace: getenv("VAULT_NAMESPACE"), Auth: e.Auth,
				Mount: paths.Cert, Role: cn, PKI: paths.PKI + "/sign/" + cn,
			},
		},
		Wrapped: in.Wrapped, Expires: in.Expires,
	}
	if e.Auth == identity.ByAppRole {
		t.Vault.Mount = paths.AppRole
	}
	if e.Identity.Role != identity.Agent {
		t.Temporal = identity.Temporal{Address: getenv("TEMPORAL_ADDRESS"), Namespace: getenv("TEMPORAL_NAMESPACE")}
	}
	for endpoint := range strings.SplitSeq(getenv("ETCDCTL_ENDPOINTS"), ",") {
		if endpoint = strings.TrimSpace(endpoint); endpoint != "" {
			t.Etcd.Endpoints = append(t.Etcd.Endpoints, endpoint)
		}
	}
	t.AppRole.Mount, t.AppRole.RoleID = paths.AppRole, in.RoleID
	for variable, to := range map[string]*string{"ETCDCTL_CACERT": &t.EtcdCA, "VAULT_CACERT": &t.VaultCA} {
		file := getenv(variable)
		if file == "" {
			continue
		}
		pem, err := os.ReadFile(file)
		if err != nil {
			return t, fault.Wrap(fault.Invalid, err, "make a join token: %s", variable)
		}
		*to = string(pem)
	}
	return t, fault.Wrap(fault.Invalid, t.Valid(), "make a join token from ETCDCTL_ENDPOINTS and VAULT_ADDR")
}

// Join makes this host who t says, with its certificate in dir, and gives until when
// that is valid. Everything that can be checked is checked before the token is used,
// since it can be used once. Faults: Refused (used, expired; or dir is somebody
// else's), Invalid, Unavailable.
func Join(ctx context.Context, t identity.JoinToken, dir identity.Directory) (time.Time, error) {
	if err := prepare(t, dir); err != nil {
		return time.Time{}, err
	}
	request, err := identity.NewRequest(t.Identity)
	if err != nil {
		return time.Time{}, err
	}
	vault, secretID, err := custody.Join(ctx, custody.Config{
		Address: t.Vault.Address, Namespace: t.Vault.Namespace, CACert: dir.VaultCA(), Login: custody.Login{Mount: t.AppRole.Mount},
	}, t.Identity, custody.Invitation{RoleID: t.AppRole.RoleID, Wrapped: t.Wrapped, Expires: t.Expires})
	if err != nil {
		return time.Time{}, err
	}
	signed, err := vault.SignCSR(ctx, t.Vault.PKI, request.CSR())
	if err != nil {
		return time.Time{}, err
	}
	if t.Vault.Auth == identity.ByAppRole {
		if err := dir.KeepAppRole(t.AppRole.RoleID, secretID); err != nil {
			return time.Time{}, err
		}
	}
	authorities := t.EtcdCA
	if authorities == "" {
		authorities = signed.Authority
	}
	if err := request.Write(dir.Files(), t.Identity, []byte(signed.Chain), []byte(authorities), time.Now()); err != nil {
		return time.Time{}, err
	}
	return signed.NotAfter, dir.KeepConnection(t.Connection) // the last: then it has joined
}

// prepare makes the directory, and refuses one that is another identity's.
func prepare(t identity.JoinToken, dir identity.Directory) error {
	if c, joined, err := dir.Connection(); err == nil && joined {
		older := c.Identity
		older.Generation = t.Identity.Generation
		if older != t.Identity {
			return fault.New(fault.Refused, "join as %s: %s is the identity of %s: use another --identity", t.Identity, string(dir), c.Identity)
		}
	}
	return dir.KeepVaultCA(t.VaultCA) // empty: it is not there, and the system's are taken
}
