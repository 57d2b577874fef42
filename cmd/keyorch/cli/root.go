// Package cli is the keyorch command: its verbs, their output and their exit
// codes. It is a package so that the development servers and the end-to-end tests
// run the very same verbs.
package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/fault"
)

// Process is what a run of the command takes from its process.
type Process struct {
	Args     []string
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
	Environ  func() []string // all that Getenv knows; may be nil
	Version  string          // "dev" or empty when it was not built for a release
	// Plain speaks to an etcd without TLS and users: for measuring what they cost. No
	// flag and no variable sets it.
	Plain bool
}

// app is what every verb needs of the outside.
type app struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	environ  func() []string
	release  string
	plain    bool
	args     []string
	// identityFlag is the directory that --identity names.
	identityFlag string
}

// Run is the whole command: arguments in, exit code out.
func Run(ctx context.Context, p Process) int {
	a := &app{in: p.In, out: p.Out, err: p.Err, getenv: p.Getenv, environ: p.Environ, release: p.Version, plain: p.Plain, args: p.Args}
	root := a.root()
	root.SetArgs(append([]string{}, p.Args...))
	root.SetIn(p.In)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	err := root.ExecuteContext(ctx)
	say(p.Err, err)
	return ExitCode(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "keyorch",
		Short: "Rotate the keys of links in stages, without losing a packet",
		Long: `keyorch gives every link of a network a new key while traffic flows: every node
that receives accepts the new key before any node sends with it, and a link
whose nodes do not all confirm keeps its old key.

Connections are taken from the environment (ETCDCTL_ENDPOINTS, VAULT_ADDR,
TEMPORAL_ADDRESS and the other variables of etcdctl, Vault and Temporal), and where
that is silent from the directory that "keyorch join" made: --identity or
KEYORCH_IDENTITY.

Exit codes: 0 done, 2 invalid input, 3 refused, 4 some links held, 5 aborted,
6 a server is unavailable.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return fault.New(fault.Invalid, "unknown command %q: see keyorch --help", args[0])
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.PersistentFlags().StringVar(&a.identityFlag, "identity", "", "the directory that keyorch join made (default $KEYORCH_IDENTITY)")
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return a.takeIdentity(a.getenv(envIdentity)) }
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fault.Wrap(fault.Invalid, err, "%s", c.Name())
	})
	root.AddCommand(
		a.getVerb(), a.statusVerb(), a.whyVerb(), a.historyVerb(), a.driftVerb(), a.planVerb(), a.deviceVerb(),
		a.approvalsVerb(), a.workerVerb(), a.agentVerb(), a.versionVerb(), a.devVerb(), a.joinVerb(), a.doctorVerb(), a.auditVerb(), a.entitlementsVerb(),
	)
	root.AddCommand(a.changes(
		a.applyVerb(), a.rotateVerb(), a.abortVerb(), a.pauseVerb(), a.resumeVerb(), a.promoteVerb(), a.retryVerb(),
		a.maintenanceVerb(), a.compromiseVerb(), a.readmitVerb(), a.scheduleVerb(), a.kekVerb(), a.notifyVerb(),
		a.bootstrapVerb(), a.enrollVerb(), a.backupVerb(), a.restoreVerb(), a.recoverVerb(), a.revokeVerb(),
	)...)
	return root
}

func (a *app) versionVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			c.Printf("keyorch %s\n", a.version())
			return nil
		},
	}
}

func (a *app) version() string {
	if a.release != "" && a.release != "dev" {
		return a.release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "dev"
}

// noArguments is cobra.NoArgs with our kind of error.
func noArguments(c *cobra.Command, args []string) error {
	return fault.Wrap(fault.Invalid, cobra.NoArgs(c, args), "%s", c.Name())
}

// named wants at least min and at most max arguments, and says what they are for.
func named(min, max int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < min || len(args) > max {
			return fault.New(fault.Invalid, "%s: %s", c.Name(), what)
		}
		return nil
	}
}

// logger writes to standard error.
func (a *app) logger(level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fault.New(fault.Invalid, "--log-level %q: use debug, info, warn or error", level)
	}
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: l})), nil
}

// quietly turns the end of the command's own context into success: a signal
// that stops a server is not a failure.
func quietly(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}
