package store

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/fault"
)

// Duty is who does something that one worker does at a time.
type Duty struct {
	Who   string    `json:"who"`
	Host  string    `json:"host,omitempty"`
	PID   int       `json:"pid,omitempty"`
	Since time.Time `json:"since"`
}

// Lead waits until this Store is the only one that has the duty, calls fn, and gives
// what fn returns. The context of fn ends when somebody else may have the duty from now on;
// when fn returns because of that, Lead waits for its turn again. It returns ctx's error
// in its chain when ctx ends first, Invalid for a name that cannot be, and Refused when etcd
// denies the permission.
//
// The context ends before the lease can have run out, by this side's own clock. What fn
// writes should be guarded by what it read all the same: a call under way may arrive late.
func (s *Store) Lead(ctx context.Context, duty string, fn func(ctx context.Context) error) error {
	if err := validNames(duty); err != nil {
		return fault.Wrap(fault.Invalid, err, "take the duty %q", duty)
	}
	host, _ := os.Hostname()
	doc, err := json.Marshal(Duty{Who: s.writer(), Host: host, PID: os.Getpid(), Since: time.Now().UTC()})
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "take the duty %s", duty)
	}
	key := s.keys.duty(duty)
	wait := backoff{}
	for {
		mod, l, err := s.assume(ctx, key, string(doc))
		switch {
		case err == nil && mod != 0:
			lost, err := s.perform(ctx, key, mod, l, fn)
			if !lost || ctx.Err() != nil {
				return err
			}
			wait.reset()
		case err == nil:
			err = s.freed(ctx, key)
		}
		if err == nil {
			continue
		}
		if k := fault.Of(err); !k.Retryable() || ctx.Err() != nil || !wait.sleep(ctx) {
			return fault.Wrap(k, errors.Join(ctx.Err(), err), "take the duty %s", duty)
		}
	}
}

// assume writes that the duty is ours if it is nobody's. It gives the revision, or zero when
// somebody has it.
func (s *Store) assume(ctx context.Context, key, doc string) (int64, *lease, error) {
	l, err := s.leased(ctx)
	if err != nil {
		return 0, nil, err
	}
	held, rev, err := s.transact(ctx, []clientv3.Cmp{at(key, 0)}, clientv3.OpPut(key, doc, clientv3.WithLease(l.id)))
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		l.end()
	}
	if err != nil || !held {
		return 0, nil, s.failed(ctx, err, "write %s to etcd", key)
	}
	return rev, l, nil
}

// perform calls fn as long as the duty is ours, and says whether it was lost.
func (s *Store) perform(ctx context.Context, key string, mod int64, l *lease, fn func(ctx context.Context) error) (lost bool, err error) {
	mine, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(l.done, end)()
	go func() { _ = s.follow(mine, single(key), presence{mod: mod, differs: true, call: end}) }()
	err = fn(mine)
	lost = mine.Err() != nil
	give, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	_, _, _ = s.transact(give, []clientv3.Cmp{at(key, mod)}, clientv3.OpDelete(key)) // or the lease ends it
	return lost, err
}

// Duties gives who has which duty now. A broken document is left out and named by a
// Mismatch error, which comes with the rest.
func (s *Store) Duties(ctx context.Context) (map[string]Duty, error) {
	all := make(map[string]Duty)
	_, err := readAll(ctx, s, s.keys.folder(inDuties), func(e entry) (Duty, error) {
		var d Duty
		err := decode(e, &d)
		if err == nil {
			all[e.key[len(s.keys.folder(inDuties).from):]] = d
		}
		return d, err
	})
	return all, err
}
