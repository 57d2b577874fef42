package turnstile_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keyorch/keyorch/devices/turnstile"
)

func TestOneAtATimeForEachKey(t *testing.T) {
	var gates turnstile.Turnstile[string]
	var inside, most atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			leave, err := gates.Enter(t.Context(), "a")
			if err != nil {
				t.Error(err)
				return
			}
			defer leave()
			if n := inside.Add(1); n > most.Load() {
				most.Store(n)
			}
			inside.Add(-1)
		})
	}
	wg.Wait()
	if most.Load() != 1 {
		t.Errorf("%d were through at once", most.Load())
	}
}

func TestAnotherKeyDoesNotWait(t *testing.T) {
	var gates turnstile.Turnstile[string]
	leave, err := gates.Enter(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	other, err := gates.Enter(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	other()
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	var gates turnstile.Turnstile[string]
	leave, err := gates.Enter(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := gates.Enter(ctx, "a")
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("waiting ended with %v", err)
	}
	leave()
	if _, err := gates.Enter(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended was let through: %v", err)
	}
}
