package store

import (
	"context"
	"crypto/rand"
	"errors"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/identity"
)

// admin makes the administrator's user and has etcd ask everybody who they are. An
// etcd that does not take users from certificates would then let nobody in, ever: so
// the user has a password until that has been tried, which nobody learns.
func (p *preparation) admin(ctx context.Context, enabled bool) {
	user, asking := "user "+string(identity.Admin), "everybody is asked who they are (auth)"
	if enabled {
		p.note(user, Unchanged)
		p.note(asking, Unchanged)
		return
	}
	name, password := string(identity.Admin), rand.Text()+rand.Text()
	p.remove(ctx, user, rpctypes.ErrUserNotFound, func(ctx context.Context) error {
		_, err := p.s.client.UserDelete(ctx, name)
		return err
	})
	if p.err == nil {
		p.steps = p.steps[:len(p.steps)-1] // what was left of an earlier try
	}
	p.change(ctx, "make "+user, func(ctx context.Context) error {
		_, err := p.s.client.UserAdd(ctx, name, password)
		return err
	})
	p.change(ctx, "make "+user, func(ctx context.Context) error {
		_, err := p.s.client.UserGrantRole(ctx, name, name)
		return err
	})
	p.note(user, Created)
	p.change(ctx, "ask everybody who they are", func(ctx context.Context) error {
		_, err := p.s.client.AuthEnable(ctx)
		return err
	})
	if p.err == nil && !p.dry {
		p.err = p.s.tryAdmin(ctx, password)
	}
	p.note(asking, Created)
}

// tryAdmin makes sure that the administrator is let in by its certificate, and undoes
// that etcd asks for users otherwise.
func (s *Store) tryAdmin(ctx context.Context, password string) error {
	wait := backoff{}
	for {
		_, err := s.get(ctx, s.keys.topologyRevision())
		if err == nil {
			return nil
		}
		if errors.Is(err, rpctypes.ErrUserEmpty) || denied(err) {
			break
		}
		if !wait.sleep(ctx) {
			return s.classified(ctx, err, "try whether etcd knows %s by its certificate", identity.Admin)
		}
	}
	err := s.disable(ctx, password)
	if err != nil {
		return s.classified(ctx, err, "undo that etcd asks for users")
	}
	return fault.New(fault.Refused, "prepare etcd: it does not take users from certificates: start it with --client-cert-auth")
}

func (s *Store) disable(ctx context.Context, password string) error {
	config := s.clientConfig()
	config.Username, config.Password = string(identity.Admin), password
	client, err := clientv3.New(config)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err = client.AuthDisable(call)
	return err
}
