package proof

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// shared is the one stack of this test binary and the rows of its table. It is the
// package's only state, since tests of one binary have no other place to meet.
var shared struct {
	sync.Mutex
	stack *Stack
	err   error
	rows  []Row
}

// Main runs the tests, stops the shared stack if any test asked for it, and prints
// the table of what was proven. It is for TestMain: os.Exit(proof.Main(m)).
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.stack != nil {
		shared.stack.stop()
	}
	if len(shared.rows) > 0 {
		fmt.Printf("\n%s\n", Table(shared.rows))
		if file := os.Getenv("KEYORCH_TABLE"); file != "" {
			if err := os.WriteFile(file, []byte(Table(shared.rows)), 0o644); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = max(code, 1)
			}
		}
	}
	return code
}

// Shared gives the stack of this test binary, and starts it for the first test that
// asks. Its store holds what other tests wrote: use names of your own for sites,
// nodes and links.
func Shared(t testing.TB) *Stack {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.stack == nil && shared.err == nil {
		shared.stack, shared.err = start(t)
	}
	if shared.err != nil {
		t.Fatalf("development stack: %v", shared.err)
	}
	return shared.stack
}

func record(r Row) {
	shared.Lock()
	defer shared.Unlock()
	shared.rows = append(shared.rows, r)
}
