package store

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// Agent is who serves a node, as operators see it.
type Agent struct {
	// Instance tells agents apart. An agent that starts again under the same
	// Instance takes its nodes back at once; any other waits until they are free.
	Instance string    `json:"instance"`
	Host     string    `json:"host,omitempty"`
	PID      int       `json:"pid,omitempty"`
	Version  string    `json:"version,omitempty"`
	Started  time.Time `json:"started,omitzero"`
}

// Tenure is the sole right to act on a node. It ends when it is closed, when the
// same Instance has taken the node over, or when the lease may have run out.
type Tenure struct {
	s    *Store
	site keychain.SiteID
	node keychain.NodeID
	key  string
	// mod is the revision at which this tenure wrote its presence. Nobody but the
	// next tenure writes there, so it is what reports are guarded by.
	mod  int64
	done context.Context
	end  context.CancelFunc

	mu sync.Mutex
	// known is what this tenure believes to stand in etcd: only a guess, which
	// saves reading before every report.
	known map[keychain.LinkID]known
}

// known is one observation as it was last seen.
type known struct {
	mod  int64
	turn keychain.Turn
}

// Serve takes the node, and waits as long as somebody else has it or etcd is
// away. It returns ctx's error in its chain when ctx ends first, Invalid for a
// name that cannot be, and Refused when etcd denies the permission.
func (s *Store) Serve(ctx context.Context, site keychain.SiteID, node keychain.NodeID, who Agent) (*Tenure, error) {
	if err := validNames(string(site), string(node)); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "serve %s/%s", site, node)
	}
	if who.Instance == "" {
		return nil, fault.New(fault.Invalid, "serve %s/%s: the agent has no instance", site, node)
	}
	doc, err := json.Marshal(who)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "serve %s/%s", site, node)
	}
	key := s.keys.agent(site, node)
	wait := backoff{}
	for {
		mod, l, err := s.take(ctx, key, who.Instance, string(doc))
		switch {
		case err == nil && mod != 0:
			return s.tenure(site, node, key, mod, l), nil
		case err == nil:
			err = s.freed(ctx, key)
		}
		if err == nil {
			continue
		}
		if k := fault.Of(err); !k.Retryable() || ctx.Err() != nil || !wait.sleep(ctx) {
			return nil, fault.Wrap(k, errors.Join(ctx.Err(), err), "serve %s/%s", site, node)
		}
	}
}

// take writes the presence if there is none, or if it is an earlier one of the
// same Instance. It gives the revision, or zero when somebody else has the node.
func (s *Store) take(ctx context.Context, key, instance, doc string) (int64, *lease, error) {
	l, err := s.leased(ctx)
	if err != nil {
		return 0, nil, err
	}
	found, err := s.read(ctx, []string{key})
	if err != nil {
		return 0, nil, err
	}
	e := found[key]
	var holder Agent
	// A presence that cannot be read is somebody's all the same.
	if e.mod != 0 && (json.Unmarshal(e.value, &holder) != nil || holder.Instance != instance) {
		return 0, nil, nil
	}
	held, rev, err := s.transact(ctx, []clientv3.Cmp{at(key, e.mod)}, clientv3.OpPut(key, doc, clientv3.WithLease(l.id)))
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		l.end() // etcd dropped it before we noticed; the next try takes a new one
	}
	if err != nil || !held {
		return 0, nil, s.failed(ctx, err, "write %s to etcd", key)
	}
	return rev, l, nil
}

// freed waits until key does not exist.
func (s *Store) freed(ctx context.Context, key string) error {
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	err := s.follow(watch, single(key), presence{mod: 0, differs: false, call: cancel})
	if ctx.Err() != nil {
		return s.failed(ctx, ctx.Err(), "wait for %s", key)
	}
	if watch.Err() != nil {
		return nil
	}
	return err
}

// presence follows one presence key, and calls call as soon as the revision at
// which it was written differs from mod, or no longer does.
type presence struct {
	mod     int64
	differs bool
	call    func()
}

func (p presence) load(entries []entry, _ int64) {
	var mod int64
	for _, e := range entries {
		mod = e.mod
	}
	p.see(mod)
}

func (p presence) apply(changes []change, _ int64) {
	for _, c := range changes {
		if c.deleted {
			c.mod = 0
		}
		p.see(c.mod)
	}
}

func (p presence) see(mod int64) {
	if (mod != p.mod) == p.differs {
		p.call()
	}
}

func (s *Store) tenure(site keychain.SiteID, node keychain.NodeID, key string, mod int64, l *lease) *Tenure {
	t := &Tenure{s: s, site: site, node: node, key: key, mod: mod, known: make(map[keychain.LinkID]known)}
	t.done, t.end = context.WithCancel(l.done)
	go func() {
		defer t.end()
		_ = s.follow(t.done, single(key), presence{mod: mod, differs: true, call: t.end})
	}()
	return t
}

// Done is closed when the tenure has ended: the agent must not touch the node
// any more.
func (t *Tenure) Done() <-chan struct{} { return t.done.Done() }

// Close gives the node up, so that the next agent need not wait for the lease.
// Closing a tenure that has ended is no error.
func (t *Tenure) Close(ctx context.Context) error {
	t.end()
	_, _, err := t.s.transact(ctx, []clientv3.Cmp{at(t.key, t.mod)}, clientv3.OpDelete(t.key))
	return t.s.failed(ctx, err, "delete %s from etcd", t.key)
}
