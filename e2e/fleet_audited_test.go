package e2e_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/e2e/devstack"
)

const (
	// auditedPairs is how often a fleet is rotated with the trail and without it.
	auditedPairs = 9
	// afterwards is how long processor time is counted on after a rotation: until the scribe
	// has had the end of the trail signed, which it does when nothing came for two seconds.
	afterwards = 3 * time.Second
)

// Where the trail stands in etcd.
const (
	trailInbox = "/keyorch/v1/trail/inbox/"
	trailHead  = "/keyorch/v1/trail/head"
	scribeDuty = "/keyorch/v1/duties/scribe"
)

// BenchmarkAudited rotates one fleet in turns with the audit trail and without it, and
// prints what docs/benchmarks.md explains. keyorch has no switch that turns the trail off, and
// gets none for this: etcd loses the records before it sees them, and no scribe runs, since
// somebody else has its duty.
func BenchmarkAudited(b *testing.B) {
	for range b.N {
		small := auditedFleet(b, 1000, auditedPairs, time.Second)
		fmt.Printf("\n%s", small)
		b.ReportMetric(small.ratio(tookOf), "x-unaudited/1k")
		b.ReportMetric(small.ratio(usedOf), "x-processor/1k")
		if os.Getenv("KEYORCH_BENCH_LARGE") == "" {
			continue
		}
		large := auditedFleet(b, 10_000, 3, 4*time.Second)
		fmt.Printf("\n%s", large)
		b.ReportMetric(large.ratio(tookOf), "x-unaudited/10k")
	}
}

// deaf stands before etcd. While it is on, the records that a transaction brings for the
// trail get lost, and nothing else of it.
type deaf struct {
	on   atomic.Bool
	mu   sync.Mutex
	lost [][]byte // entries of inboxes
}

func (d *deaf) intercept(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if txn, ok := req.(*pb.TxnRequest); ok && d.on.Load() {
		d.strip(txn)
	}
	return next(ctx, req)
}

func (d *deaf) strip(txn *pb.TxnRequest) {
	txn.Success = slices.DeleteFunc(txn.Success, func(op *pb.RequestOp) bool {
		if inner := op.GetRequestTxn(); inner != nil {
			d.strip(inner)
		}
		put := op.GetRequestPut()
		if put == nil || !strings.HasPrefix(string(put.Key), trailInbox) {
			return false
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.lost = append(d.lost, put.Value)
		return true
	})
}

// entries are what got lost.
func (d *deaf) entries() [][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lost)
}

// oneRotation is one of a fleet, with the trail or without it.
type oneRotation struct {
	took, used time.Duration // used is the processor time of everything
	records    int           // that the trail has of it, or that got lost
	// What was written to etcd.
	transactions, keys, bytes int
}

func tookOf(r oneRotation) time.Duration { return r.took }
func usedOf(r oneRotation) time.Duration { return r.used }

// audited is the same fleet, with the trail and without it.
type audited struct {
	links         int
	with, without []oneRotation
	// making is the processor time of writing the records of one rotation in JSON, which
	// keyorch does without the trail too.
	making       time.Duration
	load, loaded string // of this machine, before and after
}

// ratio is the median of those of the pairs.
func (a audited) ratio(of func(oneRotation) time.Duration) float64 {
	ratios := a.ratios(of)
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

func (a audited) ratios(of func(oneRotation) time.Duration) []float64 {
	ratios := make([]float64, len(a.with))
	for i, with := range a.with {
		ratios[i] = of(with).Seconds() / of(a.without[i]).Seconds()
	}
	return ratios
}

func auditedFleet(b *testing.B, links, pairs int, interval time.Duration) audited {
	b.Helper()
	d := &deaf{}
	f := newFleet(b, links, interval, devstack.Options{Etcd: d.intercept})
	f.begin()
	etcd := etcdClient(b, f.Lab)
	defer func() { _ = etcd.Close() }()
	a := audited{links: links, load: load(b)}
	f.audited(etcd, d, true) // nobody counts the first
	for i := range pairs {
		first := i%2 == 0 // by turns, since what comes second finds a larger etcd
		one, other := f.audited(etcd, d, first), f.audited(etcd, d, !first)
		if !first {
			one, other = other, one
		}
		a.with, a.without = append(a.with, one), append(a.without, other)
		f.say("pair %d of %d: %.2f", i+1, pairs, one.took.Seconds()/other.took.Seconds())
	}
	a.loaded, a.making = load(b), d.making(b, pairs)
	f.Lab.Network.Close()
	f.count()
	f.stop()
	return a
}

// audited rotates all links, with the trail or without it.
func (f *fleet) audited(etcd *clientv3.Client, d *deaf, on bool) oneRotation {
	f.Helper()
	f.employ(etcd, on)
	d.on.Store(!on)
	f.calm()
	before, lost := f.head(etcd), len(d.entries())
	begun, used := time.Now(), cpuOf(f.B, os.Getpid())
	from := revision(f.B, etcd)
	r := oneRotation{took: f.rotate(nil)}
	<-time.After(time.Until(begun.Add(r.took + afterwards)))
	after := f.head(etcd)
	for range 300 { // on a busy machine it takes longer
		if r.records = int(after.Seq - before.Seq); !on || r.records >= 7*f.Links && after.Signed == after.Seq {
			break
		}
		<-time.After(200 * time.Millisecond)
		after = f.head(etcd)
	}
	r.used = cpuOf(f.B, os.Getpid()) - used
	w := writtenBetween(f.B, etcd, from, revision(f.B, etcd)) // now, while etcd has nothing after that to tell
	r.transactions, r.keys, r.bytes = len(w.transactions), w.keys, w.bytes
	switch {
	case on && (r.records < 7*f.Links || after.Signed != after.Seq):
		f.Errorf("the trail has %d records of the rotation, and is signed up to %d of %d", r.records, after.Signed, after.Seq)
	case !on && r.records != 0:
		f.Errorf("the trail has %d records of a rotation without it", r.records)
	case !on:
		r.records = countRecords(f.B, d.entries()[lost:])
	}
	return r
}

// employ gives the scribe's duty back to the worker, or takes it away.
func (f *fleet) employ(etcd *clientv3.Client, on bool) {
	f.Helper()
	const nobody = `{"who":"nobody"}`
	is, err := etcd.Get(f.Context(), scribeDuty)
	noError(f.B, err)
	working := len(is.Kvs) > 0 && string(is.Kvs[0].Value) != nobody
	switch {
	case on && !working:
		_, err = etcd.Delete(f.Context(), scribeDuty)
	case !on && working:
		_, err = etcd.Put(f.Context(), scribeDuty, nobody)
	}
	noError(f.B, err)
	for on && !working {
		<-time.After(50 * time.Millisecond)
		is, err := etcd.Get(f.Context(), scribeDuty)
		noError(f.B, err)
		working = len(is.Kvs) > 0
	}
}

// calm waits until nothing is left to do of what was before: a scribe that begins looks
// through the whole trail.
func (f *fleet) calm() {
	f.Helper()
	for range 40 {
		if share(f.B, 250*time.Millisecond, os.Getpid())[0] < 40 {
			return
		}
	}
	f.say("it does not come to rest")
}

func (f *fleet) head(etcd *clientv3.Client) (h audit.Head) {
	f.Helper()
	is, err := etcd.Get(f.Context(), trailHead)
	noError(f.B, err)
	for _, kv := range is.Kvs {
		noError(f.B, json.Unmarshal(kv.Value, &h))
	}
	return h
}

func countRecords(b *testing.B, entries [][]byte) (n int) {
	b.Helper()
	for _, e := range entries {
		var records []json.RawMessage
		noError(b, json.Unmarshal(e, &records))
		n += len(records)
	}
	return n
}

// making is how long it takes to write the records of one rotation in JSON.
func (d *deaf) making(b *testing.B, rotations int) time.Duration {
	b.Helper()
	var all []audit.Record
	for _, e := range d.entries() {
		var records []audit.Record
		noError(b, json.Unmarshal(e, &records))
		all = append(all, records...)
	}
	begun := time.Now()
	for _, r := range all {
		_, err := json.Marshal(r)
		noError(b, err)
	}
	return time.Since(begun) / time.Duration(rotations)
}

// load is how much else this machine has to do: the mean of a minute.
func load(b *testing.B) string {
	b.Helper()
	is, err := os.ReadFile("/proc/loadavg")
	noError(b, err)
	return strings.Fields(string(is))[0]
}

// String is a table, in Markdown.
func (a audited) String() string {
	median := func(all []oneRotation, of func(oneRotation) time.Duration) string {
		var values []time.Duration
		for _, r := range all {
			values = append(values, of(r))
		}
		slices.Sort(values)
		return seconds(values[len(values)/2])
	}
	row := func(what string, of func(oneRotation) time.Duration) string {
		return fmt.Sprintf("| %s | %s | %s | **%.2f** |\n", what, median(a.with, of), median(a.without, of), a.ratio(of))
	}
	fastest := func(all []oneRotation) time.Duration {
		return slices.MinFunc(all, func(x, y oneRotation) int { return cmp.Compare(x.took, y.took) }).took
	}
	perLink := func(all []oneRotation, of func(oneRotation) int) float64 {
		n := 0
		for _, r := range all {
			n += of(r)
		}
		return float64(n) / float64(len(all)*a.links)
	}
	count := func(what string, of func(oneRotation) int) string {
		x, y := perLink(a.with, of), perLink(a.without, of)
		return fmt.Sprintf("| %s | %.1f | %.1f | %.2f |\n", what, x, y, x/y)
	}
	best, other := fastest(a.with), fastest(a.without)
	return fmt.Sprintf("### %d links over %d sites, with the audit trail and without\n\n", a.links, benchSites) +
		"| figure | with | without | ratio |\n| --- | ---: | ---: | ---: |\n" +
		row("**`keyorch rotate --all`**", tookOf) + row("processor time of a rotation", usedOf) +
		fmt.Sprintf("| the fastest rotation | %s | %s | %.2f |\n", seconds(best), seconds(other), best.Seconds()/other.Seconds()) +
		count("transactions in etcd, for a link", func(r oneRotation) int { return r.transactions }) +
		count("keys in etcd, for a link", func(r oneRotation) int { return r.keys }) +
		count("written to etcd for a link, bytes", func(r oneRotation) int { return r.bytes }) +
		count("records for a link (without: lost)", func(r oneRotation) int { return r.records }) +
		fmt.Sprintf("\n%d pairs: %.2f; their processor time: %.2f; in both: writing the records in JSON, %s; load: %s to %s\n",
			len(a.with), a.ratios(tookOf), a.ratios(usedOf), seconds(a.making), a.load, a.loaded)
}
