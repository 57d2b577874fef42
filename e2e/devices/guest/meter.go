package guest

import (
	"sync"
	"testing"

	"github.com/keyorch/keyorch/e2e/devices/testbed"
)

// Meter is the traffic in one direction over all boots of a guest, with the
// methods of a testbed.Flow. A Restart ends a flow, so each boot sets a new one;
// marks are those of the flow that is set.
type Meter struct {
	mu   sync.Mutex
	t    testing.TB
	flow *Flow
}

// Set makes f the flow that is counted from now on.
func (m *Meter) Set(t testing.TB, f *Flow) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.t, m.flow = t, f
}

func (m *Meter) get() (testing.TB, *Flow) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.t, m.flow
}

// Mark is the number of the next packet.
func (m *Meter) Mark() uint64 { t, f := m.get(); return f.Mark(t) }

// Since counts the packets sent since mark.
func (m *Meter) Since(mark uint64) testbed.Count { t, f := m.get(); return f.Since(t, mark) }
