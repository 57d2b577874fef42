package custody

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/hashicorp/vault/api"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// Invitation is what lets one host join, once: the role ID, and the token that
// Vault gives a secret ID for.
type Invitation struct {
	RoleID  string
	Wrapped identity.Credential
	Expires time.Time
}

// Invite has Vault make a secret ID for who is enrolled, in a wrapping that can be
// opened once and lasts for life (zero: an hour). Nobody sees the secret ID here. In
// a dry run nothing is made, and the Invitation is empty. Errors: Refused (not
// enrolled, or with kubernetes, which needs none), Unavailable.
func (a Administration) Invite(ctx context.Context, id identity.Identity, life time.Duration) (Invitation, error) {
	if life <= 0 {
		life = joinLife
	}
	role := "auth/" + a.Paths.Whole().AppRole + "/role/" + id.CommonName()
	absent := fault.New(fault.Refused, "invite %s: it has no role at auth/%s: enroll it with cert or approle", id, a.Paths.Whole().AppRole)
	var got struct {
		RoleID string `json:"role_id"`
	}
	if a.Dry {
		return Invitation{}, nil
	}
	if err := a.Vault.read(ctx, call{op: "read", path: role + "/role-id", what: "reading " + role + "/role-id", absent: absent}, &got); err != nil {
		return Invitation{}, err
	}
	var wrapped struct {
		Info struct {
			Token   identity.Credential `json:"token"`
			TTL     int64               `json:"ttl"`
			Created time.Time           `json:"creation_time"`
		} `json:"wrap_info"`
	}
	path := role + "/secret-id"
	err := a.Vault.do(ctx, call{op: "invite", path: path, what: "making a secret ID at " + path, absent: absent, whole: true}, &wrapped,
		func(ctx context.Context) (*api.Response, error) {
			client, err := a.Vault.wrapping(life)
			if err != nil {
				return nil, err
			}
			return client.Logical().WriteRawWithContext(ctx, path, []byte("{}"))
		})
	if err != nil {
		return Invitation{}, err
	}
	if wrapped.Info.Token == "" {
		return Invitation{}, a.Vault.garbled()
	}
	return Invitation{
		RoleID: got.RoleID, Wrapped: wrapped.Info.Token, Expires: wrapped.Info.Created.Add(time.Duration(wrapped.Info.TTL) * time.Second).UTC(),
	}, nil
}

// joinTries is how often a host that has its secret ID tries to log in while Vault
// is away: nobody else can.
const joinTries = 5

// Join opens an Invitation and logs in with it. Who is to log in by AppRole later
// keeps the secret ID. Cfg says where Vault is; its Login's Mount is that of AppRole.
// Errors: Refused (the invitation was used or has expired, or is for somebody else),
// Unavailable, and those of Open.
func Join(ctx context.Context, cfg Config, id identity.Identity, in Invitation) (*Custody, identity.Credential, error) {
	cfg.Token = ""
	cfg.Login = Login{Method: identity.ByAppRole, Mount: cfg.Login.Mount, RoleID: in.RoleID, SecretID: in.Wrapped}
	c, err := Open(cfg)
	if err != nil {
		return nil, "", err
	}
	secretID, err := c.unwrapSecretID(ctx, id, in.Wrapped)
	if err != nil {
		return nil, "", err
	}
	c.session.login.SecretID = secretID
	_, err = backoff.Retry(ctx, func() (struct{}, error) {
		err := c.Login(ctx)
		if err != nil && !fault.Of(err).Retryable() {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithMaxTries(joinTries), backoff.WithBackOff(backoff.NewExponentialBackOff()))
	return c, secretID, err
}

// unwrapSecretID has Vault give out a secret ID, which it does once. Before, it looks
// whether the wrapping is still the one that Invite made: somebody who opened it on
// the way could have put another around something else.
func (c *Custody) unwrapSecretID(ctx context.Context, id identity.Identity, wrapped identity.Credential) (identity.Credential, error) {
	used := fault.New(fault.Refused, "join as %s: the invitation was used already, or has expired: if nobody of yours used it, run keyorch revoke, and enroll again", id)
	var about struct {
		Path string `json:"creation_path"`
	}
	err := c.lookupWrapping(ctx, wrapped, used, &about)
	if err != nil {
		return "", err
	}
	if !strings.HasSuffix(about.Path, c.session.login.mount()+"/role/"+id.CommonName()+"/secret-id") {
		return "", fault.New(fault.Refused, "join as %s: vault made this invitation for something else: somebody may have opened the true one: run keyorch revoke, and enroll again", id)
	}
	var got struct {
		SecretID identity.Credential `json:"secret_id"`
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	c.client.SetToken(string(wrapped)) // it may do this one thing
	defer c.client.ClearToken()
	const path = "sys/wrapping/unwrap"
	err = c.asked(ctx, call{path: path, what: "opening the invitation", bad: used}, &got, func(ctx context.Context) (*api.Response, error) {
		return c.client.Logical().WriteRawWithContext(ctx, path, nil)
	})
	switch {
	case errors.Is(err, errForbidden):
		err = used
	case err == nil && got.SecretID == "":
		err = c.garbled()
	}
	return got.SecretID, err
}

func (c *Custody) lookupWrapping(ctx context.Context, wrapped identity.Credential, used error, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	body, err := json.Marshal(map[string]string{"token": string(wrapped)})
	if err != nil {
		return used
	}
	const path = "sys/wrapping/lookup"
	err = c.asked(ctx, call{path: path, what: "looking the invitation up", bad: used}, out, func(ctx context.Context) (*api.Response, error) {
		return c.client.Logical().WriteRawWithContext(ctx, path, body)
	})
	if errors.Is(err, errForbidden) {
		return used
	}
	return err
}
