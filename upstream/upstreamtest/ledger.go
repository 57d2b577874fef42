package upstreamtest

import (
	"context"
	"slices"
	"sync"

	"github.com/keyorch/keyorch/keychain"
)

// Ledger is an upstream.Ledger in memory, for tests. The zero Ledger is ready,
// and it is safe for concurrent use.
type Ledger struct {
	// Fail, if set, is what every writing method answers; nothing is written then.
	Fail error

	mu      sync.Mutex
	started []keychain.Epoch
	lost    []keychain.Epoch
}

// Started implements upstream.Ledger.
func (l *Ledger) Started(e keychain.Epoch) bool { return slices.Contains(l.StartedEpochs(), e) }

// StartedEpochs implements upstream.Ledger.
func (l *Ledger) StartedEpochs() []keychain.Epoch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.started)
}

// Lost implements upstream.Ledger.
func (l *Ledger) Lost(e keychain.Epoch) bool { return slices.Contains(l.LostEpochs(), e) }

// LostEpochs lists all lost epochs.
func (l *Ledger) LostEpochs() []keychain.Epoch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lost)
}

// Start implements upstream.Ledger.
func (l *Ledger) Start(_ context.Context, e keychain.Epoch) error {
	return l.write(func() { l.started = with(l.started, e) })
}

// Cancel implements upstream.Ledger.
func (l *Ledger) Cancel(_ context.Context, e keychain.Epoch) error {
	return l.write(func() {
		l.started = slices.DeleteFunc(l.started, func(s keychain.Epoch) bool { return s == e })
	})
}

// Lose implements upstream.Ledger.
func (l *Ledger) Lose(_ context.Context, epochs []keychain.Epoch) error {
	return l.write(func() {
		for _, e := range epochs {
			l.lost = with(l.lost, e)
		}
	})
}

func (l *Ledger) write(f func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Fail != nil {
		return l.Fail
	}
	f()
	return nil
}

func with(epochs []keychain.Epoch, e keychain.Epoch) []keychain.Epoch {
	if slices.Contains(epochs, e) {
		return epochs
	}
	return append(epochs, e)
}
