// Package turnstile lets operations on one thing through one at a time, while
// those on other things go on: what a device needs whose changes are made of
// several steps.
package turnstile

import (
	"context"
	"sync"
)

// Turnstile has a gate of its own for every K, such as a link. The zero
// Turnstile is ready. It is safe for concurrent use and must not be copied.
type Turnstile[K comparable] struct {
	mu    sync.Mutex
	gates map[K]chan struct{} // each holds one token while somebody is through
}

// Enter waits until nobody else is through the gate of k. The caller calls leave
// when it is done. The error is that of ctx, when it ends first; a ctx that has
// ended already lets nobody through.
func (t *Turnstile[K]) Enter(ctx context.Context, k K) (leave func(), err error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	t.mu.Lock()
	gate := t.gates[k]
	if gate == nil {
		if t.gates == nil {
			t.gates = make(map[K]chan struct{})
		}
		gate = make(chan struct{}, 1)
		t.gates[k] = gate
	}
	t.mu.Unlock()
	select {
	case gate <- struct{}{}:
		return func() { <-gate }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
