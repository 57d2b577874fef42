package store

import (
	"context"
	"errors"
	"slices"

	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/identity"
)

// preparation goes from step to step until one fails.
type preparation struct {
	s     *Store
	dry   bool
	steps []Step
	err   error
}

// change makes a change, unless it is only to be told of, and notes err.
func (p *preparation) change(ctx context.Context, what string, f func(ctx context.Context) error) {
	if p.dry || p.err != nil {
		return
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := current(call, func() (struct{}, error) { return struct{}{}, f(call) })
	p.err = p.s.failed(ctx, err, "%s in etcd", what)
}

func (p *preparation) note(what string, a Action) {
	if p.err == nil {
		p.steps = append(p.steps, Step{What: "etcd: " + what, Action: a})
	}
}

// role makes a role what it should be. What is missing comes before what is too much
// goes, so that nobody loses a right that they should have.
func (p *preparation) role(ctx context.Context, r Role) {
	if p.err != nil {
		return
	}
	what, action := "role "+r.Name, Unchanged
	have, err := p.permissions(ctx, r.Name)
	if errors.Is(err, rpctypes.ErrRoleNotFound) {
		action, err = Created, nil
		p.change(ctx, "make "+what, func(ctx context.Context) error {
			_, err := p.s.client.RoleAdd(ctx, r.Name)
			return err
		})
	}
	if err != nil {
		p.err = p.s.failed(ctx, err, "read %s in etcd", what)
		return
	}
	for _, g := range r.Grants {
		if slices.Contains(have, g) {
			continue
		}
		action = changed(action)
		p.change(ctx, "change "+what, func(ctx context.Context) error {
			_, err := p.s.client.RoleGrantPermission(ctx, r.Name, g.From, g.To, permission(g.Access))
			return err
		})
	}
	for _, h := range have {
		// A grant of another kind for the same keys has been replaced above.
		if slices.ContainsFunc(r.Grants, func(g Grant) bool { return g.From == h.From && g.To == h.To }) {
			continue
		}
		action = changed(action)
		p.change(ctx, "change "+what, func(ctx context.Context) error {
			_, err := p.s.client.RoleRevokePermission(ctx, r.Name, h.From, h.To)
			return err
		})
	}
	p.note(what, action)
}

func changed(a Action) Action {
	if a == Created {
		return Created
	}
	return Configured
}

func (p *preparation) permissions(ctx context.Context, name string) ([]Grant, error) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := current(call, func() (*clientv3.AuthRoleGetResponse, error) { return p.s.client.RoleGet(call, name) })
	if err != nil {
		return nil, err
	}
	var grants []Grant
	for _, perm := range resp.Perm {
		g := Grant{Access: Reads, From: string(perm.Key), To: string(perm.RangeEnd)}
		switch perm.PermType {
		case authpb.Permission_WRITE:
			g.Access = Writes
		case authpb.Permission_READWRITE:
			g.Access = ReadsAndWrites
		case authpb.Permission_READ:
		}
		grants = append(grants, g)
	}
	return grants, nil
}

func permission(a Access) clientv3.PermissionType {
	switch a {
	case Writes:
		return clientv3.PermissionType(clientv3.PermWrite)
	case ReadsAndWrites:
		return clientv3.PermissionType(clientv3.PermReadWrite)
	case Reads:
	}
	return clientv3.PermissionType(clientv3.PermRead)
}

// user makes a user, with these roles and no others.
func (p *preparation) user(ctx context.Context, name string, roles []string) {
	if p.err != nil {
		return
	}
	what, action := "user "+name, Unchanged
	have, err := p.roles(ctx, name)
	if errors.Is(err, rpctypes.ErrUserNotFound) {
		action, err = Created, nil
		p.change(ctx, "make "+what, func(ctx context.Context) error {
			_, err := p.s.client.UserAddWithOptions(ctx, name, "", &clientv3.UserAddOptions{NoPassword: true})
			return err
		})
	}
	if err != nil {
		p.err = p.s.failed(ctx, err, "read %s in etcd", what)
		return
	}
	for _, role := range roles {
		if slices.Contains(have, role) {
			continue
		}
		action = changed(action)
		p.change(ctx, "change "+what, func(ctx context.Context) error {
			_, err := p.s.client.UserGrantRole(ctx, name, role)
			return err
		})
	}
	for _, other := range have {
		if slices.Contains(roles, other) {
			continue
		}
		action = changed(action)
		p.change(ctx, "change "+what, func(ctx context.Context) error {
			_, err := p.s.client.UserRevokeRole(ctx, name, other)
			return err
		})
	}
	p.note(what, action)
}

func (p *preparation) roles(ctx context.Context, user string) ([]string, error) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := current(call, func() (*clientv3.AuthUserGetResponse, error) { return p.s.client.UserGet(call, user) })
	if err != nil {
		return nil, err
	}
	return resp.Roles, nil
}

// remove makes sure that something is not there; absent is what etcd answers then.
func (p *preparation) remove(ctx context.Context, what string, absent error, f func(ctx context.Context) error) {
	action := Removed
	p.change(ctx, "remove "+what, func(ctx context.Context) error {
		err := f(ctx)
		if errors.Is(err, absent) {
			action, err = Unchanged, nil
		}
		return err
	})
	p.note(what, action)
}

// presence deletes that of the nodes of an agent, with its leases: whatever serves
// them learns from that, or from the lease, that it must stop.
func (p *preparation) presence(ctx context.Context, i identity.Identity) {
	sp := p.s.keys.siteAgents(i.Site)
	if i.Node != "" {
		sp = single(p.s.keys.agent(i.Site, i.Node))
	}
	action := Unchanged
	p.change(ctx, "remove the presence of "+i.CommonName(), func(ctx context.Context) error {
		resp, err := p.s.client.Get(ctx, sp.from, clientv3.WithRange(sp.to))
		if err != nil {
			return err
		}
		for _, kv := range resp.Kvs {
			action = Removed
			if kv.Lease == 0 {
				continue
			}
			if _, err := p.s.client.Revoke(ctx, clientv3.LeaseID(kv.Lease)); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
				return err
			}
		}
		_, err = p.s.client.Delete(ctx, sp.from, clientv3.WithRange(sp.to)) // what hung on no lease
		return err
	})
	p.note("presence of "+i.CommonName(), action)
}
