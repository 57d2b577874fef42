// Command keyorch-dev runs everything that keyorch needs, and keyorch itself, in
// one process: for development, the demo and a first look. It holds the real
// servers of etcd, Temporal and Vault, listens on 127.0.0.1 only, and is never
// part of a release.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/cmd/keyorch/cli"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/fault"
)

// version is set by the linker.
var version = "dev"

func main() {
	debug.SetGCPercent(devstack.GCPercent)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{
		Use:     "keyorch-dev",
		Short:   "Real etcd, Temporal and Vault in one process, and keyorch on top",
		Version: version,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fault.New(fault.Invalid, "unknown command %q: see keyorch-dev --help", args[0])
			}
			return c.Help()
		},
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fault.Wrap(fault.Invalid, err, "read flags") })
	root.AddCommand(upVerb(), demoVerb())
	err := root.ExecuteContext(ctx)
	if err != nil && err.Error() != "" {
		fmt.Fprintf(os.Stderr, "keyorch-dev: %v\n", err)
	}
	os.Exit(exitCode(err))
}

// exit ends the program with a code when everything has been said already.
type exit struct{ code int }

func (exit) Error() string { return "" }

// exitCode is keyorch's own, unless a verb of it has ended with one before.
func exitCode(err error) int {
	if e := (exit{}); errors.As(err, &e) {
		return e.code
	}
	return cli.ExitCode(err)
}
