package e2e_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/devices/sim"
	"github.com/keyorch/keyorch/e2e/devstack"
	"github.com/keyorch/keyorch/e2e/lab"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// What docs/benchmarks.md says of the fleets.
const (
	benchSites = 100
	benchDrain = 500 * time.Millisecond
	idleFor    = 20 * time.Second
	aloneFor   = 5 * time.Second
	// oneFleet is how long the rotation of a fleet may take before the benchmark
	// gives up.
	oneFleet = "10m"
)

// BenchmarkFleets rotates a thousand and ten thousand links over a hundred sites,
// with traffic on all of them, and prints what docs/benchmarks.md explains.
func BenchmarkFleets(b *testing.B) {
	for range b.N {
		small := rotateFleet(b, 1000, 3, time.Second)
		large := rotateFleet(b, 10_000, 1, 4*time.Second)
		fmt.Printf("\n%s%s", small, large)
		growth := large.took.Seconds() / small.took.Seconds()
		fmt.Printf("growth from 1,000 to 10,000 links: %.1f\n", growth)
		b.ReportMetric(small.took.Seconds(), "s/1k")
		b.ReportMetric(large.took.Seconds(), "s/10k")
		b.ReportMetric(growth, "growth")
		b.ReportMetric(float64(large.links)/large.took.Seconds(), "links/s")
		b.ReportMetric(small.ratio(), "x-floor/1k")
		b.ReportMetric(large.ratio(), "x-floor/10k")
		b.ReportMetric(float64(small.packets.Lost.Total()+large.packets.Lost.Total()), "lost")
		b.ReportMetric(large.workerMB, "worker-MB")
		b.ReportMetric(large.idle, "idle-%")
		b.ReportMetric(large.deadRatio(), "dead/alive")
	}
}

// fleet is one fleet on a stack of its own. The servers and the agents run in
// this process, the worker in one of its own.
type fleet struct {
	*testing.B
	lab.Fleet
	*lab.Binary
	topo     topology.Topology
	store    *store.Store
	worker   *lab.Process // or
	inside   *lab.Running // one in this process
	agents   *lab.Crew
	interval time.Duration // from one packet of a link to the next
	stop     func()
	epoch    keychain.Epoch // that all links are on, since nothing was ever aborted
	figures  figures
}

// rotateFleet measures one fleet, with so many rotations after the first keys.
func rotateFleet(b *testing.B, links, rotations int, interval time.Duration) figures {
	b.Helper()
	f := newFleet(b, links, interval, devstack.Options{})
	f.start()
	f.figures.firstKeys = f.rotate(nil)
	f.Lab.Traffic(f.topo, interval)
	f.figures.measured = f.measure(rotations)
	f.figures.alive = f.watched(nil)
	f.figures.dead = f.withDeadSite()
	f.Lab.Network.Close() // what it costs is not keyorch's
	f.count()
	f.idle()
	f.figures.workerMB = peakMB(b, f.worker.PID())
	f.stop()
	return f.figures
}

// say tells whoever waits how far it is.
func (f *fleet) say(format string, a ...any) {
	fmt.Fprintf(os.Stderr, "%d links: %s\n", f.Links, fmt.Sprintf(format, a...))
}

// newFleet declares a fleet on a new stack, as the operator does.
func newFleet(b *testing.B, links int, interval time.Duration, o devstack.Options) *fleet {
	b.Helper()
	dir := b.TempDir()
	o.Data = filepath.Join(dir, "data")
	stack, err := devstack.Start(b.Context(), o)
	noError(b, err)
	f := &fleet{B: b, Fleet: lab.Fleet{Links: links, Sites: benchSites, Drain: benchDrain}, interval: interval}
	l := &lab.Lab{Stack: stack, Network: sim.NewNetwork(sim.Options{}), Dir: dir, Logger: slog.New(slog.DiscardHandler)}
	f.Binary = &lab.Binary{Lab: l, Path: binary}
	f.stop = sync.OnceFunc(f.stopAll)
	b.Cleanup(f.stop) // when it fails
	var sites []topology.Site
	for i := range f.Sites {
		sites = append(sites, topology.Site{Name: f.Site(i)})
	}
	begun := time.Now()
	noError(b, stack.Enrol(b.Context(), sites))
	f.say("100 sites enrolled in %s", seconds(time.Since(begun)))
	begun = time.Now()
	f.topo, err = l.Declare(b.Context(), f.Documents())
	noError(b, err)
	f.figures.applied = time.Since(begun)
	f.say("applied in %s", seconds(f.figures.applied))
	f.store, err = l.Store(b.Context())
	noError(b, err)
	return f
}

// start starts the worker and the agents, after it has been measured what the
// servers use by themselves.
func (f *fleet) start() {
	f.Helper()
	f.figures.idleAlone = share(f.B, aloneFor, os.Getpid())[0]
	var err error
	f.worker, err = f.Worker(f.Context())
	noError(f.B, err)
	f.crew()
}

// crew starts the agents, which works once the worker has come.
func (f *fleet) crew() {
	f.Helper()
	begun := time.Now()
	f.agents = f.Lab.Crew(f.Context(), f.topo)
	ctx, cancel := context.WithTimeout(f.Context(), 5*time.Minute)
	defer cancel()
	f.look(func(v *store.View) { noError(f.B, lab.Served(ctx, v, f.topo)) })
	f.figures.joined = time.Since(begun)
	f.say("all agents connected in %s", seconds(f.figures.joined))
}

// look opens a view of the store for as long as see takes: to keep one open costs
// something, and that is not keyorch's.
func (f *fleet) look(see func(v *store.View)) {
	f.Helper()
	ctx, stop := context.WithCancel(f.Context())
	defer stop()
	v, err := f.store.View(ctx)
	noError(f.B, err)
	see(v)
}

func (f *fleet) stopAll() {
	f.Helper()
	if f.worker != nil {
		if code := f.worker.Terminate(); code != 0 {
			f.Errorf("the worker ended with %d", code)
		}
	}
	if f.inside != nil {
		if err := f.inside.Stop(); err != nil {
			f.Error(err)
		}
	}
	if f.agents != nil {
		if err := f.agents.Stop(); err != nil {
			f.Error(err)
		}
	}
	f.Lab.Network.Close()
	if f.store != nil {
		_ = f.store.Close()
	}
	_ = f.Lab.Stack.Stop(context.WithoutCancel(f.Context()))
}

// rotate rotates all links as the operator does, and gives back how long the
// command took. Meanwhile runs beside it, when it is there.
func (f *fleet) rotate(meanwhile func()) time.Duration {
	f.Helper()
	begun := time.Now()
	ended := make(chan lab.Said, 1)
	go func() { ended <- f.Lab.Keyorch(f.Context(), "rotate", "--all", "--timeout", oneFleet) }()
	if meanwhile != nil {
		meanwhile()
	}
	said := <-ended
	f.epoch++
	if said.Code != 0 {
		f.Fatalf("rotate ended with %d: %.2000s%.2000s", said.Code, said.Out, said.Err)
	}
	took := time.Since(begun)
	f.say("rotated in %s", seconds(took))
	return took
}

// measure rotates all links several times, takes the median, and then the floor
// of that rotation.
func (f *fleet) measure(rotations int) measured {
	f.Helper()
	etcd := etcdClient(f.B, f.Lab)
	defer func() { _ = etcd.Close() }()
	var all []measured
	for range rotations {
		begun, r := time.Now(), measured{links: f.Links, unwraps: -f.agents.Unwraps()}
		from, here, there := revision(f.B, etcd), cpuOf(f.B, os.Getpid()), cpuOf(f.B, f.worker.PID())
		r.took = f.rotate(nil)
		r.cpuHere, r.cpuWorker = cpuOf(f.B, os.Getpid())-here, cpuOf(f.B, f.worker.PID())-there
		r.unwraps += f.agents.Unwraps()
		r.written = writtenBetween(f.B, etcd, from, revision(f.B, etcd))
		r.spent = pastOf(f.B, f.store, f.links(), begun)
		if n := len(r.spent.ended); n != f.Links {
			f.Errorf("%d of %d links have a new key", n, f.Links)
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b measured) int { return cmp.Compare(a.took, b.took) })
	r := all[len(all)/2]
	here := cpuOf(f.B, os.Getpid())
	r.floor = floor(f.B, f.Lab, f.topo, r.written, r.unwraps)
	r.cpuFloor = cpuOf(f.B, os.Getpid()) - here
	f.say("floor in %s", seconds(r.floor))
	return r
}

func (f *fleet) links() []keychain.LinkID {
	ids := make([]keychain.LinkID, len(f.topo.Links))
	for i, k := range f.topo.Links {
		ids[i] = k.Name
	}
	return ids
}

// count adds up the packets. None may be lost.
func (f *fleet) count() {
	f.Helper()
	f.figures.packets = f.Lab.Network.Total()
	if p := f.figures.packets; p.Lost.Total() > 0 || p.Reused > 0 || p.Sent == 0 {
		f.Errorf("of %d packets %d were lost and %d had a counter that was used before", p.Sent, p.Lost.Total(), p.Reused)
	}
}

// idle measures what everything uses when nothing is rotated. The counters of all
// links have moved just before, as they always have where there is traffic, so
// that agents have something to report.
func (f *fleet) idle() {
	f.Helper()
	f.Lab.Traffic(f.topo, 10*time.Millisecond)
	f.Lab.Network.Close()
	used := share(f.B, idleFor, os.Getpid(), f.worker.PID())
	f.figures.idleHere, f.figures.idleWorker = used[0], used[1]
	f.figures.idle = max(0, used[0]-f.figures.idleAlone) + used[1]
}

// benchLab is a stack on which the documents are declared.
func benchLab(b *testing.B, documents string) (*lab.Lab, topology.Topology) {
	b.Helper()
	dir := b.TempDir()
	stack, err := devstack.Start(b.Context(), devstack.Options{Data: filepath.Join(dir, "data")})
	noError(b, err)
	b.Cleanup(func() { _ = stack.Stop(context.Background()) })
	topo, err := topology.Parse([]topology.Source{{Name: "bench.yaml", Data: []byte(documents)}}, wiring.Kinds(), topology.Topology{})
	noError(b, err)
	l := &lab.Lab{Stack: stack, Network: sim.NewNetwork(sim.Options{}), Dir: dir, Logger: slog.New(slog.DiscardHandler)}
	b.Cleanup(l.Network.Close)
	s, err := l.Store(b.Context())
	noError(b, err)
	defer func() { _ = s.Close() }()
	_, base, err := s.TopologyAt(b.Context())
	noError(b, err)
	_, err = s.Apply(b.Context(), base, topo)
	noError(b, err)
	noError(b, stack.Provision(b.Context(), topo))
	return l, topo
}
