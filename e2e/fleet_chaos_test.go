package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyorch/keyorch/devices/sim"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/e2e/lab"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/workflows"
)

const (
	chaosLinks = 10_000
	chaosSites = 100
	// mortalSites have an agent that is a process of its own. One of them at a time
	// is dead, which is one agent in a hundred.
	mortalSites = 8
)

// chaos is a fleet some of whose agents can be killed.
type chaos struct {
	*testing.T
	*lab.Binary
	fleet  lab.Fleet
	topo   topology.Topology
	view   *store.View
	store  *store.Store
	agents []*lab.Process // of the mortal sites
}

// A campaign over ten thousand links, while agents are killed and started again at
// random: every link gets its key, or is held with the true reason; no packet is
// lost, and no epoch means two keys.
func TestTenThousandLinksWhileAgentsAreKilled(t *testing.T) {
	c := newChaos(t)
	c.rotate(0)
	c.Lab.Traffic(c.topo, 4*time.Second)
	stop, stopped := make(chan struct{}), make(chan int)
	go func() { stopped <- c.killAtRandom(stop) }()
	results := c.rotate(0, 4)
	close(stop)
	kills := <-stopped
	if kills < 3 {
		t.Errorf("%d agents were killed: the test proves little", kills)
	}
	held := c.heldForTrueReasons(results)
	c.settled(2)
	c.Lab.Network.Close()
	got := c.Lab.Network.Total()
	if got.Sent == 0 || got.Lost.Total() != 0 || got.Reused != 0 {
		t.Errorf("packets: %+v", got)
	}
	c.noEpochTwice()
	t.Logf("%d links, %d kills, %d held when the command ended, %d packets, none lost", chaosLinks, kills, held, got.Sent)
}

func newChaos(t *testing.T) *chaos {
	t.Helper()
	dir := t.TempDir()
	sockets, err := os.MkdirTemp("", "keyorch-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(sockets) })
	stack, err := devstack.Start(t.Context(), devstack.Options{Data: filepath.Join(dir, "data")})
	must(t, err)
	l := &lab.Lab{Stack: stack, Network: sim.NewNetwork(sim.Options{}), Dir: dir, Logger: slog.New(slog.DiscardHandler)}
	c := &chaos{T: t, Binary: &lab.Binary{Lab: l, Path: binary}, agents: make([]*lab.Process, mortalSites),
		fleet: lab.Fleet{Links: chaosLinks, Sites: chaosSites, Drain: 500 * time.Millisecond}}
	listener, err := net.Listen("unix", filepath.Join(sockets, "sim.sock"))
	must(t, err)
	serving, stopServing := context.WithCancel(context.Background())
	go func() { _ = l.Network.Serve(serving, listener) }()
	documents := c.fleet.Documents()
	for i := range mortalSites { // their devices are reached from other processes
		here := fmt.Sprintf("{site: %s, device: {kind: sim}}", c.fleet.Site(i))
		there := fmt.Sprintf("{site: %s, device: {kind: sim, network: \"unix://%s\"}}", c.fleet.Site(i), listener.Addr())
		documents = bytes.ReplaceAll(documents, []byte(here), []byte(there))
	}
	c.topo, err = l.Declare(t.Context(), documents)
	must(t, err)
	err = stack.Provision(t.Context(), c.topo)
	must(t, err)
	worker, err := c.Worker(t.Context())
	must(t, err)
	immortal := c.topo
	immortal.Sites = immortal.Sites[mortalSites:]
	crew := l.Crew(context.WithoutCancel(t.Context()), immortal)
	for i := range mortalSites {
		c.start(i)
	}
	c.store, err = l.Store(t.Context())
	must(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	c.view, err = c.store.View(ctx)
	must(t, err)
	t.Cleanup(func() {
		worker.Kill()
		for _, a := range c.agents {
			a.Kill()
		}
		_ = crew.Stop()
		l.Network.Close()
		stopServing()
		cancel()
		_ = c.store.Close()
		_ = stack.Stop(context.Background())
	})
	c.served()
	return c
}

func (c *chaos) start(i int) {
	var err error
	c.agents[i], err = c.Agent(context.Background(), c.fleet.Site(i))
	must(c.T, err)
}

func (c *chaos) served() {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), 3*time.Minute)
	defer cancel()
	must(c.T, lab.Served(ctx, c.view, c.topo))
}

// rotate rotates everything and wants one of the exit codes.
func (c *chaos) rotate(codes ...int) []workflows.Result {
	c.Helper()
	begun := time.Now()
	said := c.Lab.Keyorch(c.Context(), "rotate", "--all", "--timeout", "5m", "-o", "json")
	if !slices.Contains(codes, said.Code) {
		c.Fatalf("rotate ended with %d: %.2000s %.2000s", said.Code, said.Out, said.Err)
	}
	c.Logf("rotated in %v", time.Since(begun).Round(100*time.Millisecond))
	var out struct{ Links []workflows.Result }
	must(c.T, json.Unmarshal([]byte(said.Out), &out))
	if len(out.Links) != chaosLinks {
		c.Fatalf("it tells of %d links", len(out.Links))
	}
	return out.Links
}

// killAtRandom kills one agent after the other, each dead for up to two seconds,
// until it is told to stop. All are alive again then.
func (c *chaos) killAtRandom(stop <-chan struct{}) (kills int) {
	for {
		i := rand.IntN(mortalSites)
		c.agents[i].Kill()
		kills++
		pause := time.NewTimer(rand.N(2 * time.Second))
		select {
		case <-stop:
			c.start(i)
			return kills
		case <-pause.C:
			c.start(i)
		}
		select { // it lives for a while
		case <-stop:
			return kills
		case <-time.After(rand.N(2 * time.Second)):
		}
	}
}

// heldForTrueReasons wants every link rotated, or held for a node of it whose
// agent was killed, and counts those.
func (c *chaos) heldForTrueReasons(results []workflows.Result) (held int) {
	for _, r := range results {
		if r.Outcome == link.Rotated {
			continue
		}
		held++
		l, _ := c.topo.Link(r.Link)
		named := slices.ContainsFunc(slices.Concat(l.Upstream, l.Downstream), func(n keychain.NodeID) bool {
			return strings.Contains(r.Reason, string(n))
		})
		mortal := slices.ContainsFunc(c.topo.SitesOf(slices.Concat(l.Upstream, l.Downstream)), func(s keychain.SiteID) bool { return s < c.fleet.Site(mortalSites) })
		if r.Outcome != link.Held || !mortal || !named {
			c.Errorf("%s is %s: %q", r.Link, r.Outcome, r.Reason)
		}
	}
	return held
}

// settled waits until every link is Steady on an epoch.
func (c *chaos) settled(epoch keychain.Epoch) {
	c.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for {
		var late []keychain.LinkID
		for _, l := range c.topo.Links {
			if r, _ := c.view.Record(l.Name); r.State.Phase != link.Steady || r.State.To.Epoch != epoch || r.Owner != "" {
				late = append(late, l.Name)
			}
		}
		if len(late) == 0 {
			return
		}
		if time.Now().After(deadline) {
			r, _ := c.view.Record(late[0])
			c.Fatalf("%d links are not Steady on epoch %d, the first is %+v", len(late), epoch, r)
		}
		<-look.C
	}
}

// noEpochTwice looks for an epoch that two nodes, or two moments, know as
// different keys.
func (c *chaos) noEpochTwice() {
	c.Helper()
	for i, l := range c.topo.Links {
		known := map[keychain.Epoch]keychain.KCV{}
		check := func(r keychain.Ref) {
			if old := known[r.Epoch]; old != "" && r.KCV != "" && old != r.KCV {
				c.Errorf("%s: epoch %d is %s and %s", l.Name, r.Epoch, old, r.KCV)
			}
			if r.KCV != "" {
				known[r.Epoch] = r.KCV
			}
		}
		record, _ := c.view.Record(l.Name)
		check(record.State.To.Ref)
		for _, report := range c.view.Reports(l.Name) {
			check(report.Sends)
			for _, a := range report.Accepts {
				check(a)
			}
		}
		if record.State.Highest != 2 {
			c.Errorf("%s has used up epoch %d", l.Name, record.State.Highest)
		}
		if i%50 != 0 {
			continue
		}
		past, err := c.store.History(c.Context(), l.Name)
		must(c.T, err)
		for _, e := range past {
			check(e.From)
			check(e.To)
		}
	}
}
