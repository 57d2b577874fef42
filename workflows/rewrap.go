package workflows

import (
	"context"
	"time"

	"go.temporal.io/sdk/workflow"
)

// Rewrapper wraps keys anew after their KEKs were rotated. It sees none of them.
type Rewrapper interface {
	// Rewrap wraps every stored key under keks anew, and gives the number of those that
	// changed, KEK by KEK. When it returns, nothing is stored under an older version,
	// and nothing comes later. It may be repeated. Faults: Refused, Mismatch,
	// Unavailable.
	Rewrap(ctx context.Context, keks []string) ([]int, error)
}

// RewrapRequest names the KEKs that were rotated.
type RewrapRequest struct {
	KEKs []string `json:"keks"`
}

// Rewrapped is how many keys were wrapped anew, in the order of the request.
type Rewrapped struct {
	Keys []int `json:"keys"`
}

// Resealing is what Rewrap does in the world. Make one with NewResealing.
type Resealing struct{ keys Rewrapper }

// NewResealing wires the activity by hand.
func NewResealing(keys Rewrapper) *Resealing { return &Resealing{keys: keys} }

// rewrapTime bounds one try: a hundred thousand keys fit.
const rewrapTime = 30 * time.Minute

// Rewrap has the keys under KEKs that were rotated wrapped anew. It is the worker's
// business, since nobody else may write records and orders. Links in flight go on.
func Rewrap(ctx workflow.Context, q RewrapRequest) (Rewrapped, error) {
	options := workflow.GetActivityOptions(withServers(ctx))
	options.StartToCloseTimeout = rewrapTime
	var done Rewrapped
	err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), (*Resealing).RewrapKeys, q).Get(ctx, &done)
	return done, err
}

// RewrapKeys wraps the keys under some KEKs anew. It may be repeated, and then counts
// what it found left.
func (r *Resealing) RewrapKeys(ctx context.Context, q RewrapRequest) (Rewrapped, error) {
	defer beat(ctx)()
	keys, err := r.keys.Rewrap(ctx, q.KEKs)
	return Rewrapped{Keys: keys}, failure(err)
}
