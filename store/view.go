package store

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// View is what a worker and an operator look at, kept current by two watches:
// everything but the orders, the batches of campaigns and the past of links. While etcd is away it shows what was last known. It is
// safe for concurrent use, and what it gives out must not be modified.
type View struct {
	s    *Store
	life context.Context

	mu     sync.RWMutex
	links  map[keychain.LinkID]*linkFacts
	agents map[keychain.NodeID][]sited
	// on has the links whose records name a node.
	on map[keychain.NodeID]map[keychain.LinkID]struct{}

	campaigns map[string]campaign.Record
	denials   map[string]map[keychain.LinkID]campaign.Denial
	decided   decided
	consents  consents

	// plain is made from declared, and topology from plain and the policies in force, when
	// they are asked for; until then they are nil.
	declared        declared
	plain, topology *topology.Topology
	broken          map[string]error
	// rev is up to where the facts and the topology are current.
	rev struct{ facts, topology int64 }
	// streams is where to ask how far the watches are.
	streams struct{ facts, topology context.Context }
	// loads is how often they were read as a whole.
	loads struct{ facts, topology int }
	// moved is closed, and replaced, when rev rises.
	moved chan struct{}
	subs  map[*Subscription]struct{}
	// ask has a value while somebody wants to know how far the watches are.
	ask chan struct{}
}

// linkFacts is what is known of one link.
type linkFacts struct {
	record  link.Record                         // zero Revision: none
	sites   map[keychain.NodeID]keychain.SiteID // where the orders of its nodes are
	reports []reported                          // sorted by node, then site
}

// reported is one node's report, and where it stands.
type reported struct {
	site   keychain.SiteID
	mod    int64
	report keychain.Report
}

// sited is an agent and the site for which it serves a node: two at once only
// while a node moves.
type sited struct {
	site  keychain.SiteID
	agent Agent
}

// View returns after everything has been read once, and stays current until ctx
// ends. While etcd is away it waits. It returns ctx's error in its chain when
// ctx ends first, and Refused when etcd denies the permission.
func (s *Store) View(ctx context.Context) (*View, error) {
	life, end := context.WithCancelCause(ctx)
	v := &View{
		s: s, life: life,
		declared: make(declared),
		broken:   make(map[string]error),
		moved:    make(chan struct{}),
		subs:     make(map[*Subscription]struct{}),
		ask:      make(chan struct{}, 1),
	}
	v.streams.facts, v.streams.topology = over(), over()
	v.forgetFacts()
	closed := context.AfterFunc(s.life, func() { end(fault.New(fault.Unavailable, "the store was closed")) })
	context.AfterFunc(life, func() { closed() })
	// When one of the two gives up, so does the other.
	go func() { end(s.follow(life, s.keys.facts(), factsFollower{v})) }()
	go func() { end(s.follow(life, s.keys.topology(), topologyFollower{v})) }()
	go v.askOnDemand()
	if err := v.WaitRevision(ctx, 1); err != nil {
		end(err)
		return nil, fault.Wrap(fault.Of(err), err, "read everything from etcd")
	}
	return v, nil
}

// Revision is the revision of etcd up to which the view is current, at least.
func (v *View) Revision() int64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return min(v.rev.facts, v.rev.topology)
}

// askAgain is how often a waiting WaitRevision asks etcd how far the watches
// are; an answer does not come while a watch is catching up.
const askAgain = 50 * time.Millisecond

// WaitRevision waits until the view is current up to rev, as Commit gave it. It
// fails only when ctx ends first, with its error, or the view, with what ended it.
func (v *View) WaitRevision(ctx context.Context, rev int64) error {
	var again *time.Ticker
	for {
		v.mu.RLock()
		now, moved := min(v.rev.facts, v.rev.topology), v.moved
		v.mu.RUnlock()
		if now >= rev {
			return nil
		}
		if again == nil {
			again = time.NewTicker(askAgain)
			defer again.Stop()
			v.askHowFar()
		}
		select {
		case <-moved:
		case <-again.C:
			v.askHowFar()
		case <-ctx.Done():
			return ctx.Err()
		case <-v.life.Done():
			return context.Cause(v.life)
		}
	}
}

// askHowFar has etcd tell the watches how far they are, once for all who want to
// know it at a time.
func (v *View) askHowFar() {
	select {
	case v.ask <- struct{}{}:
	default: // a question that is not on its way yet: its answer will do
	}
}

// over is a stream on which nothing is watched.
func over() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func (v *View) askOnDemand() {
	for {
		select {
		case <-v.ask:
			v.mu.RLock()
			facts, topology := v.streams.facts, v.streams.topology
			v.mu.RUnlock()
			v.s.progress(facts)
			v.s.progress(topology)
		case <-v.life.Done():
			return
		}
	}
}

// CatchUp waits until the view shows everything that was written before the call,
// the topology too: its two watches need not be equally far. Faults: Unavailable,
// Refused; and ctx's error when it ends first.
func (v *View) CatchUp(ctx context.Context) error {
	v.mu.RLock()
	seen, loads := v.rev, v.loads
	v.mu.RUnlock()
	resp, err := v.s.get(ctx, v.s.keys.topologyRevision(), clientv3.WithCountOnly())
	if err != nil {
		return v.s.failed(ctx, err, "ask etcd how far it is")
	}
	now := resp.Header.Revision
	if now < seen.facts || now < seen.topology { // it has gone back
		read := func() bool {
			return (now >= seen.facts || v.loads.facts > loads.facts) && (now >= seen.topology || v.loads.topology > loads.topology)
		}
		if err := v.reread(ctx, read); err != nil {
			return err
		}
	}
	return v.WaitRevision(ctx, resp.Header.Revision)
}

// Topology is what is declared, with the policies that are in force. It costs nothing
// until something is applied.
func (v *View) Topology() topology.Topology {
	v.mu.RLock()
	t := v.topology
	v.mu.RUnlock()
	if t != nil {
		return *t
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.declaredTopology()
}

// declaredTopology is Topology while the view is locked.
func (v *View) declaredTopology() topology.Topology {
	if v.topology == nil {
		made := v.plainTopology().Under(v.consents.policies)
		v.topology = &made
	}
	return *v.topology
}

// Record is the record of a link; false when there is none that can be read.
func (v *View) Record(id keychain.LinkID) (link.Record, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if f := v.links[id]; f != nil && f.record.Revision != 0 {
		return f.record, true
	}
	return link.Record{}, false
}

// Records is every record, sorted by link.
func (v *View) Records() []link.Record {
	v.mu.RLock()
	defer v.mu.RUnlock()
	records := make([]link.Record, 0, len(v.links))
	for _, f := range v.links {
		if f.record.Revision != 0 {
			records = append(records, f.record)
		}
	}
	slices.SortFunc(records, func(a, b link.Record) int { return cmp.Compare(a.Link, b.Link) })
	return records
}

// Reports is the latest report of every node about a link, sorted by node. Of a
// node that has moved to another site, it is the one with the highest Turn. What the
// agent of a site says of nodes that are not there does not count.
func (v *View) Reports(id keychain.LinkID) []keychain.Report {
	v.mu.RLock()
	defer v.mu.RUnlock()
	f := v.links[id]
	if f == nil {
		return nil
	}
	reports := make([]keychain.Report, 0, len(f.reports))
	var latest reported
	for _, r := range f.reports {
		if f.sites[r.report.Node] != r.site && !v.declaredAt(r.site, r.report.Node) {
			continue
		}
		last := len(reports) - 1
		switch {
		case last < 0 || reports[last].Node != r.report.Node:
			reports, latest = append(reports, r.report), r
		case r.report.Turn > latest.report.Turn || r.report.Turn == latest.report.Turn && r.mod > latest.mod:
			reports[last], latest = r.report, r
		}
	}
	return reports
}

// Present gives those of nodes that an agent serves now, in their order.
func (v *View) Present(nodes []keychain.NodeID) []keychain.NodeID {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var present []keychain.NodeID
	for _, n := range nodes {
		if _, ok := v.agent(n); ok {
			present = append(present, n)
		}
	}
	return present
}

// Agent is who serves a node now; false when nobody does.
func (v *View) Agent(node keychain.NodeID) (Agent, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.agent(node)
}

// agent is Agent while the view is locked. An agent may write itself down for any
// node at its site, so it has to be one that is there.
func (v *View) agent(node keychain.NodeID) (Agent, bool) {
	for _, a := range slices.Backward(v.agents[node]) {
		if v.declaredAt(a.site, node) || v.orderedAt(a.site, node) {
			return a.agent, true
		}
	}
	return Agent{}, false
}

// declaredAt reports whether a node is declared for a site, and orderedAt whether
// orders for it have been written there. The view is locked.
func (v *View) declaredAt(site keychain.SiteID, node keychain.NodeID) bool {
	_, ok := v.declared[v.s.keys.node(site, node)]
	return ok
}

func (v *View) orderedAt(site keychain.SiteID, node keychain.NodeID) bool {
	for id := range v.on[node] {
		if f := v.links[id]; f != nil && f.sites[node] == site {
			return true
		}
	}
	return false
}

// Broken has a Mismatch, which names the key, for every document that could not
// be read, sorted by key. The view goes on as if those were not there.
func (v *View) Broken() []error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(v.broken)) {
		errs = append(errs, v.broken[key])
	}
	return errs
}
