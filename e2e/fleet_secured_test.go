package e2e_test

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/keyorch/keyorch/e2e/devstack"
)

// securedRotations is how often each of two fleets is rotated, in turns.
const securedRotations = 3

// BenchmarkSecured rotates the same fleet on two stacks in turns, one with TLS and
// access control and one without, and prints what docs/benchmarks.md explains. The
// workers are in this process too: nothing but Go code can make one that speaks
// without TLS.
func BenchmarkSecured(b *testing.B) {
	for range b.N {
		small := bothWays(b, 1000, securedRotations, time.Second)
		fmt.Printf("\n%s", small)
		b.ReportMetric(small.ratio(), "x-plain/1k")
		if os.Getenv("KEYORCH_BENCH_LARGE") == "" {
			continue
		}
		large := bothWays(b, 10_000, 1, 4*time.Second)
		fmt.Printf("\n%s", large)
		b.ReportMetric(large.ratio(), "x-plain/10k")
	}
}

// way is what was measured of a fleet on a stack of one kind.
type way struct {
	applied, joined, first time.Duration
	rotations              []time.Duration
	processor              time.Duration // of everything, over the rotations
}

// took is the median of the rotations.
func (w way) took() time.Duration {
	sorted := slices.Sorted(slices.Values(w.rotations))
	return sorted[len(sorted)/2]
}

// ways is the same fleet, secured and plain.
type ways struct {
	links          int
	secured, plain way
}

func (w ways) ratio() float64 { return w.secured.took().Seconds() / w.plain.took().Seconds() }

// String is a table, in Markdown.
func (w ways) String() string {
	row := func(what string, a, b time.Duration) string {
		return fmt.Sprintf("| %s | %s | %s | %.2f |\n", what, seconds(a), seconds(b), a.Seconds()/b.Seconds())
	}
	return fmt.Sprintf("### %d links over %d sites, with TLS and access control and without\n\n", w.links, benchSites) +
		"| figure | secured | plain | ratio |\n| --- | ---: | ---: | ---: |\n" +
		row("`keyorch apply`", w.secured.applied, w.plain.applied) +
		row("agents of all sites connected", w.secured.joined, w.plain.joined) +
		row("first keys", w.secured.first, w.plain.first) +
		row("**`keyorch rotate --all`**", w.secured.took(), w.plain.took()) +
		row("processor time of a rotation", w.secured.processor, w.plain.processor) +
		fmt.Sprintf("\nrotations, in turns: %v and %v\n", w.secured.rotations, w.plain.rotations)
}

func bothWays(b *testing.B, links, rotations int, interval time.Duration) ways {
	b.Helper()
	w := ways{links: links}
	secured, plain := newFleet(b, links, interval, devstack.Options{}), newFleet(b, links, interval, devstack.Options{Plain: true})
	w.secured, w.plain = secured.begin(), plain.begin()
	for range rotations {
		secured.again(&w.secured, rotations)
		plain.again(&w.plain, rotations)
	}
	for _, f := range []*fleet{secured, plain} {
		f.Lab.Network.Close()
		f.count()
		f.stop()
	}
	return w
}

// begin starts a worker and the agents and gives all links a key.
func (f *fleet) begin() way {
	f.Helper()
	f.inside = f.Lab.Worker(f.Context())
	f.crew()
	w := way{applied: f.figures.applied, joined: f.figures.joined, first: f.rotate(nil)}
	f.Lab.Traffic(f.topo, f.interval)
	return w
}

// again rotates once more, the first of n times or a later one.
func (f *fleet) again(w *way, n int) {
	f.Helper()
	before := cpuOf(f.B, os.Getpid())
	w.rotations = append(w.rotations, f.rotate(nil))
	w.processor += (cpuOf(f.B, os.Getpid()) - before) / time.Duration(n)
}
