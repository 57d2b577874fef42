package workflows_test

import (
	"context"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/workflows"
)

// world is keyorch in memory: a store that guards its records as etcd does, a
// view of it, a custodian, the list of running workflows, and nodes that obey
// what was committed. It watches the promise of the house all the time.
type world struct {
	t        *testing.T
	mu       sync.Mutex
	declared topology.Topology
	records  map[keychain.LinkID]link.Record
	shown    map[keychain.LinkID]link.Record // what a view that lags behind still shows
	reports  map[keychain.LinkID]map[keychain.NodeID]keychain.Report
	nodes    map[keychain.NodeID]*node
	subs     map[*subscription]struct{}
	running  map[string]bool
	minted   map[string]int
	watchers []*watcher
	broken   []string // how the promise was broken
	revision int64
	commits  int
	runs     error // what Running has to say, if not nil
	// mint is what the custodian has to say about a link, if not nil.
	mint func(keychain.LinkID) error
	// outage is what becomes of the n-th call of Commit, from 1.
	outage func(n int) outage

	fleets
	consents
}

// outage is a trouble of the whole store.
type outage int

const (
	fine outage = iota
	requestLost
	answerLost
)

// watcher does something once, when a record first looks as it wants.
type watcher struct {
	link keychain.LinkID
	ok   func(link.Record) bool
	do   func()
}

// newWorld declares links; each of their nodes stands at a site of its own.
func newWorld(t *testing.T, links ...topology.Link) *world {
	w := &world{
		t: t, records: map[keychain.LinkID]link.Record{}, shown: map[keychain.LinkID]link.Record{},
		reports: map[keychain.LinkID]map[keychain.NodeID]keychain.Report{}, nodes: map[keychain.NodeID]*node{},
		subs: map[*subscription]struct{}{}, running: map[string]bool{}, minted: map[string]int{},
	}
	w.declared.Policies = []topology.Policy{
		{Name: "quick", Drain: 20 * time.Millisecond, Wait: topology.DefaultWait, Tail: topology.DefaultTail},
		{Name: "minute", Drain: time.Minute, Wait: topology.DefaultWait, Tail: topology.DefaultTail},
	}
	for _, l := range links {
		w.declare(l)
	}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, b := range w.broken {
			t.Error("the promise was broken: " + b)
		}
	})
	return w
}

// pair is a link from one node to two, on the quick policy.
func pair(name string) topology.Link {
	return topology.Link{
		Name: keychain.LinkID(name), Policy: "quick",
		Upstream:   []keychain.NodeID{keychain.NodeID(name + "-up")},
		Downstream: []keychain.NodeID{keychain.NodeID(name + "-down1"), keychain.NodeID(name + "-down2")},
	}
}

// declare declares a link, anew or for the first time, with its nodes.
func (w *world) declare(l topology.Link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	more := topology.Topology{Links: []topology.Link{l}}
	for _, n := range slices.Concat(l.Upstream, l.Downstream) {
		more.Nodes = append(more.Nodes, topology.Node{Name: n, Site: keychain.SiteID("site-" + n)})
		if w.nodes[n] == nil {
			w.nodes[n] = &node{id: n, delay: 10 * time.Millisecond, at: map[keychain.LinkID]*device{}}
		}
	}
	w.declared = w.declared.Merge(more)
	w.tell(l.Name)
}

// established puts links on their first key, as an earlier rotation left them.
func (w *world) established(ids ...keychain.LinkID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		l, _ := w.declared.Link(id)
		w.records[id] = link.Record{Link: id, State: link.New(l.Upstream, l.Downstream)}
		w.walk(id, link.Rotate{Epoch: 1}, link.Steady)
	}
}

// leftIn is an established link that a workflow which has ended left in a phase,
// on its way from epoch 1 to 2.
func (w *world) leftIn(id keychain.LinkID, p link.Phase) {
	w.established(id)
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.records[id]
	r.Owner = "dead-1"
	w.records[id] = r
	w.walk(id, link.Rotate{Epoch: 2}, p)
}

// walk steps a link with nodes that obey at once until it enters a phase. The
// world is locked.
func (w *world) walk(id keychain.LinkID, first link.Event, until link.Phase) {
	w.step(id, first)
	for r := w.records[id]; r.State.Phase != until; r = w.records[id] {
		for _, n := range r.State.Nodes() {
			report := w.obey(w.nodes[n], id)
			w.report(id, report)
			w.step(id, link.Reported{Report: report})
		}
		if w.records[id].State.Phase == r.State.Phase {
			w.step(id, link.Cleared{Turn: r.State.Turn})
			w.step(id, link.Drained{Turn: r.State.Turn})
		}
	}
}

func (w *world) step(id keychain.LinkID, e link.Event) {
	r := w.records[id]
	s, err := link.Step(r.State, e)
	if err != nil {
		w.t.Errorf("step %s in %v: %v", id, r.State.Phase, err)
	}
	w.revision++
	r.State, r.Revision = s, w.revision
	w.records[id] = r
}

// kcv is the check value of the one right key of an epoch.
func kcv(id keychain.LinkID, e keychain.Epoch) keychain.KCV {
	return keychain.KCV(fmt.Sprintf("%08x%02x", crc32.ChecksumIEEE([]byte(id)), uint8(e)))
}

// locked changes the world itself.
func (w *world) locked(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// record is the record as it is in the store.
func (w *world) record(id keychain.LinkID) link.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.records[id]
}

// put writes a record behind everybody's back.
func (w *world) put(r link.Record) link.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.revision++
	r.Revision = w.revision
	w.records[r.Link] = r
	w.written(r)
	return r
}

// when does something once, as soon as a committed record of the link is ok.
func (w *world) when(id keychain.LinkID, ok func(link.Record) bool, do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watchers = append(w.watchers, &watcher{id, ok, do})
}

// in is for when: the rotation under way has entered a phase.
func in(p link.Phase) func(link.Record) bool {
	return func(r link.Record) bool { return r.State.Phase == p && r.Owner != "" }
}

// written tells everybody of a new version of a record. The world is locked.
func (w *world) written(r link.Record) {
	w.watchers = slices.DeleteFunc(w.watchers, func(x *watcher) bool {
		if x.link != r.Link || !x.ok(r) {
			return false
		}
		go x.do()
		return true
	})
	for _, n := range r.State.Nodes() {
		w.order(w.nodes[n], r.Link)
	}
	w.tell(r.Link)
}

// store is the world as the activities write to it.
type store struct{ *world }

func (s store) Records(_ context.Context, ids []keychain.LinkID) ([]link.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []link.Record
	for _, id := range ids {
		if r, ok := s.records[id]; ok {
			found = append(found, r)
		}
	}
	return found, nil
}

func (s store) Minting(context.Context) (int64, error) { return 0, nil }

func (s store) Commit(_ context.Context, changes []workflows.Change) ([]workflows.Committed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits++
	trouble := fine
	if s.outage != nil {
		trouble = s.outage(s.commits)
	}
	away := fault.New(fault.Unavailable, "write to etcd: it does not answer")
	if trouble == requestLost {
		return nil, away
	}
	out := make([]workflows.Committed, len(changes))
	for i, c := range changes {
		out[i] = s.commit(c)
	}
	if trouble == answerLost {
		return nil, away
	}
	return out, nil
}

// commit is as strict as etcd can be: a repeated change is Stale.
func (w *world) commit(c workflows.Change) workflows.Committed {
	id, s := c.Record.Link, c.Record.State
	old := w.records[id]
	switch {
	case old.Revision != c.Record.Revision:
		return workflows.Committed{Err: fault.New(fault.Stale, "commit %s: somebody else changed it meanwhile", id)}
	case s.Turn < old.State.Turn || s.Highest < old.State.Highest:
		return workflows.Committed{Err: fault.New(fault.Refused, "commit %s: turn and epoch never fall", id)}
	case s.To.Epoch > old.State.Highest && c.Minted.IsZero():
		return workflows.Committed{Err: fault.New(fault.Refused, "commit %s: the key of epoch %d was never minted", id, s.To.Epoch)}
	}
	for _, n := range s.Nodes() {
		if c.Sites[n] == "" {
			return workflows.Committed{Err: fault.New(fault.Refused, "commit %s: node %s has no site: declare it", id, n)}
		}
	}
	w.revision++
	r := c.Record
	r.Revision = w.revision
	w.records[id] = r
	w.written(r)
	return workflows.Committed{Revision: r.Revision}
}

// Mint implements workflows.Custodian.
func (w *world) Mint(_ context.Context, id keychain.LinkID, e keychain.Epoch, sites []keychain.SiteID) (keychain.Wrapped, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mint != nil {
		if err := w.mint(id); err != nil {
			return keychain.Wrapped{}, err
		}
	}
	if len(sites) == 0 {
		w.t.Errorf("mint %s: for no site at all", id)
	}
	w.minted[fmt.Sprintf("%s/%d", id, e)]++
	return keychain.Wrapped{KEK: "kek-" + string(id), Ciphertext: fmt.Sprintf("vault:v1:%s-%d", id, e)}, nil
}

// Running implements workflows.Runs.
func (w *world) Running(_ context.Context, owner string) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running[owner], w.runs
}
