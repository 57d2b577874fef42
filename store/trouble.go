package store

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keyorch/keyorch/fault"
)

// failed gives an error of the etcd client its kind: Refused when etcd denies
// the permission, Invalid when it finds the request malformed or too large, and
// Unavailable otherwise. A caller that cancelled gets its own error back.
func (s *Store) failed(ctx context.Context, err error, format string, a ...any) error {
	var known rpctypes.EtcdError
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return fault.Wrap(fault.Unknown, ctx.Err(), format, a...)
	case denied(err) || errors.Is(err, rpctypes.ErrUserEmpty) || errors.Is(err, rpctypes.ErrAuthFailed):
		return fault.Wrap(fault.Refused, err, format, a...)
	case errors.As(err, &known) && known.Code() == codes.InvalidArgument:
		return fault.Wrap(fault.Invalid, err, format, a...)
	case errors.As(err, &known):
		return fault.Wrap(fault.Unavailable, err, format, a...)
	}
	// What is left are words of the client's own transport, and timeouts.
	words := "no answer from " + strings.Join(s.config.Endpoints, ", ")
	if st, ok := status.FromError(err); ok && st.Code() == codes.Unavailable {
		words = st.Message()
	}
	return fault.Wrap(fault.Unavailable, errors.New(words), format, a...)
}

func denied(err error) bool { return errors.Is(err, rpctypes.ErrPermissionDenied) }

// decode reads a JSON document. Fields that it does not know are passed over:
// they are a newer version's. A broken document is a Mismatch that names the
// key, and never shows the document.
func decode(e entry, into any) error {
	if err := json.Unmarshal(e.value, into); err != nil {
		return broken(e.key)
	}
	return nil
}

func broken(key string) error {
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
