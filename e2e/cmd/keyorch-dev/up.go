package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/cmd/keyorch/cli"
	"github.com/keyorch/keyorch/devices/sim"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/topology"
)

// stopPatience is how long the servers may take to stop.
const stopPatience = 20 * time.Second

// up is what the verb was asked to do.
type up struct {
	data  string
	files []string
	names []string
	ui    bool
	empty bool
	parts parts
	in    io.Reader
	out   io.Writer
	err   io.Writer
}

func upVerb() *cobra.Command {
	var u up
	var noWorker, noAgents bool
	c := &cobra.Command{
		Use:   "up --data DIR [-f FILE|DIRECTORY|- ...]",
		Short: "Run the servers, a worker and the agents of every site until interrupted",
		Long: `Up starts etcd, Temporal and Vault, and a worker and the agents of every declared
site, and stays in the foreground. Everything is kept in the data directory: a
stop and a start lose nothing, and addresses and tokens stay the same.

When everything answers it prints "ready" with the addresses. Then

  . DIR/env

makes a shell an operator's. DIR/env.worker, DIR/env.auditor, DIR/env.root and
DIR/env.agent.SITE are the same for the other identities. etcd and Vault are spoken to
over TLS, and know everybody by a certificate of DIR/identity. The servers log to
DIR/logs.`,
		Example: "  keyorch-dev up --data /tmp/keyorch -f examples/three-sites.yaml",
		Args:    cobra.NoArgs,
	}
	c.Flags().StringVar(&u.data, "data", "", "the directory that keeps everything (required)")
	c.Flags().StringArrayVarP(&u.files, "filename", "f", nil, "declare what this file or directory holds (may be repeated)")
	c.Flags().StringArrayVar(&u.names, "name", nil, "a further name or address of this machine, for the certificates of the servers (may be repeated)")
	c.Flags().BoolVar(&noWorker, "no-worker", false, "run no worker")
	c.Flags().BoolVar(&noAgents, "no-agents", false, "run no agents")
	c.Flags().BoolVar(&u.ui, "ui", true, "serve Temporal's web pages")
	c.Flags().BoolVar(&u.empty, "empty", false, "leave etcd and Vault as they are when they were just installed, to try keyorch bootstrap: only DIR/env.root is written, and nothing else is run")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if u.empty && len(u.files) > 0 {
			return fault.New(fault.Invalid, "up: with --empty nothing can be declared")
		}
		u.parts = parts{worker: !noWorker, agents: !noAgents}
		u.in, u.out, u.err = c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr()
		return u.run(c.Context())
	}
	return c
}

func (u up) run(ctx context.Context) (err error) {
	if u.data == "" {
		return fault.New(fault.Invalid, "up: say with --data where to keep everything")
	}
	if _, err := topology.Read(strings.NewReader(""), u.files); err != nil {
		return err
	}
	socket := simSocket(u.data)
	o := devstack.Options{Data: u.data, UI: u.ui, Names: u.names, Empty: u.empty}
	if socket != "" {
		o.SimNetwork = "unix://" + socket
	}
	stack, err := devstack.Start(ctx, o)
	if err != nil {
		return err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
		defer cancel()
		err = errors.Join(err, stack.Stop(stopping))
	}()
	if u.empty {
		return u.wait(ctx, stack)
	}
	if err := u.declare(ctx, stack); err != nil {
		return err
	}
	network := sim.NewNetwork(sim.Options{})
	defer network.Close()
	if socket != "" {
		_ = os.Remove(socket) // of an earlier run: this one has the directory's lock
		l, err := net.Listen("unix", socket)
		if err != nil {
			return fault.Wrap(fault.Unavailable, err, "serve the simulated network")
		}
		go func() { _ = network.Serve(ctx, l) }()
	}
	return serve(ctx, stack, network, u.parts, func() { u.announce(stack) })
}

// wait has servers that nobody has prepared run until ctx ends.
func (u up) wait(ctx context.Context, stack *devstack.Stack) error {
	if err := stack.WriteRootEnv(ctx); err != nil {
		return err
	}
	u.announce(stack)
	<-ctx.Done()
	return nil
}

// simSocket is where agents of other processes find the simulated network: a
// socket in the data directory, or nothing when its path is too long for one.
func simSocket(data string) string {
	const longest = 100 // sun_path has 108 bytes (unix(7))
	dir, err := filepath.Abs(data)
	if path := filepath.Join(dir, "sim.sock"); err == nil && len(path) <= longest {
		return path
	}
	return ""
}

// declare does what the operator would do with the same files.
func (u up) declare(ctx context.Context, stack *devstack.Stack) error {
	if len(u.files) == 0 {
		return nil
	}
	env, err := getenv(ctx, stack, devstack.Operator)
	if err != nil {
		return err
	}
	args := []string{"apply"}
	for _, f := range u.files {
		args = append(args, "-f", f)
	}
	code := cli.Run(ctx, cli.Process{Args: args, In: u.in, Out: u.out, Err: u.err, Getenv: env, Version: version})
	if code != 0 {
		return exit{code}
	}
	return nil
}

// getenv looks variables up as the identity has them. Of this process's own
// environment it takes what has nothing to do with the servers.
func getenv(ctx context.Context, stack *devstack.Stack, identity string) (func(string) string, error) {
	env, err := stack.Env(ctx, identity)
	if err != nil {
		return nil, err
	}
	own := make(map[string]string)
	for _, kv := range env {
		key, value, _ := strings.Cut(kv, "=")
		own[key] = value
	}
	return func(key string) string {
		for _, server := range []string{"VAULT_", "TEMPORAL_", "ETCDCTL_", "KEYORCH_"} {
			if strings.HasPrefix(key, server) {
				return own[key]
			}
		}
		return os.Getenv(key)
	}, nil
}

// announce says that everything answers, and where.
func (u up) announce(s *devstack.Stack) {
	t := tabwriter.NewWriter(u.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "ready")
	for _, line := range []struct{ what, where string }{
		{"etcd", s.EtcdEndpoint},
		{"temporal", s.TemporalAddress + " (namespace " + s.TemporalNamespace + ")"},
		{"temporal ui", s.TemporalUI},
		{"vault", s.VaultAddress},
		{"environment", filepath.Join(s.Data, "env")},
		{"logs", filepath.Join(s.Data, "logs")},
	} {
		if line.where != "" {
			_, _ = fmt.Fprintf(t, "  %s\t%s\n", line.what, line.where)
		}
	}
	_ = t.Flush()
}
