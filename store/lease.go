package store

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// lease is the one lease that all tenures of a Store hang on: one heartbeat a
// process, however many nodes it serves.
type lease struct {
	id clientv3.LeaseID
	// done ends when etcd may have let the lease run out.
	done context.Context
	end  context.CancelFunc
}

// leased gives the lease, a new one if the last has run out.
func (s *Store) leased(ctx context.Context) (*lease, error) {
	select {
	case s.leasing <- struct{}{}:
		defer func() { <-s.leasing }()
	case <-ctx.Done():
		return nil, s.failed(ctx, ctx.Err(), "take a lease in etcd")
	}
	if s.lease != nil && s.lease.done.Err() == nil {
		return s.lease, nil
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	asked := time.Now()
	ttl := int64((s.config.LeaseTTL + time.Second - 1) / time.Second)
	granted, err := current(call, func() (*clientv3.LeaseGrantResponse, error) { return s.client.Grant(call, ttl) })
	s.observe(ctx, OpLease, asked, err)
	if err != nil {
		return nil, s.failed(ctx, err, "take a lease in etcd")
	}
	life, end := context.WithCancel(s.life)
	beats, err := s.client.KeepAlive(life, granted.ID)
	if err != nil {
		end()
		return nil, s.failed(ctx, err, "keep a lease in etcd")
	}
	s.lease = &lease{id: granted.ID, done: life, end: end}
	go s.keep(end, beats, asked)
	return s.lease, nil
}

// keep ends the lease on this side before etcd can have let it run out: the
// agent stops acting at three quarters of the time after which another may
// begin. The client sends a heartbeat every third of it.
func (s *Store) keep(end context.CancelFunc, beats <-chan *clientv3.LeaseKeepAliveResponse, since time.Time) {
	defer end()
	patience := s.config.LeaseTTL * 3 / 4
	t := time.NewTimer(time.Until(since.Add(patience)))
	defer t.Stop()
	for {
		select {
		case _, ok := <-beats:
			if !ok {
				return
			}
			t.Reset(patience)
		case <-t.C:
			return
		}
	}
}
