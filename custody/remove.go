package custody

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/vault/api"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// lookupsAtOnce bounds the requests side by side that look for live tokens.
const lookupsAtOnce = 16

// Remove takes everything from an identity: first what it may do, so that its live
// tokens open nothing from that moment on, then every way to log in and to get a
// certificate, and last its tokens themselves. Errors as of Bootstrap; the steps that
// were done come with it, and repeating it goes on.
func (a Administration) Remove(ctx context.Context, id identity.Identity) ([]Step, error) {
	if err := id.Valid(); err != nil {
		return nil, err
	}
	e := Enrolment{Identity: id}
	things := []thing{policyThing(CertificatePolicyName(id), ""), a.certRole(e, ""), a.appRole(e), a.kubernetesRole(e), a.pkiRole(e)}
	if id.Role == identity.Agent {
		things = slices.Insert(things, 0, policyThing(PolicyName(id), ""))
	}
	var steps []func() (Step, error)
	for _, t := range things {
		steps = append(steps, func() (Step, error) { return a.remove(ctx, t.what, t.path) })
	}
	steps = append(steps, func() (Step, error) { return a.revokeTokens(ctx, id) })
	return all(steps...)
}

// revokeTokens ends the live tokens of an identity. Vault has no list of them by
// role, so every token is looked at: a thousand take about a second.
func (a Administration) revokeTokens(ctx context.Context, id identity.Identity) (Step, error) {
	step := Step{What: "live tokens of " + id.CommonName(), Action: Absent, Dry: a.Dry}
	var list struct {
		Keys []string `json:"keys"`
	}
	const path = "auth/token/accessors"
	absent := errors.New("absent")
	err := a.Vault.do(ctx, call{op: "read", path: path, what: "listing " + path, absent: absent}, &list, func(ctx context.Context) (*api.Response, error) {
		return a.Vault.client.Logical().ReadRawWithDataWithContext(ctx, path, map[string][]string{"list": {"true"}})
	})
	if err != nil && !errors.Is(err, absent) {
		return step, err
	}
	var found atomic.Int64
	var mu sync.Mutex
	var trouble error
	var looking sync.WaitGroup
	slots := make(chan struct{}, lookupsAtOnce)
	for _, accessor := range list.Keys {
		slots <- struct{}{}
		looking.Go(func() {
			defer func() { <-slots }()
			did, err := a.revokeIf(ctx, id, accessor)
			if did {
				found.Add(1)
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				trouble = err
			}
		})
	}
	looking.Wait()
	if found.Load() > 0 {
		step.Action = Removed
	}
	return step, trouble
}

// revokeIf revokes the token of accessor when a login of id got it.
func (a Administration) revokeIf(ctx context.Context, id identity.Identity, accessor string) (bool, error) {
	var about struct {
		Meta     map[string]string `json:"meta"`
		Policies []string          `json:"policies"`
	}
	in := map[string]any{"accessor": accessor}
	gone := fault.New(fault.Refused, "look up a token of vault: it has ended")
	err := a.Vault.write(ctx, call{op: "read", path: "auth/token/lookup-accessor", what: "looking up a token", bad: gone, absent: gone}, in, &about)
	if errors.Is(err, gone) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	cn := id.CommonName()
	// By the name under which each auth method knows its role.
	own := about.Meta["cert_name"] == cn || about.Meta["role_name"] == cn || about.Meta["role"] == cn ||
		slices.Contains(about.Policies, CertificatePolicyName(id))
	if !own || a.Dry {
		return own, nil
	}
	err = a.Vault.write(ctx, call{op: "delete", path: "auth/token/revoke-accessor", what: "revoking a token", bad: gone, absent: gone}, in, nil)
	if errors.Is(err, gone) {
		err = nil
	}
	return err == nil, err
}
