package workflows

import (
	"go.temporal.io/sdk/temporal"

	"github.com/keyorch/keyorch/fault"
)

// failure is the one place where kinds of fault meet Temporal: the kind becomes
// the error's type, and decides whether the activity is tried again. Messages
// are those of package fault, which hold no secrets and no server's answer.
func failure(err error) error {
	if err == nil {
		return nil
	}
	kind := fault.Of(err)
	if kind.Retryable() {
		return temporal.NewApplicationError(err.Error(), kind.String())
	}
	return temporal.NewNonRetryableApplicationError(err.Error(), kind.String(), nil)
}
