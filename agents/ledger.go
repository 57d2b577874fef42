package agents

import (
	"context"
	"slices"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// ledger is the upstream.Ledger of one link of one node while one order is
// obeyed. Nobody else writes its epochs meanwhile.
type ledger struct {
	s     *session
	link  keychain.LinkID
	entry entry
}

// Started implements upstream.Ledger.
func (l *ledger) Started(e keychain.Epoch) bool { return l.entry.started(e) }

// StartedEpochs implements upstream.Ledger.
func (l *ledger) StartedEpochs() []keychain.Epoch { return slices.Clone(l.entry.Started) }

// Lost implements upstream.Ledger.
func (l *ledger) Lost(e keychain.Epoch) bool { return slices.Contains(l.entry.Lost, e) }

// Start implements upstream.Ledger. The epoch stands in the store before it
// stands in the journal: should the store be away, the switch does not happen,
// and an epoch in the journal would then be lost for nothing.
func (l *ledger) Start(ctx context.Context, e keychain.Epoch) error {
	began := l.with(func(n *entry) { n.Started = append(n.Started, e) })
	ctx, cancel := context.WithTimeout(ctx, l.s.Slow/2)
	defer cancel()
	err := l.s.reports.confirm(ctx, l.link, func(o *store.Observation) { o.Started = began.Started })
	if err == nil {
		err = l.write(func(n *entry) { n.Started = append(n.Started, e) })
	}
	if err != nil {
		l.s.reports.change(l.link, func(o *store.Observation) { o.Started = l.entry.Started })
	}
	return err
}

// Cancel implements upstream.Ledger.
func (l *ledger) Cancel(_ context.Context, e keychain.Epoch) error {
	return l.write(func(n *entry) {
		n.Started = slices.DeleteFunc(n.Started, func(s keychain.Epoch) bool { return s == e })
	})
}

// Lose implements upstream.Ledger. The journal is enough: in the store the
// epochs are started, so that nobody switches to them.
func (l *ledger) Lose(_ context.Context, epochs []keychain.Epoch) error {
	return l.write(func(n *entry) {
		n.Started = append(n.Started, epochs...)
		n.Lost = append(n.Lost, epochs...)
	})
}

func (l *ledger) write(change func(*entry)) error {
	err := l.s.Journal.change(l.s.node.ID, map[keychain.LinkID]func(*entry){l.link: change})
	if err == nil {
		l.entry = l.with(change)
	}
	return err
}

// with is the entry after change.
func (l *ledger) with(change func(*entry)) entry {
	n := l.entry.clone()
	change(&n)
	n.tidy()
	return n
}
