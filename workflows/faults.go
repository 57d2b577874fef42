package workflows

import (
	"context"
	"errors"

	"go.temporal.io/sdk/temporal"

	"github.com/keyorch/keyorch/fault"
)

// failure is the one place where kinds of fault meet Temporal: the kind becomes
// the error's type, and decides whether the activity is tried again.
func failure(err error) error {
	if err == nil {
		return nil
	}
	kind := fault.Of(err)
	if kind.Retryable() {
		return temporal.NewApplicationError(told(err), kind.String())
	}
	return temporal.NewNonRetryableApplicationError(told(err), kind.String(), nil)
}

// told is what a history, which anybody may read, is told of err. Whoever made
// it a fault vouches that its words hold no secret and no server's raw answer.
// Nobody vouches for any other.
func told(err error) string {
	if f := new(fault.Error); errors.As(err, &f) {
		return f.Error()
	}
	for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, end) {
			return end.Error()
		}
	}
	return "it failed, and nobody said how"
}
