// Command keyorch rotates the keys of links in stages: the operator's verbs, the
// worker that drives rotations, and the agent that obeys them at a site.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // policies name time zones, and a container may know none

	"github.com/keyorch/keyorch/cmd/keyorch/cli"
)

// version is set by the linker in a release.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(cli.Run(ctx, cli.Process{
		Args: os.Args[1:], In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Environ: os.Environ, Version: version,
	}))
}
