package agents

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

// countersEvery is how often counters alone are worth a report, where nobody waits
// for them. Traffic moves them all the time: with ten thousand links more often
// would be hundreds of writes a second that tell nobody anything.
const countersEvery = 5 * time.Minute

// reports carries what one node has to say into the store: many links in one
// transaction, only what has changed, and again until it stands there. A link's
// later report takes the place of an earlier one that has not gone out.
type reports struct {
	tenure   Tenure
	gather   time.Duration // how long a report waits for others
	every    time.Duration // how often counters alone are worth a report
	retry    *backoff.ExponentialBackOff
	log      *slog.Logger
	nonEmpty chan struct{} // has a token when there may be something to send

	mu      sync.Mutex
	stored  map[keychain.LinkID]store.Observation
	pending map[keychain.LinkID]letter
	sending map[keychain.LinkID]letter
	quiet   chan struct{}                           // closed when nothing is pending or being sent; else nil
	first   func(keychain.LinkID) store.Observation // what a link's first report is made from
}

// letter is a report on its way, and who waits for it.
type letter struct {
	store.Observation
	records []audit.Record // for the trail, with the report
	waiting []func(error)  // told when it stands in the store, or never will
}

// latest is the last report of link, on its way or not.
func (r *reports) latest(link keychain.LinkID) store.Observation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last(link)
}

func (r *reports) last(link keychain.LinkID) store.Observation {
	if l, ok := r.pending[link]; ok {
		return l.Observation
	}
	if l, ok := r.sending[link]; ok {
		return l.Observation
	}
	if o, ok := r.stored[link]; ok {
		return o
	}
	return r.first(link)
}

// change makes a new report of link out of the last one, and sends it if that
// says anything new.
func (r *reports) change(link keychain.LinkID, change func(*store.Observation)) {
	r.post(link, change, r.every, nil)
}

// count is change for a device that is looked at more often: its counters are
// worth a report each time, also when they stand still, which somebody waits for.
func (r *reports) count(link keychain.LinkID, change func(*store.Observation)) {
	r.post(link, change, 0, nil)
}

// tell is change, and calls stands when the store has it. A report that was taken
// over by a later one stands when that does.
func (r *reports) tell(link keychain.LinkID, change func(*store.Observation), stands func(error)) {
	r.post(link, change, r.every, stands)
}

// confirm is change, and waits until the store has it.
func (r *reports) confirm(ctx context.Context, link keychain.LinkID, change func(*store.Observation)) error {
	stands := make(chan error, 1)
	r.post(link, change, r.every, func(err error) { stands <- err })
	select {
	case err := <-stands:
		return err
	case <-ctx.Done():
		return fault.Wrap(fault.Unavailable, ctx.Err(), "report %s: etcd does not answer", link)
	}
}

// post makes a report. Counters alone are worth one after every, when they have
// changed, and always when every is zero.
func (r *reports) post(link keychain.LinkID, change func(*store.Observation), every time.Duration, stands func(error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now().UTC()
	before := r.last(link)
	o := before
	change(&o)
	records := o.Records
	o.Records = nil
	fresh := now.Sub(before.At) < every
	still := every > 0 && slices.Equal(o.Counters, before.Counters)
	if same(o, before) && (fresh || still) && len(records) == 0 {
		r.join(link, stands)
		return
	}
	o.At = now
	l := letter{o, slices.Concat(r.pending[link].records, records), r.pending[link].waiting}
	if stands != nil {
		l.waiting = append(l.waiting, stands)
	}
	r.pending[link] = l
	r.wake()
}

// join waits along with the last report of link, which says it all.
func (r *reports) join(link keychain.LinkID, stands func(error)) {
	if stands == nil {
		return
	}
	for _, onTheWay := range []map[keychain.LinkID]letter{r.pending, r.sending} {
		if l, ok := onTheWay[link]; ok {
			l.waiting = append(l.waiting, stands)
			onTheWay[link] = l
			return
		}
	}
	stands(nil)
}

func (r *reports) wake() {
	select {
	case r.nonEmpty <- struct{}{}:
	default:
	}
}

// run sends until ctx ends.
func (r *reports) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.nonEmpty:
		}
		if !pause(ctx, r.gather) {
			return
		}
		batch := r.take()
		if len(batch) == 0 {
			continue
		}
		err := r.tenure.Report(ctx, batch...)
		if r.done(err) {
			r.retry.Reset()
			continue
		}
		if ctx.Err() == nil {
			r.log.WarnContext(ctx, "cannot report, will try again", "links", len(batch), "error", err)
		}
		if !pause(ctx, r.retry.NextBackOff()) {
			return
		}
	}
}

// take moves what is pending to sending.
func (r *reports) take() []store.Observation {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sending, r.pending = r.pending, make(map[keychain.LinkID]letter)
	var batch []store.Observation
	for _, link := range slices.Sorted(maps.Keys(r.sending)) {
		o := r.sending[link].Observation
		o.Records = r.sending[link].records
		batch = append(batch, o)
	}
	return batch
}

// done settles what was being sent, and reports whether it is. What was not
// written is pending again, unless there is something newer; a report that can
// never be written is dropped.
func (r *reports) done(err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	final := err == nil || hopeless(err)
	if err != nil && final {
		r.log.Error("dropped a report", "error", err)
	}
	for link, l := range r.sending {
		switch newer, ok := r.pending[link]; {
		case final:
			r.stored[link] = l.Observation
			for _, w := range l.waiting {
				w(err)
			}
		case ok:
			newer.records = slices.Concat(l.records, newer.records)
			newer.waiting = append(newer.waiting, l.waiting...)
			r.pending[link] = newer
		default:
			r.pending[link] = l
		}
	}
	r.sending = nil
	if len(r.pending) > 0 {
		r.wake()
	} else if r.quiet != nil {
		close(r.quiet)
		r.quiet = nil
	}
	return final
}

// flush waits until everything has been sent, or ctx ends.
func (r *reports) flush(ctx context.Context) {
	r.mu.Lock()
	if len(r.pending)+len(r.sending) == 0 {
		r.mu.Unlock()
		return
	}
	if r.quiet == nil {
		r.quiet = make(chan struct{})
	}
	quiet := r.quiet
	r.mu.Unlock()
	select {
	case <-quiet:
	case <-ctx.Done():
	}
}

// hopeless reports whether every part of err is about a report that can never be
// written: an older one than what stands there, or a malformed one.
func hopeless(err error) bool {
	if many, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // each part is looked at
		return !slices.ContainsFunc(many.Unwrap(), func(e error) bool { return e != nil && !hopeless(e) })
	}
	k := fault.Of(err)
	return k == fault.Stale || k == fault.Invalid
}

// same reports whether a says nothing that b does not, apart from counters.
func same(a, b store.Observation) bool {
	return a.Turn == b.Turn && a.Sends == b.Sends && slices.Equal(a.Accepts, b.Accepts) &&
		slices.Equal(a.Lost, b.Lost) && slices.Equal(a.Started, b.Started) && slices.Equal(a.Held, b.Held) && slices.Equal(a.Repaired, b.Repaired) &&
		a.Fault == b.Fault && a.Message == b.Message && a.Since.Equal(b.Since)
}
