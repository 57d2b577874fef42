package strongswan

import "context"

// atOnce is how many SAs are established at once, and how many are ended. Each takes
// one of charon's threads until it is done, of which it has 16 by default and needs
// some itself. With none left charon does not read what the peers answer, and all
// wait in vain.
const atOnce = 3

// lane lets a few through at once.
type lane chan struct{}

func newLane() lane { return make(lane, atOnce) }

// enter waits for its turn. The error is that of ctx.
func (l lane) enter(ctx context.Context) (leave func(), err error) {
	select {
	case l <- struct{}{}:
		return func() { <-l }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
