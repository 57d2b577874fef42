package custody

import (
	"context"
	"encoding/base64"
	"errors"
	"time"

	"github.com/keyorch/keyorch/fault"
)

// Token is what Vault says of the token that is in use.
type Token struct {
	Policies  []string
	Left      time.Duration // zero: it does not end
	Renewable bool
}

// Token asks Vault about the token in use. Refused: it has ended, or may not ask.
func (c *Custody) Token(ctx context.Context) (Token, error) {
	l, err := c.lookup(ctx)
	return Token{Policies: l.policies, Left: l.ttl, Renewable: l.renewable}, err
}

// Answer is what Vault says to a trial.
type Answer int

// The answers.
const (
	Denied Answer = iota
	Missing
	Allowed
)

// errTried is a trial that Vault found malformed, as it is: it was allowed.
var errTried = errors.New("tried")

// TryOpen asks Vault whether the token may open what is wrapped under kek. Nothing is
// opened. Errors: Invalid (a malformed name), Refused for anything but the policy and
// the KEK, Unavailable.
func (c *Custody) TryOpen(ctx context.Context, kek string) (Answer, error) {
	return c.try(ctx, "decrypt", kek, map[string]any{"ciphertext": "vault:v1:", "context": base64.StdEncoding.EncodeToString([]byte("keyorch doctor"))})
}

// TryMint asks Vault whether the token may mint keys under kek. None is minted: a KEK
// of keyorch's is derived, and a context is not given. Errors as for TryOpen.
func (c *Custody) TryMint(ctx context.Context, kek string) (Answer, error) {
	return c.try(ctx, "datakey/wrapped", kek, map[string]any{})
}

// TryRead asks Vault whether the token may look at kek, and whether it is as it should
// be: Refused says what is not.
func (c *Custody) TryRead(ctx context.Context, kek string) (Answer, error) {
	if err := validKEK(kek); err != nil {
		return Denied, err
	}
	switch missing, err := c.checkKEK(ctx, kek); {
	case missing:
		return Missing, nil
	case errors.Is(err, errForbidden):
		return Denied, nil
	case err != nil:
		return Denied, err
	}
	return Allowed, nil
}

func (c *Custody) try(ctx context.Context, op, kek string, in map[string]any) (Answer, error) {
	if err := validKEK(kek); err != nil {
		return Denied, err
	}
	err := c.write(ctx, call{op: "try", path: c.mount + "/" + op + "/" + kek, what: op + " under " + kek, kek: kek, bad: errTried}, in, nil)
	switch {
	case errors.Is(err, errTried):
		return Allowed, nil
	case errors.Is(err, errNoKEK):
		return Missing, nil
	case errors.Is(err, errForbidden):
		return Denied, nil
	case err == nil:
		return Allowed, fault.New(fault.Mismatch, "try %s under %s: vault did what no Vault does", op, kek)
	}
	return Denied, err
}
