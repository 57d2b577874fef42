package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/connectivity"
)

// An etcd that was put back from an older copy, or emptied, counts its revisions from
// there on. The client resumes its watches at revisions that are yet to come, and hears
// nothing until etcd has got there. So whoever follows a span asks etcd how far it is,
// whenever the connection comes back and from time to time: one that has seen more than
// there is reads all anew.

// howFarEvery is how often etcd is asked with nothing the matter.
const howFarEvery = 30 * time.Second

// doubt is a signal to all who follow that etcd may have gone back.
type doubt struct {
	mu   sync.Mutex
	next chan struct{} // closed, and replaced, with each
}

func (d *doubt) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.next == nil {
		d.next = make(chan struct{})
	}
	return d.next
}

func (d *doubt) raise() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.next != nil {
		close(d.next)
	}
	d.next = make(chan struct{})
}

// noticeReconnections raises doubt whenever the connection is there again, until the
// store is closed.
func (s *Store) noticeReconnections() {
	conn := s.client.ActiveConnection()
	for state := conn.GetState(); conn.WaitForStateChange(s.life, state); {
		if state = conn.GetState(); state == connectivity.Ready {
			s.doubts.raise()
		}
	}
}

// noticePutBack calls anew, once, when etcd is found to be behind what was seen of sp.
func (s *Store) noticePutBack(ctx context.Context, sp span, seen *atomic.Int64, anew func()) {
	tick := time.NewTicker(howFarEvery)
	defer tick.Stop()
	doubted := s.doubts.wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-doubted:
		}
		doubted = s.doubts.wait()
		wait := backoff{}
		for {
			known := seen.Load() // before the question: then less is less for sure
			resp, err := s.get(ctx, sp.from, clientv3.WithCountOnly())
			if err == nil && resp.Header.GetRevision() < known {
				anew()
				return
			}
			if err == nil || !wait.sleep(ctx) {
				break
			}
		}
	}
}

// reread waits until the parts of the view that were further than etcd is have been
// read anew, which read says: etcd was put back. It fails as WaitRevision does.
func (v *View) reread(ctx context.Context, read func() bool) error {
	tick := time.NewTicker(askAgain)
	defer tick.Stop()
	v.s.doubts.raise()
	for {
		v.mu.RLock()
		done := read()
		v.mu.RUnlock()
		if done {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-v.life.Done():
			return context.Cause(v.life)
		}
	}
}
