package wiring

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keyorch/keyorch/agents"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/devices/sim"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/metrics"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// Agent is what the agent of a site is made of.
type Agent struct {
	Site keychain.SiteID
	// Nodes are those to serve; empty for all of the site.
	Nodes []keychain.NodeID
	// StateDir keeps the journal. It is created with mode 0700.
	StateDir string
	Store    *store.Store
	Custody  *custody.Custody
	// Network is the simulated network of this process, if there is one, and
	// SimAddress where it is otherwise.
	Network    *sim.Network
	SimAddress string
	Logger     *slog.Logger
	Version    string
	Metrics    *metrics.Agent // nil: none
	Pulse      *agents.Pulse  // nil: nobody asks
}

// Run serves the nodes until ctx ends. Nodes that are declared later are taken
// up, and those that are not declared any more are given up.
func (a Agent) Run(ctx context.Context) error {
	if err := os.MkdirAll(a.StateDir, 0o700); err != nil {
		return fault.Wrap(fault.Invalid, err, "make state directory")
	}
	journal, err := agents.OpenJournal(filepath.Join(a.StateDir, "journal.db"))
	if err != nil {
		return err
	}
	defer func() { _ = journal.Close() }()
	host, _ := os.Hostname() // empty is what an operator then sees
	nodes := make(chan []agents.Node)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		tellRights(ctx, a.Store, a.Logger)
		return nil
	})
	group.Go(func() error {
		serving := serving{agent: a, devices: Devices{Network: a.Network, SimAddress: a.SimAddress}}
		return a.Store.WatchNodes(ctx, a.Site, a.only(), func(all []topology.Node) {
			if list, changed := serving.update(ctx, all); changed {
				select {
				case nodes <- list:
				case <-ctx.Done():
				}
			}
		})
	})
	group.Go(func() error {
		return agents.Run(ctx, agents.Config{
			Site: a.Site, Nodes: nodes, Store: agents.EtcdStore(a.Store), Custody: a.Custody, Journal: journal,
			Who:     store.Agent{Instance: journal.Instance(), Host: host, PID: os.Getpid(), Version: a.Version, Started: time.Now().UTC()},
			Observe: a.observer(), Pulse: a.Pulse, Logger: a.Logger,
		})
	})
	return group.Wait()
}

// only is the one node to serve, if it is one: an identity for one node sees no other.
func (a Agent) only() keychain.NodeID {
	if len(a.Nodes) == 1 {
		return a.Nodes[0]
	}
	return ""
}

// serving is the nodes that an agent has opened, and from which declaration.
type serving struct {
	agent    Agent
	devices  Devices
	declared []topology.Node
	open     []agents.Node
	told     bool // that there is nothing to serve
}

// update opens what is new or has changed, and reports whether anything has. A
// node whose device cannot be opened is logged and left out: one node's trouble
// is its own.
func (s *serving) update(ctx context.Context, all []topology.Node) (list []agents.Node, changed bool) {
	var declared []topology.Node
	for _, n := range all {
		wanted := len(s.agent.Nodes) == 0 || slices.Contains(s.agent.Nodes, n.Name)
		if !wanted || n.Site != s.agent.Site {
			continue
		}
		declared = append(declared, n)
		i := slices.IndexFunc(s.declared, func(d topology.Node) bool { return sameDevice(d, n) })
		if i >= 0 && slices.ContainsFunc(s.open, func(o agents.Node) bool { return o.ID == n.Name }) {
			list = append(list, s.open[slices.IndexFunc(s.open, func(o agents.Node) bool { return o.ID == n.Name })])
			continue
		}
		changed = true
		node, err := s.devices.Open(n)
		if err != nil {
			s.agent.Logger.ErrorContext(ctx, "cannot serve node", "node", n.Name, "error", err)
			continue
		}
		list = append(list, s.agent.timed(node))
	}
	changed = changed || len(list) != len(s.open)
	if len(declared) == 0 && (len(s.declared) > 0 || !s.told) {
		s.agent.Logger.WarnContext(ctx, "no node to serve is declared", "site", s.agent.Site, "nodes", s.agent.Nodes)
	}
	s.told = true
	s.declared, s.open = declared, list
	return list, changed
}

func sameDevice(a, b topology.Node) bool {
	return a.Name == b.Name && reflect.DeepEqual(a.Device, b.Device)
}
