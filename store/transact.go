package store

import (
	"context"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// maxOps is how many operations share one transaction. etcd's own limit is 128
	// unless its operator raised or lowered it.
	maxOps = 96
	// nestOps is how many operations an inner transaction holds, and how many
	// inner ones an outer. An inner one may have as many as the outer leaves of
	// etcd's 128, so that 64 times 64 fit.
	nestOps = 64
	// maxNested is the most that one transaction can carry.
	maxNested = nestOps * nestOps
	// maxBytes keeps a transaction well under etcd's limit of 1.5 MiB a request.
	maxBytes = 1 << 20
)

// atomically makes any number of operations up to maxNested fit into one
// transaction: many are put into transactions within it, which etcd applies
// together, at one revision.
func atomically(ops []clientv3.Op) []clientv3.Op {
	if len(ops) <= maxOps {
		return ops
	}
	var outer []clientv3.Op
	for inner := range slices.Chunk(ops, nestOps) {
		outer = append(outer, clientv3.OpTxn(nil, inner, nil))
	}
	return outer
}

// transact runs one transaction, which does nothing unless all guards hold. It
// says whether they did, and at which revision.
func (s *Store) transact(ctx context.Context, guards []clientv3.Cmp, then ...clientv3.Op) (held bool, rev int64, err error) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	began := time.Now()
	resp, err := current(call, func() (*clientv3.TxnResponse, error) {
		return s.client.Txn(call).If(guards...).Then(atomically(then)...).Commit()
	})
	s.observe(ctx, OpTxn, began, err)
	if err != nil {
		return false, 0, err
	}
	return resp.Succeeded, resp.Header.GetRevision(), nil
}

// at is the guard that key was last written at revision mod; zero, that it does
// not exist.
func at(key string, mod int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), "=", mod)
}

// each calls f for every index below n, transactions of them at a time.
func each(n int, f func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(n, transactions) {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
