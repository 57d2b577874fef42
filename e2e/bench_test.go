package e2e_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/devices/sim"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/e2e/lab"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

const (
	benchLinks = 200
	benchNodes = 20 // on each of two sites
)

// fleet is two sites with a number of nodes each, and links from one to the
// other that wait for draining as long as given.
func fleet(links int, drain time.Duration) string {
	var b strings.Builder
	doc := func(kind, name, spec string) {
		fmt.Fprintf(&b, "---\napiVersion: keyorch/v1\nkind: %s\nmetadata: {name: %s}\nspec: %s\n", kind, name, spec)
	}
	doc("Policy", "bench", fmt.Sprintf("{drain: %v}", drain))
	for _, site := range []string{"left", "right"} {
		doc("Site", site, "{}")
		for n := range benchNodes {
			doc("Node", fmt.Sprintf("%s-%d", site, n), fmt.Sprintf("{site: %s, device: {kind: sim}}", site))
		}
	}
	for i := range links {
		doc("Link", fmt.Sprintf("link-%03d", i), fmt.Sprintf("{upstream: [left-%d], downstream: [right-%d], policy: bench}",
			i%benchNodes, (i/benchNodes+i)%benchNodes))
	}
	return b.String()
}

// BenchmarkRotate rotates 200 links of the simulated network in one batch, with
// traffic on all of them, and reports links a second beside the rate at which
// the same calls to Vault and etcd go without Temporal, in the same run.
func BenchmarkRotate(b *testing.B) {
	const drain = 100 * time.Millisecond
	l, topo := benchLab(b, fleet(benchLinks, drain))
	worker := l.Worker(b.Context())
	left, right := l.Agent(b.Context(), "left"), l.Agent(b.Context(), "right")
	defer func() { _, _, _ = worker.Stop(), left.Stop(), right.Stop() }()
	rotate := func() {
		if said := l.Keyorch(b.Context(), "rotate", "--all", "--timeout", "1m", "-o", "json"); said.Code != 0 {
			b.Fatalf("rotate ended with %d: %.2000s%s", said.Code, said.Out, said.Err)
		}
	}
	rotate() // the first keys
	l.Traffic(topo, 10*time.Millisecond)
	floor := callsAlone(b, l, topo)
	b.ResetTimer()
	for b.Loop() {
		rotate()
	}
	took := b.Elapsed() / time.Duration(b.N)
	l.Network.Close()
	total := l.Network.Total()
	if total.Lost.Total() > 0 || total.Sent == 0 {
		b.Errorf("%d of %d packets were lost", total.Lost.Total(), total.Sent)
	}
	b.ReportMetric(float64(benchLinks)/took.Seconds(), "links/s")
	b.ReportMetric(float64(benchLinks)/floor.Seconds(), "links/s-calls-alone")
	b.ReportMetric(float64(total.Lost.Total()), "packets-lost")
	b.ReportMetric(float64(total.Sent), "packets-sent")
}

// benchLab is a stack on which the documents are declared.
func benchLab(b *testing.B, documents string) (*lab.Lab, topology.Topology) {
	b.Helper()
	check := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	dir := b.TempDir()
	stack, err := devstack.Start(b.Context(), devstack.Options{Data: filepath.Join(dir, "data")})
	check(err)
	b.Cleanup(func() { _ = stack.Stop(context.Background()) })
	topo, err := topology.Parse([]topology.Source{{Name: "bench.yaml", Data: []byte(documents)}}, wiring.Kinds(), topology.Topology{})
	check(err)
	l := &lab.Lab{Stack: stack, Network: sim.NewNetwork(sim.Options{}), Dir: dir, Logger: slog.New(slog.DiscardHandler)}
	b.Cleanup(l.Network.Close)
	s, err := l.Store(b.Context())
	check(err)
	defer func() { _ = s.Close() }()
	_, base, err := s.TopologyAt(b.Context())
	check(err)
	_, err = s.Apply(b.Context(), base, topo)
	check(err)
	check(stack.Provision(b.Context(), topo))
	return l, topo
}

// callsAlone is how long the calls of one rotation of all links take with nothing
// between them: a key minted for each link, a record and its orders written for
// each phase, the key opened by both nodes, and a report of each node in each
// phase. The links are others than those that are rotated, of the same shape.
func callsAlone(b *testing.B, l *lab.Lab, topo topology.Topology) time.Duration {
	b.Helper()
	check := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	ctx := b.Context()
	s, err := store.Open(ctx, store.Config{Endpoints: []string{l.Stack.EtcdEndpoint}, Prefix: "/calls-alone"})
	check(err)
	defer func() { _ = s.Close() }()
	minter, err := custody.Open(custody.Config{Address: l.Stack.VaultAddress, Token: l.Stack.WorkerToken})
	check(err)
	token, err := l.Stack.AgentToken(ctx, "right")
	check(err)
	opener, err := custody.Open(custody.Config{Address: l.Stack.VaultAddress, Token: token})
	check(err)
	tenures := map[keychain.NodeID]*store.Tenure{}
	for _, n := range topo.Nodes {
		tenures[n.Name], err = s.Serve(ctx, n.Site, n.Name, store.Agent{Instance: "bench"})
		check(err)
	}

	begin := time.Now()
	changes := make([]store.Change, len(topo.Links))
	var minting errgroup.Group
	minting.SetLimit(16)
	for i, k := range topo.Links {
		minting.Go(func() error {
			state, err := link.Step(link.New(k.Upstream, k.Downstream), link.Rotate{Epoch: 1})
			if err != nil {
				return err
			}
			wrapped, err := minter.Mint(ctx, k.Name, 1, []keychain.SiteID{"right"})
			changes[i] = store.Change{
				Record: link.Record{Link: k.Name, State: state, Owner: "bench"}, Minted: wrapped,
				Sites: map[keychain.NodeID]keychain.SiteID{k.Upstream[0]: "left", k.Downstream[0]: "right"},
			}
			return err
		})
	}
	check(minting.Wait())
	var opening errgroup.Group
	opening.SetLimit(16)
	for _, c := range changes {
		for range 2 { // the node that accepts, and the node that sends
			opening.Go(func() error {
				key, err := opener.Unwrap(ctx, c.Record.Link, 1, c.Minted)
				key.Wipe()
				return err
			})
		}
	}
	check(opening.Wait())
	for range 5 { // Staging, Switching, Draining, Retiring, Steady
		done, err := s.Commit(ctx, changes)
		check(err)
		var reporting errgroup.Group
		reporting.SetLimit(16)
		for i := range changes {
			check(done[i].Err)
			c := &changes[i]
			c.Record.Revision = done[i].Revision
			for node, site := range c.Sites {
				reporting.Go(func() error {
					return tenures[node].Report(ctx, store.Observation{
						Site: site, Link: c.Record.Link, Report: keychain.Report{Node: node, Turn: c.Record.State.Turn},
					})
				})
			}
		}
		check(reporting.Wait())
		for i := range changes {
			changes[i].Record.State.Turn++ // as every phase does
		}
	}
	return time.Since(begin)
}
