// Package lab puts a whole keyorch on the development stack: a simulated network
// with traffic, a worker, the agents of its sites, and the operator's verbs. The
// demo, the end-to-end tests and the benchmarks are told in its words.
package lab

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/keyorch/keyorch/cmd/keyorch/cli"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/devices/sim"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// Lab is a stack with a network on it. Dir keeps the journals of its agents.
type Lab struct {
	Stack   *devstack.Stack
	Network *sim.Network
	Dir     string
	Logger  *slog.Logger
}

// Running is a worker or an agent of this process.
type Running struct {
	stop context.CancelFunc
	done chan struct{}
	err  error
}

// Stop ends it and waits until it has ended. The error is why it ended, if not
// for that.
func (r *Running) Stop() error {
	r.stop()
	<-r.done
	return r.err
}

// Done is closed when it has ended.
func (r *Running) Done() <-chan struct{} { return r.done }

// Err is why it ended, once Done is closed.
func (r *Running) Err() error { return r.err }

func run(ctx context.Context, f func(context.Context) error) *Running {
	ctx, stop := context.WithCancel(ctx)
	r := &Running{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		if err := f(ctx); ctx.Err() == nil {
			r.err = err
		}
	}()
	return r
}

// Worker starts a worker in this process.
func (l *Lab) Worker(ctx context.Context) *Running {
	return run(ctx, func(ctx context.Context) error {
		s, err := l.StoreAs(ctx, devstack.Worker)
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		vault, err := l.CustodyAs(ctx, devstack.Worker, nil)
		if err != nil {
			return err
		}
		t, err := wiring.DialTemporal(ctx, l.Stack.TemporalAddress, l.Stack.TemporalNamespace, l.quiet())
		if err != nil {
			return err
		}
		defer t.Close()
		return wiring.Worker{Store: s, Custody: vault, Temporal: t, Logger: l.Logger}.Run(ctx)
	})
}

// Agent starts the agent of a site in this process.
func (l *Lab) Agent(ctx context.Context, site keychain.SiteID) *Running {
	return run(ctx, func(ctx context.Context) error {
		s, err := l.StoreAs(ctx, devstack.AgentIdentity(site))
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		vault, err := l.CustodyAs(ctx, devstack.AgentIdentity(site), nil)
		if err != nil {
			return err
		}
		return wiring.Agent{
			Site: site, StateDir: filepath.Join(l.Dir, "agents", string(site)), Store: s, Custody: vault,
			Network: l.Network, Logger: l.Logger.With("site", site), Version: "dev",
		}.Run(ctx)
	})
}

// Store opens the lab's store as the operator, who sees everything.
func (l *Lab) Store(ctx context.Context) (*store.Store, error) {
	return l.StoreAs(ctx, devstack.Operator)
}

// StoreAs opens the lab's store as an identity of its stack.
func (l *Lab) StoreAs(ctx context.Context, identity string) (*store.Store, error) {
	c, err := l.Stack.EtcdAs(ctx, identity)
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, c)
}

// CustodyAs opens the lab's Vault as an identity of its stack, which stays logged in
// until ctx ends. Told, unless nil, is told of every request.
func (l *Lab) CustodyAs(ctx context.Context, identity string, told func(op string, took time.Duration, err error)) (*custody.Custody, error) {
	c, err := l.Stack.VaultAs(ctx, identity)
	if err != nil {
		return nil, err
	}
	c.Observe = told
	vault, err := custody.Open(c)
	if err != nil {
		return nil, err
	}
	if err := vault.Login(ctx); err != nil {
		return nil, err
	}
	go vault.Keep(ctx)
	return vault, nil
}

// quiet is for clients that log what the operator need not see.
func (l *Lab) quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// Traffic sends a packet every interval from each upstream to each downstream
// node of every link, until the network is closed.
func (l *Lab) Traffic(t topology.Topology, interval time.Duration) {
	for _, k := range t.Links {
		l.Network.Traffic(k.Name, k.Upstream, k.Downstream, interval)
	}
}

// Said is what a verb printed and how it ended.
type Said struct {
	Out, Err string
	Code     int
}

// Keyorch runs a verb of the keyorch command in this process, as the operator.
func (l *Lab) Keyorch(ctx context.Context, args ...string) Said {
	var out, errOut lockedBuffer
	code := cli.Run(ctx, cli.Process{
		Args: args, In: strings.NewReader(""), Out: &out, Err: &errOut, Getenv: l.getenv(ctx, devstack.Operator),
		Plain: l.Stack.Plain(),
	})
	return Said{Out: out.String(), Err: errOut.String(), Code: code}
}

// getenv is the environment of an identity of the stack.
func (l *Lab) getenv(ctx context.Context, identity string) func(string) string {
	env, _ := l.Stack.Env(ctx, identity)
	return func(name string) string {
		for _, e := range env {
			if k, v, _ := strings.Cut(e, "="); k == name {
				return v
			}
		}
		return ""
	}
}

// lockedBuffer is a buffer that several goroutines may write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
