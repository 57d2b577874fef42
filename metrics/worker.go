package metrics

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// View is what the figures of the fleet are made from.
type View interface {
	Topology() topology.Topology
	Record(id keychain.LinkID) (link.Record, bool)
	Records() []link.Record
	// Reports has the latest report of each node about a link.
	Reports(id keychain.LinkID) []keychain.Report
	// Present is those of nodes that an agent serves now.
	Present(nodes []keychain.NodeID) []keychain.NodeID
	Campaigns() []campaign.Record
	// Subscribe tells of changes that concern the links, or any link for nil.
	Subscribe(ids []keychain.LinkID) Subscription
}

// Subscription tells which links have news.
type Subscription interface {
	// Changed is signalled when there is something to Take.
	Changed() <-chan struct{}
	// Take gives the links that have changed since the last Take.
	Take() []keychain.LinkID
	Close()
}

// Worker is the metrics of one worker. It is safe for concurrent use.
type Worker struct {
	set      *set
	fleet    atomic.Pointer[fleet] // nil while no view is watched
	temporal *temporal
	now      func() time.Time

	rotations counter
	rotating  histogram
	batches   histogram
	commits   histogram
	etcd      histogram
	vault     histogram
	notices   counter
	waiting   gauge
	failing   gauge
}

// NewWorker is the metrics of a worker that works on this task queue of Temporal.
func NewWorker(queue string) *Worker {
	s := newSet(WorkerDeclarations())
	w := &Worker{
		set: s, temporal: newTemporal(queue), now: time.Now,
		rotations: s.counter(nameRotations), rotating: s.histogram(nameRotating),
		batches: s.histogram(nameBatchLinks), commits: s.histogram(nameCommitLinks),
		etcd: s.histogram(nameEtcd), vault: s.histogram(nameVault),
		notices: s.counter(nameNotices), waiting: s.gauge(nameWaiting), failing: s.gauge(nameFailing),
	}
	for _, o := range outcomes() {
		w.rotations.vec.WithLabelValues(o) // so that it is there before the first
	}
	s.registry.MustRegister(newScrape(s, &w.fleet), w.temporal)
	return w
}

// Handler answers scrapes. Trouble with single figures goes to log.
func (w *Worker) Handler(log *slog.Logger) http.Handler { return w.set.handler(log) }

// Temporal takes in what Temporal's SDK counts.
func (w *Worker) Temporal() client.MetricsHandler { return temporalHandler{to: w.temporal} }

// EtcdRequest is told of every exchange with etcd, as store.Config.Observe is.
func (w *Worker) EtcdRequest(op string, took time.Duration, err error) {
	w.etcd.took(took, op, outcomeOf(err))
}

// VaultRequest is told of every request to Vault, as custody.Config.Observe is.
func (w *Worker) VaultRequest(op string, took time.Duration, err error) {
	w.vault.took(took, op, outcomeOf(err))
}

// Began is told of a batch of so many links that was begun.
func (w *Worker) Began(links int) { w.batches.observe(float64(links)) }

// Committed is told of so many links that were written in one call.
func (w *Worker) Committed(links int) { w.commits.observe(float64(links)) }

// Notified is told of an attempt to tell a webhook of this format something.
func (w *Worker) Notified(f topology.Format, err error) {
	outcome := noticeDelivered
	if err != nil {
		outcome = noticeFailed
	}
	w.notices.inc(string(f), outcome)
}

// NotifyDropped is told of an event that was given up.
func (w *Worker) NotifyDropped(f topology.Format) { w.notices.inc(string(f), noticeDropped) }

// NotifyStanding is told how many events wait, and how many webhooks take nothing.
func (w *Worker) NotifyStanding(waiting, failing map[topology.Format]int) {
	for _, f := range topology.Formats() {
		w.waiting.set(float64(waiting[f]), string(f))
		w.failing.set(float64(failing[f]), string(f))
	}
}

// settle is how long changes are collected before they are looked at: a batch
// changes its links many times within moments, and a rotation takes longer.
const settle = 100 * time.Millisecond

// Watch shows the fleet of view in the metrics and counts the rotations that end
// from now on, until ctx ends. What had ended before is not counted.
func (w *Worker) Watch(ctx context.Context, view View) {
	sub := view.Subscribe(nil)
	defer sub.Close()
	f := newFleet(view, sub, w.ended, w.now)
	w.fleet.Store(f)
	defer w.fleet.CompareAndSwap(f, nil)
	for {
		select {
		case <-sub.Changed():
		case <-ctx.Done():
			return
		}
		pause := time.NewTimer(settle)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
		f.refresh()
	}
}

// ended counts one rotation.
func (w *Worker) ended(a link.Attempt) {
	w.rotations.inc(string(a.Outcome))
	w.rotating.took(a.Ended.Sub(a.Begun), string(a.Outcome))
}

// outcomeOf is how a request ended, as a label.
func outcomeOf(err error) string {
	switch {
	case err == nil:
		return answered
	case errors.Is(err, context.Canceled):
		return cancelled
	}
	return fault.Of(err).String()
}
