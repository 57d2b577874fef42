package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/e2e/lab"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// wideFleet is links from each site to the next ones, spread over the nodes.
func wideFleet(links, sites, nodes int) string {
	var b strings.Builder
	doc := func(kind, name, spec string) {
		fmt.Fprintf(&b, "---\napiVersion: keyorch/v1\nkind: %s\nmetadata: {name: %s}\nspec: %s\n", kind, name, spec)
	}
	for s := range sites {
		doc("Site", fmt.Sprintf("s%d", s), "{}")
		for n := range nodes {
			doc("Node", fmt.Sprintf("s%d-n%d", s, n), fmt.Sprintf("{site: s%d, device: {kind: sim}}", s))
		}
	}
	for i := range links {
		up, n := i%sites, i/sites
		down := (up + 1 + n%(sites-1)) % sites
		doc("Link", fmt.Sprintf("link-%05d", i),
			fmt.Sprintf("{upstream: [s%d-n%d], downstream: [s%d-n%d]}", up, n%nodes, down, (n+1)%nodes))
	}
	return b.String()
}

// BenchmarkAgents rotates links with real agents, etcd and Vault, and a plain
// loop over link.Step in place of the workflows: what the agents' side can do.
// Run it with -cpuprofile to see where the time goes.
func BenchmarkAgents(b *testing.B) {
	for _, links := range []int{200, 1000} {
		b.Run(fmt.Sprintf("links=%d", links), func(b *testing.B) {
			l, topo := benchLab(b, wideFleet(links, 20, 3))
			d := newDriver(b, l, topo)
			for _, s := range topo.Sites {
				a := l.Agent(b.Context(), s.Name)
				defer func() { _ = a.Stop() }()
			}
			d.rotate(b) // the first keys
			l.Traffic(topo, 100*time.Millisecond)
			b.ResetTimer()
			before := cpu()
			for b.Loop() {
				d.rotate(b)
			}
			busy := cpu() - before
			l.Network.Close()
			total := l.Network.Total()
			if total.Lost.Total() > 0 || total.Sent == 0 {
				b.Errorf("%d of %d packets were lost", total.Lost.Total(), total.Sent)
			}
			rotated := float64(links * b.N)
			b.ReportMetric(rotated/b.Elapsed().Seconds(), "links/s")
			b.ReportMetric(float64(busy.Microseconds())/rotated, "cpu-us/link")
		})
	}
}

// BenchmarkIdleAgents is what links cost whose agents are connected and that
// nobody rotates, servers included: in percent of one core.
func BenchmarkIdleAgents(b *testing.B) {
	for _, links := range []int{1000, 10000} {
		b.Run(fmt.Sprintf("links=%d", links), func(b *testing.B) {
			l, topo := benchLab(b, wideFleet(links, 20, 3))
			d := newDriver(b, l, topo)
			for _, s := range topo.Sites {
				a := l.Agent(b.Context(), s.Name)
				defer func() { _ = a.Stop() }()
			}
			d.rotate(b)
			b.ResetTimer()
			before, began := cpu(), time.Now()
			for b.Loop() {
				select {
				case <-time.After(time.Minute): // of nothing happening: that is what is measured
				case <-b.Context().Done():
				}
			}
			b.ReportMetric(100*float64(cpu()-before)/float64(time.Since(began)), "%core")
		})
	}
}

// cpu is the processor time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// driver rotates links as the workflows do, with nothing between it and the
// store.
type driver struct {
	store  *store.Store
	view   *store.View
	minter *custody.Custody
	links  []keychain.LinkID
	topo   map[keychain.LinkID]topology.Link
	sites  map[keychain.NodeID]keychain.SiteID
}

func newDriver(b *testing.B, l *lab.Lab, topo topology.Topology) *driver {
	b.Helper()
	check := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	s, err := l.StoreAs(b.Context(), devstack.Worker)
	check(err)
	ctx, cancel := context.WithCancel(context.Background())
	b.Cleanup(func() { cancel(); _ = s.Close() })
	view, err := s.View(ctx)
	check(err)
	minter, err := l.CustodyAs(b.Context(), devstack.Worker, nil)
	check(err)
	d := &driver{
		store: s, view: view, minter: minter,
		topo: map[keychain.LinkID]topology.Link{}, sites: map[keychain.NodeID]keychain.SiteID{},
	}
	for _, n := range topo.Nodes {
		d.sites[n.Name] = n.Site
	}
	for _, k := range topo.Links {
		d.topo[k.Name] = k
		d.links = append(d.links, k.Name)
	}
	return d
}

// rotate brings every link to a new epoch.
func (d *driver) rotate(b *testing.B) {
	b.Helper()
	fail := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(b.Context(), 8*time.Minute)
	defer cancel()
	fail(d.view.CatchUp(ctx))
	news := d.view.Subscribe(nil)
	defer news.Close()
	records := d.begin(ctx, fail)
	for len(records) > 0 {
		select {
		case <-news.C:
		case <-ctx.Done():
			id := slices.Sorted(maps.Keys(records))[0]
			b.Fatalf("%d links are left, such as %s in %+v with %+v", len(records), id, records[id].State, d.view.Reports(id))
		}
		var changes []store.Change
		for _, id := range news.Take() {
			if r, ok := records[id]; ok {
				if next := d.advance(r, fail); next.State.Turn != r.State.Turn {
					changes = append(changes, store.Change{Record: next, Sites: d.sites})
				} else {
					records[id] = next
				}
			}
		}
		done, err := d.store.Commit(ctx, changes)
		fail(err)
		for i, c := range done {
			fail(c.Err)
			r := changes[i].Record
			r.Revision = c.Revision
			if records[r.Link] = r; r.State.Phase == link.Steady {
				delete(records, r.Link)
			}
		}
	}
}

// begin mints and stages a key for every link.
func (d *driver) begin(ctx context.Context, fail func(error)) map[keychain.LinkID]link.Record {
	records := make(map[keychain.LinkID]link.Record)
	changes := make([]store.Change, len(d.links))
	var minting errgroup.Group
	minting.SetLimit(16)
	for i, id := range d.links {
		r, ok := d.view.Record(id)
		if !ok {
			r = link.Record{Link: id, State: link.New(d.topo[id].Upstream, d.topo[id].Downstream)}
		}
		minting.Go(func() error {
			var err error
			if r.State, err = link.Step(r.State, link.Rotate{Epoch: r.State.Highest + 1}); err != nil {
				return err
			}
			wrapped, err := d.minter.Mint(ctx, id, r.State.To.Epoch, []keychain.SiteID{d.sites[r.State.Upstream[0]], d.sites[r.State.Downstream[0]]})
			changes[i] = store.Change{Record: r, Minted: wrapped, Sites: d.sites}
			return err
		})
	}
	fail(minting.Wait())
	done, err := d.store.Commit(ctx, changes)
	fail(err)
	for i, c := range done {
		fail(c.Err)
		changes[i].Record.Revision = c.Revision
		records[c.Link] = changes[i].Record
	}
	return records
}

// advance is r after the reports that there are, at most one phase further, or
// two past Draining, which waits for nothing here.
func (d *driver) advance(r link.Record, fail func(error)) link.Record {
	turn := r.State.Turn
	var err error
	for _, rep := range d.view.Reports(r.Link) {
		if r.State.Turn == turn {
			r.State, err = link.Step(r.State, link.Reported{Report: rep})
			fail(err)
		}
	}
	if r.State.Turn == turn && r.State.Phase == link.Staging && len(r.State.Awaiting) == 0 {
		r.State, err = link.Step(r.State, link.Cleared{Turn: turn})
		fail(err)
	}
	if r.State.Turn == turn && r.State.Phase == link.Draining {
		r.State, err = link.Step(r.State, link.Drained{Turn: turn})
		fail(err)
	}
	return r
}
