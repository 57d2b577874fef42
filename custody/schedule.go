package custody

import (
	"time"

	"github.com/cenkalti/backoff/v5"
)

// A thousand agents that started in the same second must not come to Vault in the
// same second ever after. So nothing is done at a fixed point of a token's life:
// each renewal falls on a random point of a window, and each retry on a random
// point between now and a wait that doubles.
const (
	// soonestRenewal and renewalWindow are shares of a token's life: it is renewed
	// between one half and five sixths of it.
	soonestRenewal = 1.0 / 2
	renewalWindow  = 1.0 / 3
	// shortened is the share of its first life below which a renewed token has come
	// to its longest life: then the next thing is a new login.
	shortened = 3.0 / 4

	firstRetry = 5 * time.Second // on average, as everywhere here
	lastRetry  = time.Minute
)

// renewAfter is how long after a token was given out, to live for ttl, it is
// renewed. Chance is uniform in [0, 1).
func renewAfter(ttl time.Duration, chance float64) time.Duration {
	return time.Duration(float64(ttl) * (soonestRenewal + chance*renewalWindow))
}

// lease is what Vault said of the token that is in use.
type lease struct {
	ttl       time.Duration // zero: for ever
	first     time.Duration // the ttl at its login
	renewable bool
	policies  []string
}

// ending reports whether a renewal would gain nothing: the token is not renewable,
// or has come to its longest life.
func (l lease) ending() bool {
	return !l.renewable || float64(l.ttl) < shortened*float64(l.first)
}

// newRetry is how long to wait after failures, one after the other: a random time
// up to twice an average that doubles.
func newRetry() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{InitialInterval: firstRetry, RandomizationFactor: 1, Multiplier: 2, MaxInterval: lastRetry}
}
