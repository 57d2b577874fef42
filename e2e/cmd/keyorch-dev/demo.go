package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/devices/sim"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/e2e/lab"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

//go:embed demo.yaml
var demoTopology []byte

const (
	demoInterval = 2 * time.Millisecond // between packets, on each pair of nodes
	demoPatience = 4 * time.Second      // how long the operator waits for dc3
	demoReturn   = 20 * time.Second     // how long dc3 may take when it is back
	away         = keychain.SiteID("dc3")
)

func demoVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Rotate the keys of three sites, one of which does not answer, and count packets",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := os.MkdirTemp("", "keyorch-demo-")
			if err != nil {
				return fault.Wrap(fault.Unavailable, err, "make directory for the demo")
			}
			defer func() { _ = os.RemoveAll(dir) }()
			return tell(c.Context(), c.OutOrStdout(), dir)
		},
	}
}

// story is the demo under way.
type story struct {
	*lab.Lab
	out    io.Writer
	topo   topology.Topology
	store  *store.Store
	file   string
	begin  time.Time
	agents map[keychain.SiteID]*lab.Running
}

// tell runs the story, and fails where it does not happen.
func tell(ctx context.Context, out io.Writer, dir string) (err error) {
	s := &story{out: out, begin: time.Now(), file: filepath.Join(dir, "network.yaml"), agents: map[keychain.SiteID]*lab.Running{}}
	if err := os.WriteFile(s.file, demoTopology, 0o600); err != nil {
		return fault.Wrap(fault.Unavailable, err, "write topology of the demo")
	}
	s.topo, err = topology.Parse([]topology.Source{{Name: "demo.yaml", Data: demoTopology}}, wiring.Kinds(), topology.Topology{})
	if err != nil {
		return err
	}
	stack, err := devstack.Start(ctx, devstack.Options{Data: filepath.Join(dir, "data")})
	if err != nil {
		return err
	}
	defer func() { _ = stack.Stop(context.WithoutCancel(ctx)) }()
	s.Lab = &lab.Lab{Stack: stack, Network: sim.NewNetwork(sim.Options{}), Dir: dir, Logger: slog.New(slog.DiscardHandler)}
	defer s.Network.Close()
	if s.store, err = s.Store(ctx); err != nil {
		return err
	}
	defer func() { _ = s.store.Close() }()
	s.say("Real servers in this process: etcd %s, Temporal %s, Vault %s.", stack.EtcdEndpoint, stack.TemporalAddress, stack.VaultAddress)

	worker := s.Worker(ctx)
	defer func() { _ = worker.Stop() }()
	for _, chapter := range []func(context.Context) error{s.declare, s.firstKeys, s.withoutOneSite, s.itReturns} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	for _, a := range s.agents {
		defer func() { _ = a.Stop() }()
	}
	return s.count()
}

func (s *story) say(format string, a ...any) {
	_, _ = fmt.Fprintf(s.out, "\n[%4.1fs] %s\n", time.Since(s.begin).Seconds(), fmt.Sprintf(format, a...))
}

// operator runs a verb, shows it, and wants it to end with code.
func (s *story) operator(ctx context.Context, code int, args ...string) error {
	_, _ = fmt.Fprintf(s.out, "  $ keyorch %s\n", strings.ReplaceAll(strings.Join(args, " "), s.file, "network.yaml"))
	said := s.Keyorch(ctx, args...)
	for line := range strings.Lines(said.Out + said.Err) {
		_, _ = fmt.Fprintf(s.out, "  %s", line)
	}
	if said.Code != code {
		return fault.New(fault.Mismatch, "tell demo: keyorch %s ended with %d, not with %d", args[0], said.Code, code)
	}
	if code != 0 {
		_, _ = fmt.Fprintf(s.out, "  (exit code %d)\n", code)
	}
	return nil
}

func (s *story) declare(ctx context.Context) error {
	s.say("The network is declared: three sites, six links, a key for each.")
	if err := s.operator(ctx, 0, "apply", "-f", s.file); err != nil {
		return err
	}
	if err := s.Stack.Provision(ctx, s.topo); err != nil {
		return err
	}
	for _, site := range s.topo.Sites {
		s.agents[site.Name] = s.Agent(ctx, site.Name)
	}
	return nil
}

func (s *story) firstKeys(ctx context.Context) error {
	s.say("Every link gets its first key, and traffic begins: a packet every %v on every pair of nodes.", demoInterval)
	if err := s.operator(ctx, 0, "rotate", "--all"); err != nil {
		return err
	}
	s.Traffic(s.topo, demoInterval)
	return s.expect(ctx, func(keychain.LinkID) (link.Phase, keychain.Epoch) { return link.Steady, 1 })
}

// touches reports whether a link has a node at the site that is away.
func (s *story) touches(id keychain.LinkID) bool {
	l, _ := s.topo.Link(id)
	for _, site := range append(s.topo.SitesOf(l.Upstream), s.topo.SitesOf(l.Downstream)...) {
		if site == away {
			return true
		}
	}
	return false
}

func (s *story) withoutOneSite(ctx context.Context) error {
	s.say("The agent of %s goes away. Everything is rotated all the same.", away)
	if err := s.agents[away].Stop(); err != nil {
		return err
	}
	const someHeld = 4
	if err := s.operator(ctx, someHeld, "rotate", "--all", "--timeout", demoPatience.String()); err != nil {
		return err
	}
	if err := s.operator(ctx, 0, "status"); err != nil {
		return err
	}
	if err := s.operator(ctx, 0, "why", "dc1-dc3"); err != nil {
		return err
	}
	return s.expect(ctx, func(id keychain.LinkID) (link.Phase, keychain.Epoch) {
		if s.touches(id) {
			return link.Staging, 1
		}
		return link.Steady, 2
	})
}

func (s *story) itReturns(ctx context.Context) error {
	s.say("The agent of %s comes back. Nobody asks for anything.", away)
	s.agents[away] = s.Agent(ctx, away)
	ctx, cancel := context.WithTimeout(ctx, demoReturn)
	defer cancel()
	view, err := s.store.View(ctx)
	if err != nil {
		return err
	}
	sub := view.Subscribe(nil)
	defer sub.Close()
	back := time.Now()
	for {
		waiting := 0
		for _, r := range view.Records() {
			if r.State.Phase != link.Steady || r.State.To.Epoch != 2 {
				waiting++
			}
		}
		if waiting == 0 {
			_, _ = fmt.Fprintf(s.out, "  all six links are Steady on epoch 2, %.1fs later\n", time.Since(back).Seconds())
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Mismatch, "tell demo: %d links did not finish within %v of the return of %s", waiting, demoReturn, away)
		case <-sub.C:
			sub.Take()
		}
	}
}

// expect wants every link in a phase and sending an epoch.
func (s *story) expect(ctx context.Context, want func(keychain.LinkID) (link.Phase, keychain.Epoch)) error {
	records, err := s.store.Records(ctx, nil)
	if err != nil {
		return err
	}
	if len(records) != len(s.topo.Links) {
		return fault.New(fault.Mismatch, "tell demo: %d links have a record, not %d", len(records), len(s.topo.Links))
	}
	for _, r := range records {
		phase, epoch := want(r.Link)
		if r.State.Phase != phase || r.State.Sends().Epoch != epoch {
			return fault.New(fault.Mismatch, "tell demo: %s is %v and sends epoch %d, not %v and %d",
				r.Link, r.State.Phase, r.State.Sends().Epoch, phase, epoch)
		}
	}
	return nil
}

// count prints the table, and fails if a packet was lost.
func (s *story) count() error {
	s.Network.Close()
	for s.Network.Total().InFlight > 0 { // it arrives within the network's latency
		time.Sleep(time.Millisecond)
	}
	s.say("What the traffic saw, from the first key to the end:")
	t := tabwriter.NewWriter(s.out, 0, 4, 3, ' ', 0)
	_, _ = fmt.Fprintln(t, "  LINK\tWITHOUT "+strings.ToUpper(string(away))+"\tAT THE END\tPACKETS SENT\tLOST")
	var sent, lost uint64
	for _, l := range s.topo.Links {
		stats := s.Network.Stats(l.Name)
		during := "rotated to epoch 2"
		if s.touches(l.Name) {
			during = "held, kept epoch 1"
		}
		_, _ = fmt.Fprintf(t, "  %s\t%s\tepoch 2\t%d\t%d\n", l.Name, during, stats.Sent, stats.Lost.Total())
		sent, lost = sent+stats.Sent, lost+stats.Lost.Total()
	}
	_, _ = fmt.Fprintf(t, "  total\t\t\t%d\t%d\n", sent, lost)
	_ = t.Flush()
	if lost > 0 || sent == 0 {
		return fault.New(fault.Mismatch, "tell demo: %d of %d packets were lost", lost, sent)
	}
	s.say("Two sites have their new key, the third got it when it came back, and of %d packets none was lost.", sent)
	return nil
}
