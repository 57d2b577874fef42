package agents

import (
	"context"
	"sync"
	"time"

	"github.com/keyorch/keyorch/store"
)

// gatherTime is how long news waits for more, so that many links share one write
// to the journal, and many reports one transaction: etcd tells of every
// transaction by itself.
const gatherTime = 3 * time.Millisecond

// inbox has the news about the orders of one node that nobody has looked at yet.
type inbox struct {
	nonEmpty chan struct{}
	mu       sync.Mutex
	news     []store.OrderUpdate
}

func newInbox() *inbox { return &inbox{nonEmpty: make(chan struct{}, 1)} }

func (i *inbox) put(u store.OrderUpdate) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.news = append(i.news, u)
	select {
	case i.nonEmpty <- struct{}{}:
	default:
	}
}

// run hands everything that has come to take, in the order in which it came,
// until ctx ends.
func (i *inbox) run(ctx context.Context, take func([]store.OrderUpdate)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-i.nonEmpty:
		}
		if !pause(ctx, gatherTime) {
			return
		}
		i.mu.Lock()
		news := i.news
		i.news = nil
		i.mu.Unlock()
		take(news)
	}
}
