package testbed

import "testing"

// Lane is a number of tests that run at the same time. A test of a device mostly
// waits, for timers of protocols, so several fit onto two cores; a guest computes.
type Lane chan struct{}

// The lanes of one test binary. They are the package's only state, since tests of
// one binary have no other place to meet.
var (
	Daemons = make(Lane, 3)
	Guests  = make(Lane, 2)
)

// SideBySide lets the test run beside others, as many as its lane takes. It comes
// first in a test.
func SideBySide(t *testing.T, lane Lane) {
	t.Helper()
	t.Parallel()
	lane <- struct{}{}
	t.Cleanup(func() { <-lane })
}
