package custody

import (
	"context"
	"time"

	"github.com/keyorch/keyorch/fault"
)

// Login proves to Vault who this process is, once, at its start. Errors: Invalid
// (a setting or a file), Refused (Vault does not let it in: the message says what
// for), Unavailable.
func (c *Custody) Login(ctx context.Context) error {
	done, err := c.session.alone(ctx)
	if err != nil {
		return c.away(ctx, err)
	}
	defer done()
	if !c.session.login.byToken() {
		return c.enter(ctx)
	}
	if c.client.Token() == "" {
		return fault.New(fault.Invalid, "log in to vault: there is no token: set VAULT_TOKEN, or KEYORCH_VAULT_AUTH to approle, kubernetes or cert")
	}
	l, err := c.lookup(ctx)
	if fault.Is(err, fault.Refused) {
		return fault.New(fault.Refused, "log in to vault: the token of VAULT_TOKEN has ended%s: %w", inNamespace(c.client.Namespace()), errNoToken)
	}
	if err == nil {
		c.session.took(l, true)
	}
	return err
}

// Keep keeps the login alive until ctx ends: it renews the token, and logs in again
// when Vault does not renew it any more. It never gives up: what fails is logged
// and tried again.
func (c *Custody) Keep(ctx context.Context) {
	s := c.session
	for ctx.Err() == nil {
		wait, ends := s.due()
		if !ends { // a token that lives for ever, or none
			if s.used() > 0 || s.login.byToken() {
				<-ctx.Done()
				return
			}
			wait = 0
		}
		if s.login.byToken() && !s.now().renewable {
			s.lastWords(ctx, wait)
			return
		}
		for !pause(ctx, wait, s.entered) && ctx.Err() == nil {
			err := c.keep(ctx)
			if err == nil {
				break
			}
			wait = s.failed(err)
			if ctx.Err() == nil {
				s.log.WarnContext(ctx, "cannot renew the login to vault: will try again", "in", wait.Round(time.Millisecond), "error", err)
			}
		}
	}
}

// lastWords says in time that a token ends which nobody can renew.
func (s *session) lastWords(ctx context.Context, wait time.Duration) {
	pause(ctx, wait, nil)
	if ctx.Err() == nil {
		s.log.WarnContext(ctx, "the token of vault ends and cannot be renewed: start this process again with a new one", "lived for", s.now().ttl)
	}
	<-ctx.Done()
}

// pause waits, and reports whether it was cut short by a login.
func pause(ctx context.Context, wait time.Duration, entered <-chan struct{}) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-entered:
		return true
	}
	return false
}

// keep renews the token, or logs in when that would gain nothing.
func (c *Custody) keep(ctx context.Context) error {
	s := c.session
	done, err := s.alone(ctx)
	if err != nil {
		return err
	}
	defer done()
	if s.used() > 0 && (!s.now().ending() || s.login.byToken()) {
		err := c.renew(ctx)
		if err == nil || !fault.Is(err, fault.Refused) || s.login.byToken() {
			return err
		}
	}
	if err := c.enter(ctx); err != nil {
		return err
	}
	s.log.InfoContext(ctx, "logged in to vault again", "login", s.login.at(), "for", s.now().ttl)
	return nil
}
