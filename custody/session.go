package custody

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/hashicorp/vault/api"

	"github.com/keyorch/keyorch/fault"
)

// session is who this process is to Vault: one token, given out by a login, kept
// alive, and got anew when it has ended.
type session struct {
	client *api.Client // for every call; it carries the token
	fresh  *api.Client // for logins: each request has a connection of its own
	files  files
	login  Login
	log    *slog.Logger
	// entering holds a mark while nobody logs in or renews.
	entering chan struct{}
	// entered gets a mark when a call had to log in, for Keep.
	entered chan struct{}

	mu     sync.Mutex
	serial int // counts logins: a call knows whether its token is still the newest
	lease  lease
	since  time.Time // when lease was given out
	retry  *backoff.ExponentialBackOff
	barred time.Time // no call may log in before: the last one failed
	why    error     // why it failed
}

func newSession(client, fresh *api.Client, f files, login Login, log *slog.Logger) *session {
	s := &session{client: client, fresh: fresh, files: f, login: login, log: log,
		entering: make(chan struct{}, 1), entered: make(chan struct{}, 1), retry: newRetry()}
	s.entering <- struct{}{}
	return s
}

// used is the serial of the login whose token a call is about to carry.
func (s *session) used() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.serial
}

// took notes what Vault said of a token that it has just given out or renewed.
func (s *session) took(l lease, login bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.first = s.lease.first; login || l.first == 0 {
		l.first = l.ttl
	}
	if login {
		s.serial++
	}
	s.lease, s.since, s.barred, s.why = l, time.Now(), time.Time{}, nil
	s.retry.Reset()
}

// failed notes that a login failed, and for how long no call may try another.
func (s *session) failed(err error) (wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait = s.retry.NextBackOff()
	s.barred, s.why = time.Now().Add(wait), err
	return wait
}

// due is when the token is to be renewed or got anew; false for never.
func (s *session) due() (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return renewAfter(s.lease.ttl, rand.Float64()) - time.Since(s.since), s.lease.ttl > 0
}

func (s *session) now() lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lease
}

// alone waits until nobody else logs in or renews.
func (s *session) alone(ctx context.Context) (done func(), err error) {
	select {
	case <-s.entering:
		return func() { s.entering <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// standing is what became of a token that Vault refused.
type standing int

const (
	inDoubt standing = iota // Vault did not say
	replaced
	alive
	ended
)

// revive looks what a call was refused for that used a token of serial, and logs in
// when that token has ended: one call for all of them. Why says what came of it.
func (c *Custody) revive(ctx context.Context, serial int) (is standing, why error) {
	s := c.session
	done, err := s.alone(ctx)
	if err != nil {
		return inDoubt, nil
	}
	defer done()
	s.mu.Lock()
	newer, barred, why := s.serial != serial, time.Now().Before(s.barred), s.why
	s.mu.Unlock()
	if newer {
		return replaced, nil
	}
	if s.client.Token() != "" {
		l, err := c.lookup(ctx)
		switch {
		case err == nil:
			s.mu.Lock()
			s.lease.policies = l.policies
			s.mu.Unlock()
			return alive, nil
		case !fault.Is(err, fault.Refused):
			return inDoubt, nil
		}
	}
	switch {
	case s.login.byToken():
		return ended, errNoToken
	case barred:
		return ended, why
	}
	// Whoever gives up waiting must not spoil it for the others.
	if err := c.enter(context.WithoutCancel(ctx)); err != nil {
		s.failed(err)
		return ended, err
	}
	s.log.InfoContext(ctx, "vault ended the token: logged in again", "login", s.login.at())
	select {
	case s.entered <- struct{}{}:
	default:
	}
	return replaced, nil
}

var errNoToken = errors.New("give this process a new one in VAULT_TOKEN")

// lookup asks Vault what it knows of the token. Refused: the token has ended, or
// may not ask.
func (c *Custody) lookup(ctx context.Context) (lease, error) {
	var got struct {
		TTL       json.Number `json:"ttl"`
		Renewable bool        `json:"renewable"`
		Policies  []string    `json:"policies"`
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	began := time.Now()
	err := c.asked(ctx, call{path: "auth/token/lookup-self", what: "looking the token up"}, &got, func(ctx context.Context) (*api.Response, error) {
		return c.client.Logical().ReadRawWithContext(ctx, "auth/token/lookup-self")
	})
	c.observe("lookup", time.Since(began), err)
	if err != nil {
		return lease{}, err
	}
	seconds, err := got.TTL.Int64()
	if err != nil {
		return lease{}, c.garbled()
	}
	return lease{ttl: time.Duration(seconds) * time.Second, renewable: got.Renewable, policies: got.Policies}, nil
}

// enter logs in. The caller is alone.
func (c *Custody) enter(ctx context.Context) (err error) {
	began := time.Now()
	defer func() { c.observe("login", time.Since(began), err) }()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	s := c.session
	way, err := s.login.method(s.files, c.address)
	if err != nil {
		return err
	}
	s.fresh.ClearToken()
	given, err := way.Login(ctx, s.fresh)
	switch code, answered := status(err); {
	case answered && (code == http.StatusBadRequest || code == http.StatusForbidden || code == http.StatusNotFound || said(err, saysLookupFailed)):
		return s.login.refused(code, err, s.fresh.Namespace())
	case err != nil:
		return c.failed(ctx, call{what: "log in " + s.login.at()}, err)
	case given == nil || given.Auth == nil || given.Auth.ClientToken == "":
		return c.garbled()
	}
	s.client.SetToken(given.Auth.ClientToken)
	s.took(lease{
		ttl: time.Duration(given.Auth.LeaseDuration) * time.Second, renewable: given.Auth.Renewable, policies: given.Auth.Policies,
	}, true)
	return nil
}

// renew makes the token live longer. The caller is alone. Refused: Vault does not,
// and a login is due.
func (c *Custody) renew(ctx context.Context) (err error) {
	began := time.Now()
	defer func() { c.observe("renew", time.Since(began), err) }()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	s := c.session
	s.fresh.SetToken(s.client.Token()) // a token that a certificate has got is renewed with one
	given, err := s.fresh.Auth().Token().RenewSelfWithContext(ctx, 0)
	code, answered := status(err)
	switch {
	case answered && !passing(code):
		return fault.New(fault.Refused, "renew the token of vault: vault does not")
	case err != nil:
		return c.failed(ctx, call{what: "renewing the token"}, err)
	case given == nil || given.Auth == nil:
		return c.garbled()
	}
	s.took(lease{
		ttl: time.Duration(given.Auth.LeaseDuration) * time.Second, renewable: given.Auth.Renewable, policies: given.Auth.Policies,
	}, false)
	return nil
}

// passing reports whether an answer says nothing about what was asked: Vault is
// sealed, standing by, or too busy.
func passing(code int) bool {
	return code == http.StatusTooManyRequests || code == http.StatusPreconditionFailed || code == http.StatusServiceUnavailable ||
		code == statusStandby || code == statusSecondary
}

// What a performance standby and a secondary for disasters answer.
const (
	statusStandby   = 473
	statusSecondary = 472
)

// named is the policies of the token, for messages.
func (s *session) named() string {
	if p := s.now().policies; len(p) > 0 {
		return strings.Join(p, ", ")
	}
	return "none"
}
