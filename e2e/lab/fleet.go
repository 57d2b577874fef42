package lab

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// fleetNodes is how many nodes a site of a fleet has.
const fleetNodes = 2

// FleetPolicy is the policy of all links of a fleet: everything in one wave.
const FleetPolicy = "fleet"

// Fleet is a network of many links between many sites, each with two simulated
// nodes. Site i sends to the sites after it, one link each, and to all of them
// again once it has sent to all, so that links are spread evenly over sites and
// nodes, and a site is at one end of 2 * Links / Sites of them.
type Fleet struct {
	Links, Sites int
	// Drain is the policy's.
	Drain time.Duration
}

// Documents declares the fleet.
func (f Fleet) Documents() []byte {
	var b bytes.Buffer
	doc := func(kind, name, format string, a ...any) {
		fmt.Fprintf(&b, "---\napiVersion: keyorch/v1\nkind: %s\nmetadata: {name: %s}\nspec: %s\n", kind, name, fmt.Sprintf(format, a...))
	}
	doc("Policy", FleetPolicy, "{drain: %v, waves: [{percent: 100}]}", f.Drain)
	for i := range f.Sites {
		doc("Site", string(f.Site(i)), "{}")
		for n := range fleetNodes {
			doc("Node", f.node(i, n), "{site: %s, device: {kind: sim}}", f.Site(i))
		}
	}
	others := f.Sites - 1
	for k := range f.Links {
		from, turn := k%f.Sites, k/f.Sites
		to := (from + 1 + turn%others) % f.Sites
		doc("Link", fmt.Sprintf("link-%05d", k), "{upstream: [%s], downstream: [%s], policy: %s}",
			f.node(from, turn%fleetNodes), f.node(to, turn/fleetNodes%fleetNodes), FleetPolicy)
	}
	return b.Bytes()
}

// Site names the site of a number.
func (f Fleet) Site(i int) keychain.SiteID { return keychain.SiteID(fmt.Sprintf("site-%03d", i)) }

func (f Fleet) node(site, n int) string { return fmt.Sprintf("%s-%c", f.Site(site), 'a'+n) }

// Declare applies documents as the operator does, and gives back what they say.
// Errors: Refused with what the operator is told.
func (l *Lab) Declare(ctx context.Context, documents []byte) (topology.Topology, error) {
	file := filepath.Join(l.Dir, "declared.yaml")
	if err := os.WriteFile(file, documents, 0o600); err != nil {
		return topology.Topology{}, fault.Wrap(fault.Unavailable, err, "declare")
	}
	if said := l.Keyorch(ctx, "apply", "-f", file); said.Code != 0 {
		return topology.Topology{}, fault.New(fault.Refused, "declare: apply ended with %d: %.2000s", said.Code, said.Err)
	}
	return topology.Parse([]topology.Source{{Name: file, Data: documents}}, wiring.Kinds(), topology.Topology{})
}

// Crew is the agents of several sites, all in this process.
type Crew struct {
	lab     *Lab
	agents  map[keychain.SiteID]*Running
	unwraps atomic.Int64
}

// Crew starts the agent of every site.
func (l *Lab) Crew(ctx context.Context, t topology.Topology) *Crew {
	c := &Crew{lab: l, agents: map[keychain.SiteID]*Running{}}
	for _, s := range t.Sites {
		c.Start(ctx, s.Name)
	}
	return c
}

// Start starts the agent of a site, which is stopped or new.
func (c *Crew) Start(ctx context.Context, site keychain.SiteID) {
	c.agents[site] = run(ctx, func(ctx context.Context) error {
		s, err := c.lab.StoreAs(ctx, devstack.AgentIdentity(site))
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		vault, err := c.lab.CustodyAs(ctx, devstack.AgentIdentity(site), c.asked)
		if err != nil {
			return err
		}
		return wiring.Agent{
			Site: site, StateDir: filepath.Join(c.lab.Dir, "agents", string(site)), Store: s, Custody: vault,
			Network: c.lab.Network, Logger: c.lab.quiet(), Version: "dev",
		}.Run(ctx)
	})
}

// StopSite ends the agent of a site.
func (c *Crew) StopSite(site keychain.SiteID) error { return c.agents[site].Stop() }

// Unwraps is how many requests to open keys the agents have made of Vault.
func (c *Crew) Unwraps() int { return int(c.unwraps.Load()) }

func (c *Crew) asked(op string, _ time.Duration, _ error) {
	if op == custody.OpUnwrap {
		c.unwraps.Add(1)
	}
}

// Stop ends all of them side by side. The error is that of the first, in the
// order of the sites, that had ended by itself.
func (c *Crew) Stop() error {
	errs := make(map[keychain.SiteID]error)
	var mu sync.Mutex
	var all sync.WaitGroup
	for site, a := range c.agents {
		all.Go(func() {
			err := a.Stop()
			mu.Lock()
			defer mu.Unlock()
			errs[site] = err
		})
	}
	all.Wait()
	for _, site := range slices.Sorted(maps.Keys(errs)) {
		if errs[site] != nil {
			return fmt.Errorf("agent of %s: %w", site, errs[site])
		}
	}
	return nil
}

// Served waits until every node of t has an agent.
func Served(ctx context.Context, v *store.View, t topology.Topology) error {
	nodes := make([]keychain.NodeID, len(t.Nodes))
	for i, n := range t.Nodes {
		nodes[i] = n.Name
	}
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		present := len(v.Present(nodes))
		if present == len(nodes) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.Wrap(fault.Unavailable, ctx.Err(), "wait for agents: %d of %d nodes are served", present, len(nodes))
		case <-look.C:
		}
	}
}
