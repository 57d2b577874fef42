package custody_test

import (
	"testing"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/custody/custodytest"
)

// TestThePretendedVault runs the suite on the Vault of the unit tests.
func TestThePretendedVault(t *testing.T) {
	custodytest.Run(t, func(t *testing.T) custodytest.Vault { return custody.NewPretended(t) })
}
