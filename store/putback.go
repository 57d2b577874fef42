package store

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/connectivity"
)

// An etcd that was put back from an older copy, or emptied, counts its revisions from
// there on. The client resumes its watches at revisions that are yet to come, and hears
// nothing. So etcd is asked how far its watches are whenever a connection comes back,
// and from time to time: one that is told a lower revision than it had reads all anew
// (see followOnce).

// howFarEvery is how often etcd is asked with nothing the matter.
const howFarEvery = 30 * time.Second

// noticePutBack asks until the store is closed.
func (s *Store) noticePutBack() {
	tick := time.NewTicker(howFarEvery)
	defer tick.Stop()
	back := make(chan struct{}, 1)
	go s.reconnections(back)
	for {
		select {
		case <-s.life.Done():
			return
		case <-tick.C:
			s.progress(s.life)
		case <-back:
			// Watches come back one after the other.
			for _, wait := range []time.Duration{100 * time.Millisecond, 400 * time.Millisecond, time.Second, 2 * time.Second} {
				select {
				case <-s.life.Done():
					return
				case <-time.After(wait):
					s.progress(s.life)
				}
			}
		}
	}
}

// reconnections says whenever the connection is there again.
func (s *Store) reconnections(back chan<- struct{}) {
	conn := s.client.ActiveConnection()
	for state := conn.GetState(); conn.WaitForStateChange(s.life, state); {
		if state = conn.GetState(); state == connectivity.Ready {
			select {
			case back <- struct{}{}:
			default:
			}
		}
	}
}

// progress asks etcd to tell every watch of this Store which revision it has
// reached. An idle watch does not hear of it otherwise.
func (s *Store) progress(ctx context.Context) {
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), time.Second)
	defer cancel()
	_ = s.client.RequestProgress(ctx) // asked again by whoever still waits
}

// reread waits until the parts of the view that are further than etcd is have been
// read anew: etcd was put back. It fails as WaitRevision does.
func (v *View) reread(ctx context.Context, rev int64) error {
	tick := time.NewTicker(askAgain)
	defer tick.Stop()
	v.mu.RLock()
	facts, topology, before := v.rev.facts > rev, v.rev.topology > rev, v.loads
	v.mu.RUnlock()
	for {
		v.mu.RLock()
		done := (!facts || v.loads.facts > before.facts) && (!topology || v.loads.topology > before.topology)
		v.mu.RUnlock()
		if done {
			return nil
		}
		v.askHowFar()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-v.life.Done():
			return context.Cause(v.life)
		}
	}
}
