//go:build devices

// Real devices: the conformance suites of both roles, and a proof of each kind
// under counted traffic. They need root, and take what they need from Debian:
// `make test-devices`.
package devices_test

import (
	"os"
	"testing"

	"github.com/keyorch/keyorch/e2e/devices/proof"
)

func TestMain(m *testing.M) { os.Exit(proof.Main(m)) }
