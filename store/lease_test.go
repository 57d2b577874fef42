package store

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestAgentsStopBeforeTheirLeaseCanHaveRunOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Store{config: Config{LeaseTTL: 10 * time.Second}}
		ctx, end := context.WithCancel(t.Context())
		beats := make(chan *clientv3.LeaseKeepAliveResponse)
		go s.keep(end, beats, time.Now())
		for range 5 {
			time.Sleep(3 * time.Second) // of the bubble's clock
			select {
			case beats <- nil:
			case <-ctx.Done():
				t.Fatal("it ended although etcd answered")
			}
		}
		last := time.Now()
		<-ctx.Done()
		if took := time.Since(last); took != 7500*time.Millisecond {
			t.Errorf("it ended %v after the last answer, want three quarters of the lease", took)
		}
	})
}

func TestALeaseThatEtcdDroppedEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Store{config: Config{LeaseTTL: 10 * time.Second}}
		ctx, end := context.WithCancel(t.Context())
		beats := make(chan *clientv3.LeaseKeepAliveResponse)
		close(beats)
		start := time.Now()
		s.keep(end, beats, start)
		if ctx.Err() == nil || time.Since(start) != 0 {
			t.Errorf("it ended after %v: %v", time.Since(start), ctx.Err())
		}
	})
}
