package store

import (
	"context"
	"errors"
	"slices"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// Step is one thing that had to be so in etcd, and what was done, or would be done,
// to make it so.
type Step struct {
	What   string
	Action Action
}

// AuthEnabled reports whether etcd asks who somebody is before it lets them read and
// write. Everybody may ask.
func (s *Store) AuthEnabled(ctx context.Context) (bool, error) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	status, err := current(call, func() (*clientv3.AuthStatusResponse, error) { return s.client.AuthStatus(call) })
	if err != nil {
		return false, s.failed(ctx, err, "ask etcd whether it knows users")
	}
	return status.Enabled, nil
}

// PrepareAccess makes the roles of workers, operators and auditors, a user for each
// of persons and for the administrator, and has etcd ask everybody who they are from
// then on. Everybody who is enrolled already has their own roles put right too. What is there and right stays as it is; a role that allows more or less
// than it should is put right. Dry changes nothing, and gives the steps all the same.
//
// Only the administrator can do this. Faults: Refused when somebody else tries, or
// when etcd does not take users from certificates, in which case it is left as it was.
func (s *Store) PrepareAccess(ctx context.Context, persons []identity.Identity, dry bool) ([]Step, error) {
	if s.User() != string(identity.Admin) {
		return nil, fault.New(fault.Refused, "prepare etcd: this is %s: use the certificate of %s", s.User(), identity.Admin)
	}
	enabled, err := s.AuthEnabled(ctx)
	if err != nil {
		return nil, err
	}
	p := preparation{s: s, dry: dry}
	for _, r := range Roles(s.config.Prefix) {
		p.role(ctx, r)
	}
	enrolled, unread := s.Enrolments(ctx)
	if unread != nil && !fault.Is(unread, fault.Mismatch) {
		return nil, unread
	}
	for _, e := range enrolled {
		if e.RevokedAt.IsZero() && e.Identity.Role != identity.Admin && !slices.Contains(persons, e.Identity) {
			persons = append(slices.Clip(persons), e.Identity)
		}
	}
	for _, i := range persons {
		if err := p.admit(ctx, i); err != nil {
			return nil, err
		}
	}
	p.admin(ctx, enabled)
	return p.steps, errors.Join(p.err, unread)
}

// admit makes the user of an identity, with the roles that are its own.
func (p *preparation) admit(ctx context.Context, i identity.Identity) error {
	roles, err := RolesOf(p.s.config.Prefix, i)
	if err != nil {
		return err
	}
	var names []string
	for _, r := range roles {
		if r.Name == ownRole(i) {
			p.role(ctx, r)
		}
		names = append(names, r.Name)
	}
	p.user(ctx, i.CommonName(), names)
	return nil
}

// Admit lets an identity in: a user without a password, since its certificate is the
// proof, with its role. Repeating it is safe, and puts a role right that differs.
// Faults: Refused for the administrator, who is there from the beginning, Invalid.
func (s *Store) Admit(ctx context.Context, i identity.Identity) ([]Step, error) {
	if i.Role == identity.Admin && i.Valid() == nil {
		return nil, fault.New(fault.Refused, "admit %s to etcd: it is made when etcd is prepared", i)
	}
	p := preparation{s: s}
	if i.Role != identity.Agent && i.Valid() == nil {
		p.role(ctx, role(s.keys, i))
	}
	if err := p.admit(ctx, i); err != nil {
		return nil, err
	}
	return p.steps, p.err
}

// Expel shuts an identity out: its user goes, and with it every right, also of the
// connections that it has; the role of its own goes, and of an agent the presence of its nodes, so
// that whatever serves them stops. Repeating it is safe.
//
// etcd does not end a watch that was begun before. Until its connection ends, an
// expelled agent is shown what is written to the orders of its nodes. So exclude the
// nodes first, which keeps new orders from being written; see Commit.
//
// Faults: Refused for the administrator; Invalid.
func (s *Store) Expel(ctx context.Context, i identity.Identity) ([]Step, error) {
	if err := i.Valid(); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "expel %s from etcd", i)
	}
	if i.Role == identity.Admin {
		return nil, fault.New(fault.Refused, "expel %s from etcd: nobody could let it in again", i)
	}
	p := preparation{s: s}
	p.remove(ctx, "user "+i.CommonName(), rpctypes.ErrUserNotFound, func(ctx context.Context) error {
		_, err := s.client.UserDelete(ctx, i.CommonName())
		return err
	})
	p.remove(ctx, "role "+ownRole(i), rpctypes.ErrRoleNotFound, func(ctx context.Context) error {
		_, err := s.client.RoleDelete(ctx, ownRole(i))
		return err
	})
	if i.Role == identity.Agent {
		p.presence(ctx, i)
	}
	return p.steps, p.err
}

// Removed is an Action of Expel.
const Removed Action = "removed"
