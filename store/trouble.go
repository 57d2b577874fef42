package store

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keyorch/keyorch/fault"
)

// failed gives an error of the etcd client its kind: Refused when etcd denies the
// permission, Invalid when it finds the request malformed or too large, and
// Unavailable otherwise. A caller that cancelled gets its own error back.
func (s *Store) failed(ctx context.Context, err error, format string, a ...any) error {
	if denied(err) && !errors.Is(ctx.Err(), context.Canceled) {
		unknown := s.known(ctx)
		if unknown == nil {
			unknown = fault.New(fault.Refused, "etcd does not let %s do that: its role there does not allow it", s.User())
		}
		return fault.Wrap(fault.Refused, unknown, format, a...)
	}
	return s.classified(ctx, err, format, a...)
}

// classified is failed without asking etcd why it denies the permission.
func (s *Store) classified(ctx context.Context, err error, format string, a ...any) error {
	var etcd rpctypes.EtcdError
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return fault.Wrap(fault.Unknown, ctx.Err(), format, a...)
	case denied(err) || errors.Is(err, rpctypes.ErrUserEmpty) || errors.Is(err, rpctypes.ErrAuthFailed):
		return fault.Wrap(fault.Refused, err, format, a...)
	case errors.Is(err, rpctypes.ErrAuthOldRevision): // nothing happened: users or roles were being changed
		return fault.Wrap(fault.Unavailable, err, format, a...)
	case errors.As(err, &etcd) && etcd.Code() == codes.InvalidArgument:
		return fault.Wrap(fault.Invalid, err, format, a...)
	case errors.As(err, &etcd):
		return fault.Wrap(fault.Unavailable, err, format, a...)
	}
	// What is left are words of the client's own transport, and timeouts.
	if why := s.unsafe(); why != nil {
		return fault.Wrap(fault.Unavailable, why, format, a...)
	}
	words := "no answer from " + strings.Join(s.config.Endpoints, ", ")
	if st, ok := status.FromError(err); ok && st.Code() == codes.Unavailable {
		words = st.Message()
	}
	return fault.Wrap(fault.Unavailable, errors.New(words), format, a...)
}

// unsafe is why the last connection could not be made, if that was for a
// certificate.
func (s *Store) unsafe() error {
	if s.wallet == nil {
		return nil
	}
	return explain(s.last.get(), s.config.Files, s.wallet.Current().Identity.CommonName())
}

// User is who etcd takes this side for: by the certificate that was shown to it, and not by
// what is in the files by now. They are not read for each record of the trail either.
func (s *Store) User() string {
	if s.wallet == nil {
		return "a client without a certificate"
	}
	if user := s.last.as(); user != "" {
		return user
	}
	return s.wallet.Current().Identity.CommonName()
}

// known is Refused when etcd has no user for the certificate, and nil when it has
// one, or does not say.
func (s *Store) known(ctx context.Context) error {
	if s.wallet == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	user := s.User()
	_, err := s.client.UserGet(ctx, user) // whoever it is may ask about itself
	if errors.Is(err, rpctypes.ErrUserNotFound) {
		return fault.New(fault.Refused, "etcd has no user %s: it was revoked, or never enrolled: run keyorch enroll", user)
	}
	return nil
}

// denied knows etcd's refusal. That of a watch has nothing but its words.
func denied(err error) bool {
	return errors.Is(err, rpctypes.ErrPermissionDenied) || err != nil && err.Error() == rpctypes.ErrGRPCPermissionDenied.Error()
}

// current makes a call, again if etcd's users or roles were changed meanwhile: etcd
// has done nothing then.
func current[T any](ctx context.Context, call func() (T, error)) (T, error) {
	wait := backoff{}
	for {
		answer, err := call()
		if !errors.Is(err, rpctypes.ErrAuthOldRevision) || !wait.sleep(ctx) {
			return answer, err
		}
	}
}

// decode reads a JSON document. Fields that it does not know are passed over:
// they are a newer version's. A broken document is a Mismatch that names the
// key, and never shows the document.
func decode(e entry, into any) error {
	if err := json.Unmarshal(e.value, into); err != nil {
		return broken(e.key)
	}
	return nil
}

// broken names the key of a broken document. Whoever may write below one folder
// chooses the rest of the key, which must not act on the operator's terminal.
func broken(key string) error {
	if strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) {
		key = strconv.QuoteToASCII(key)
	}
	return fault.New(fault.Mismatch, "read %s: the document is broken: mend or delete it with etcdctl", key)
}

// backoff waits longer each time, up to maxWait, with full jitter so that a
// fleet of agents does not come back in step.
type backoff struct{ tries int }

const (
	minWait = 50 * time.Millisecond
	maxWait = 5 * time.Second
)

func (b *backoff) reset() { b.tries = 0 }

func (b *backoff) next() time.Duration {
	limit := min(minWait<<min(b.tries, 10), maxWait)
	b.tries++
	return limit/2 + rand.N(limit/2)
}

// sleep waits, and reports false when ctx ended first.
func (b *backoff) sleep(ctx context.Context) bool {
	t := time.NewTimer(b.next())
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
