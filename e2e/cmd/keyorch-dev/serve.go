package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/keyorch/keyorch/devices/sim"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/e2e/lab"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// parts says which parts of keyorch itself run in this process.
type parts struct{ worker, agents bool }

// serve runs keyorch on the stack until ctx ends: a worker, and the agent of
// every site that is declared now or later, with the simulated network that their
// sim devices belong to. Each uses its own identity of the stack, as it would in
// a process of its own. They log to Data/logs/keyorch.log. It calls ready once, when
// everything that is declared already has been made ready.
func serve(ctx context.Context, stack *devstack.Stack, network *sim.Network, p parts, ready func()) error {
	log, err := os.OpenFile(filepath.Join(stack.Data, "logs", "keyorch.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "open log")
	}
	defer func() { _ = log.Close() }()
	l := &lab.Lab{Stack: stack, Network: network, Dir: stack.Data, Logger: slog.New(slog.NewTextHandler(log, nil))}
	s, err := l.Store(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	staff := &staff{lab: l, ready: sync.OnceFunc(ready), serving: map[keychain.SiteID]bool{}}
	if p.worker {
		staff.keep(ctx, "worker", l.Worker)
	}
	defer staff.wait()
	return staff.follow(ctx, s, p.agents)
}

// staff is the worker and the agents of this process.
type staff struct {
	lab     *lab.Lab
	ready   func()
	serving map[keychain.SiteID]bool
	ended   []chan struct{}
}

// follow makes every declared site ready, and starts its agent, until ctx ends.
func (s *staff) follow(ctx context.Context, st *store.Store, agents bool) error {
	var failed error
	watching, stop := context.WithCancel(ctx)
	defer stop()
	err := st.WatchTopology(watching, func(t topology.Topology) {
		if failed = s.welcome(ctx, t, agents); failed != nil {
			stop()
		}
	})
	if failed != nil || ctx.Err() != nil {
		return failed
	}
	return err
}

func (s *staff) welcome(ctx context.Context, t topology.Topology, agents bool) error {
	var sites []keychain.SiteID
	for _, site := range t.Sites {
		sites = append(sites, site.Name)
	}
	err := errors.Join(s.lab.Stack.Provision(ctx, t), s.lab.Stack.WriteEnv(ctx, sites))
	if err != nil {
		return err
	}
	s.ready()
	if !agents {
		return nil
	}
	for _, site := range sites {
		if !s.serving[site] {
			s.serving[site] = true
			s.keep(ctx, "agent of "+string(site), func(ctx context.Context) *lab.Running {
				return s.lab.Agent(ctx, site)
			})
		}
	}
	return nil
}

// again is how long a part that failed is left before it is started again.
const again = time.Second

// keep runs a part, and starts it again when it fails, until ctx ends.
func (s *staff) keep(ctx context.Context, name string, start func(context.Context) *lab.Running) {
	ended := make(chan struct{})
	s.ended = append(s.ended, ended)
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			r := start(ctx)
			<-r.Done()
			if ctx.Err() != nil {
				return
			}
			s.lab.Logger.ErrorContext(ctx, "a part failed and is started again", "part", name, "error", r.Err())
			select {
			case <-ctx.Done():
			case <-time.After(again):
			}
		}
	}()
}

func (s *staff) wait() {
	for _, e := range s.ended {
		<-e
	}
}
