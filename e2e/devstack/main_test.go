package devstack_test

import (
	"os"
	"testing"

	"github.com/keyorch/keyorch/e2e/devstack/devstacktest"
)

func TestMain(m *testing.M) {
	if data := os.Getenv(childData); data != "" {
		os.Exit(runChild(data))
	}
	os.Exit(devstacktest.Run(m))
}
