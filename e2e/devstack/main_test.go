package devstack_test

import (
	"os"
	"testing"

	"github.com/keyorch/keyorch/e2e/devstack/devstacktest"
)

func TestMain(m *testing.M) { os.Exit(devstacktest.Run(m)) }
