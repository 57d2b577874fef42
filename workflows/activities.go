package workflows

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
	"golang.org/x/sync/errgroup"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// mintAtOnce bounds the calls to the custodian that one batch makes side by
// side.
const mintAtOnce = 16

// Activities is what a batch does in the world. Make one with NewActivities.
type Activities struct {
	store     Store
	view      View
	custodian Custodian
	runs      Runs
	drains    drains
}

// NewActivities wires the activities by hand.
func NewActivities(store Store, view View, custodian Custodian, runs Runs) *Activities {
	return &Activities{store: store, view: view, custodian: custodian, runs: runs}
}

// Begin takes every link of the request over for its owner, mints a key where a
// new epoch is due, and writes state and orders. It may be repeated: a link that
// its owner has already begun is answered as it stands. One link's trouble is
// its own.
func (a *Activities) Begin(ctx context.Context, q BeginRequest) ([]Begun, error) {
	defer beat(ctx)()
	// A worker that was cut off may still see an older topology than the operator.
	if err := a.view.CatchUp(ctx); err != nil {
		return nil, failure(err)
	}
	minting, err := a.store.Minting(ctx)
	if err != nil {
		return nil, failure(err)
	}
	records, err := a.store.Records(ctx, q.Links)
	if err != nil {
		return nil, failure(err)
	}
	why, err := a.unapproved(ctx, q, records)
	if err == nil && why == "" {
		why, err = a.unapprovedAbort(ctx, q, records)
	}
	if err != nil {
		return nil, failure(err)
	}
	if why != "" {
		return a.refuseAll(ctx, q, records, why)
	}
	declared := a.view.Topology()
	begun := make([]Begun, len(q.Links))
	changes := make([]Change, len(q.Links))
	var group errgroup.Group
	group.SetLimit(mintAtOnce)
	for i, id := range q.Links {
		group.Go(func() error {
			begun[i], changes[i] = a.begin(ctx, q, declared, recordOf(records, id))
			changes[i].MintedAt = minting
			return nil
		})
	}
	_ = group.Wait() // begin answers for each link; it never fails as a whole
	if err := a.commitBegun(ctx, begun, changes); err != nil {
		return nil, failure(err)
	}
	return begun, failure(a.noteDenials(ctx, q.Campaign, begun))
}

// commitBegun writes the changes of those links that have one.
func (a *Activities) commitBegun(ctx context.Context, begun []Begun, changes []Change) error {
	var at []int
	var due []Change
	for i, c := range changes {
		if c.Record.Link != "" {
			at, due = append(at, i), append(due, c)
		}
	}
	if len(due) == 0 {
		return nil
	}
	committed, err := a.store.Commit(ctx, due)
	if err != nil {
		return err
	}
	for k, c := range committed {
		b := &begun[at[k]]
		switch {
		case c.Err == nil:
			b.Record.Revision = c.Revision
		case fault.Is(c.Err, fault.Refused), fault.Is(c.Err, fault.Invalid):
			*b = Begun{Record: link.Record{Link: b.Record.Link}, Denied: told(c.Err)}
		default: // somebody else was faster; look again
			*b = Begun{Record: link.Record{Link: b.Record.Link}, Later: told(c.Err)}
		}
	}
	return nil
}

// begin works out what one link needs. A Change with an empty Record.Link means
// that nothing is to be written.
func (a *Activities) begin(ctx context.Context, q BeginRequest, t topology.Topology, r link.Record) (Begun, Change) {
	deny := func(format string, v ...any) (Begun, Change) {
		return Begun{Record: r, Denied: fmt.Sprintf(format, v...)}, Change{}
	}
	declared, ok := a.declared(t, r.Link)
	if !ok {
		return deny("no link %q is declared", r.Link)
	}
	if why := a.older(r.Link); why != "" {
		return deny("%s", why)
	}
	now := time.Now().UTC()
	if r.Owner == q.Owner && r.State.Phase != link.Steady {
		b := a.begunAs(r, declared) // begun before this try
		b.Renew = renewal(q, r, t.PolicyOf(declared).Tail, now)
		return b, Change{}
	}
	if r.Owner != "" && r.Owner != q.Owner && !a.leftBehind(q, r) {
		running, err := a.runs.Running(ctx, r.Owner)
		if err != nil {
			return Begun{Record: r, Later: told(err)}, Change{}
		}
		if running {
			return deny("it is being rotated by %s", r.Owner)
		}
	}
	if r.Revision == 0 {
		r.State = link.New(declared.Upstream, declared.Downstream)
	}
	for _, report := range a.view.Reports(r.Link) {
		r.State = applied(r.State, link.Reported{Report: report, At: now}) // losses count
	}
	exposed, _ := a.shutOut(t, r.State)
	if exposed != "" && q.Intent != ToAbort {
		// In the same write: without the excluded nodes nobody could tell any more.
		r.State = applied(r.State, link.Abort{Reason: exposed, At: now})
	}
	var having link.Members
	if q.Intent != ToAbort {
		having = a.having(r, declared)
	}
	r.State, r.Quarantined = settle(r.State, declared, having, now), stillDeclared(r.Quarantined, declared)

	if r.State.Phase != link.Steady { // left in flight, or its nodes have changed
		return a.adopt(q, t, declared, r, exposed, now)
	}
	if no := a.notNow(q, t, declared, r, now); no.Denied != "" {
		no.Record = r
		return no, Change{}
	}
	return a.renew(ctx, q, t, declared, r, now)
}

// adopt takes over a link in flight for the owner of q. Its key was minted for other nodes,
// of which one may be excluded by now: exposed says so.
func (a *Activities) adopt(q BeginRequest, t topology.Topology, declared topology.Link, r link.Record, exposed string, now time.Time) (Begun, Change) {
	q = a.calm(q)
	attempt := attemptOf(q, now)
	attempt.Minted = r.Last.Minted
	attempt.Urgent = attempt.Urgent || r.Last.Urgent // what an emergency has begun is urgent still
	attempt.Brief = attempt.Brief || r.Last.Brief
	b := Begun{Renew: renewal(q, r, t.PolicyOf(declared).Tail, now)}
	if q.Intent != ToAbort {
		b.Renew = cmp.Or(b.Renew, exposed)
	}
	b.Record = ownedBy(q, r, attempt)
	return b, Change{Record: b.Record, Sites: sites(t, r.State)}
}

// renew begins the next epoch of a link, with a key of its own.
func (a *Activities) renew(ctx context.Context, q BeginRequest, t topology.Topology, declared topology.Link, r link.Record, now time.Time) (Begun, Change) {
	change := Change{Sites: sites(t, r.State)}
	next := r.State.Highest + 1
	stepped, err := link.Step(r.State, link.Rotate{Epoch: next, At: now})
	if err != nil {
		return Begun{Record: r, Denied: err.Error()}, Change{}
	}
	// For those that send too: nobody else who sends to the same site may open it.
	wrapped, err := a.custodian.Mint(ctx, r.Link, next, t.SitesOf(slices.Concat(declared.Upstream, declared.Downstream)))
	switch {
	case fault.Is(err, fault.Refused), fault.Is(err, fault.Invalid), fault.Is(err, fault.Mismatch):
		return Begun{Record: r, Denied: told(err)}, Change{}
	case err != nil:
		return Begun{Record: r, Later: told(err)}, Change{}
	}
	r.State, change.Minted = stepped, wrapped
	change.Record = ownedBy(q, r, attemptOf(q, now))
	return a.begunAs(change.Record, declared), change
}

func attemptOf(q BeginRequest, now time.Time) link.Attempt {
	return link.Attempt{Campaign: q.Campaign, Outcome: link.Held, Begun: now, Minted: now, Urgent: q.Urgent || q.IgnoreWindows, Brief: q.Urgent}
}

// ownedBy is r in the hands of the owner of q.
func ownedBy(q BeginRequest, r link.Record, attempt link.Attempt) link.Record {
	r.Owner, r.Last = q.Owner, attempt
	r.Last.Epoch = r.State.Sends().Epoch
	return r
}

// begunAs is the answer about a link whose new key was minted for all its
// declared nodes.
func (a *Activities) begunAs(r link.Record, declared topology.Link) Begun {
	joins := joining(r.State, a.withoutAbsent(r, declared))
	return Begun{Record: r, Upstream: joins.Upstream, Downstream: joins.Downstream}
}

// Save writes records and the orders that follow from their states. It may be
// repeated. A link that somebody else has taken over is answered as gone.
func (a *Activities) Save(ctx context.Context, records []link.Record) ([]Saved, error) {
	defer beat(ctx)()
	declared := a.view.Topology()
	changes := make([]Change, len(records))
	for i, r := range records {
		changes[i] = Change{Record: r, Sites: sites(declared, r.State)}
		if before, ok := a.view.Record(r.Link); ok && before.Revision == r.Revision {
			changes[i].Confirmed = before.State.Confirmations(a.view.Reports(r.Link))
		}
	}
	committed, err := a.store.Commit(ctx, changes)
	if err != nil {
		return nil, failure(err)
	}
	saved := make([]Saved, len(records))
	var doubtful []keychain.LinkID
	for i, c := range committed {
		saved[i].Revision = c.Revision
		if c.Err != nil {
			saved[i].Gone = told(c.Err)
			doubtful = append(doubtful, records[i].Link)
		}
	}
	if len(doubtful) == 0 {
		return saved, nil
	}
	// An earlier try of this very call may have written it before it was cut off.
	now, err := a.store.Records(ctx, doubtful)
	if err != nil {
		return nil, failure(err)
	}
	for i, want := range records {
		if got := recordOf(now, want.Link); saved[i].Gone != "" && sameVersion(got, want) {
			saved[i] = Saved{Revision: got.Revision}
		}
	}
	return saved, nil
}

// sameVersion reports whether got is want as it was written. The Turn rises with
// every phase and only one owner has a link, so these tell.
func sameVersion(got, want link.Record) bool {
	return got.Owner == want.Owner && got.Last.Campaign == want.Last.Campaign &&
		got.State.Turn == want.State.Turn && got.State.Phase == want.State.Phase &&
		slices.Equal(got.State.Lost, want.State.Lost) &&
		slices.Equal(got.State.Upstream, want.State.Upstream) &&
		slices.Equal(got.State.Downstream, want.State.Downstream)
}

// applied is s after e, or s where e does not fit: for events that may or may
// not have anything to say.
func applied(s link.State, e link.Event) link.State {
	after, err := link.Step(s, e)
	if err != nil {
		return s
	}
	return after
}

func recordOf(records []link.Record, id keychain.LinkID) link.Record {
	i := slices.IndexFunc(records, func(r link.Record) bool { return r.Link == id })
	if i < 0 {
		return link.Record{Link: id}
	}
	return records[i]
}

func sites(t topology.Topology, s link.State) map[keychain.NodeID]keychain.SiteID {
	at := map[keychain.NodeID]keychain.SiteID{}
	for _, id := range s.Nodes() {
		if n, ok := t.Node(id); ok {
			at[id] = n.Site
		}
	}
	return at
}

// beat heartbeats until the returned function is called, so that a killed
// worker is noticed within seconds.
func beat(ctx context.Context) (stop func()) {
	done := make(chan struct{})
	var over sync.WaitGroup
	over.Go(func() {
		tick := time.NewTicker(heartbeat / 4)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
				activity.RecordHeartbeat(ctx)
			}
		}
	})
	return func() { close(done); over.Wait() }
}
