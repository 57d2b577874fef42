// Package devstacktest gives tests a development stack: one shared by all tests
// of a test binary, or a fresh one.
package devstacktest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devstack"
)

// stopPatience is how long the servers may take to stop.
const stopPatience = 30 * time.Second

// shared is the one stack of this test binary. It is the package's only state,
// since tests of one binary have no other place to meet.
var shared struct {
	sync.Mutex
	stack *devstack.Stack
	data  string
	err   error
}

// Run runs the tests and then stops the shared stack, if any test asked for it.
// It is for TestMain: os.Exit(devstacktest.Run(m)).
func Run(m *testing.M) int {
	code := m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	return code
}

// Shared gives the stack of this test binary and starts it for the first test
// that asks. Its servers hold what other tests wrote: use names of your own for
// links, sites, nodes and task queues. The test's package needs a TestMain that
// calls Run.
func Shared(t testing.TB) *devstack.Stack {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.stack == nil && shared.err == nil {
		// Not t.TempDir: it would go with the first test.
		if shared.data, shared.err = os.MkdirTemp("", "keyorch-shared-"); shared.err == nil {
			shared.stack, shared.err = devstack.Start(t.Context(), devstack.Options{Data: shared.data})
		}
	}
	if shared.err != nil {
		t.Fatalf("shared development stack: %v", shared.err)
	}
	return shared.stack
}

// Fresh gives a stack for this test alone, on a directory of its own, and stops
// it when the test has ended.
func Fresh(t testing.TB) *devstack.Stack {
	t.Helper()
	return At(t, devstack.Options{Data: t.TempDir()})
}

// At starts a stack as o says and stops it when the test has ended, if it still
// runs then.
func At(t testing.TB, o devstack.Options) *devstack.Stack {
	t.Helper()
	s, err := devstack.Start(t.Context(), o)
	if err != nil {
		t.Fatalf("start development stack: %v", err)
	}
	t.Cleanup(func() { Stop(t, s) })
	return s
}

// Stop stops s and fails the test if it does not stop cleanly.
func Stop(t testing.TB, s *devstack.Stack) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("%v", err)
	}
}

func stopShared() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.stack == nil {
		return os.RemoveAll(shared.data)
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	return errors.Join(shared.stack.Stop(ctx), os.RemoveAll(shared.data))
}
