package workflows_test

import (
	"cmp"
	"context"
	"maps"
	"reflect"
	"slices"
	"time"

	"go.temporal.io/sdk/testsuite"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/workflows"
)

// fleets is what the world keeps of campaigns.
type fleets struct {
	campaigns map[string]campaign.Record
	batches   map[string][]campaign.Batch
	denials   map[string]map[keychain.LinkID]campaign.Denial
	standing  topology.Standing
	started   map[string]workflows.Batch
	halted    []string

	drives   bool               // what is started is run, by the real Rotate
	lost     map[string]bool    // and that is lost at once
	runners  map[string]*runner // those that run, or did
	starts   []string           // every start that was not of something that runs
	noted    []noted
	catchUp  func()        // what a view does to catch up, if anything
	lag      time.Duration // between the writing of a campaign and the answer
	requests []workflows.CampaignRequest
}

// runner is a batch that runs.
type runner struct {
	*run
	ended chan struct{}
}

// noted does something once, when a campaign's record first looks as it wants.
type noted struct {
	name string
	ok   func(campaign.Record) bool
	do   func()
}

// onCampaign does something once, as soon as a record of the campaign that is
// written is ok.
func (w *world) onCampaign(name string, ok func(campaign.Record) bool, do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noted = append(w.noted, noted{name, ok, do})
}

func (s store) PutCampaign(_ context.Context, r campaign.Record, records ...audit.Record) (int64, error) {
	s.locked(func() { s.trail = append(s.trail, records...) })
	defer time.Sleep(s.lag)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.campaigns == nil {
		s.campaigns = map[string]campaign.Record{}
	}
	if there := s.campaigns[r.Name]; there.Revision != r.Revision {
		again := r
		if again.Revision = there.Revision; reflect.DeepEqual(again, there) {
			return there.Revision, nil // as the real one
		}
		return 0, fault.New(fault.Stale, "write campaign %s: somebody else changed it meanwhile", r.Name)
	}
	s.revision++
	r.Revision = s.revision
	s.campaigns[r.Name] = r
	s.noted = slices.DeleteFunc(s.noted, func(n noted) bool {
		if n.name != r.Name || !n.ok(r) {
			return false
		}
		go n.do()
		return true
	})
	return r.Revision, nil
}

func (s store) PutBatches(_ context.Context, name string, batches []campaign.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.world.batches == nil {
		s.world.batches = map[string][]campaign.Batch{}
	}
	kept := slices.DeleteFunc(s.world.batches[name], func(b campaign.Batch) bool {
		return slices.ContainsFunc(batches, func(n campaign.Batch) bool { return n.Number == b.Number })
	})
	s.world.batches[name] = slices.SortedFunc(slices.Values(slices.Concat(kept, batches)),
		func(a, b campaign.Batch) int { return cmp.Compare(a.Number, b.Number) })
	return nil
}

func (s store) Batches(_ context.Context, name string, first, count int) ([]campaign.Batch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.world.batches[name]), func(b campaign.Batch) bool {
		return b.Number < first || b.Number >= first+count
	}), nil
}

func (s store) Deny(_ context.Context, name string, denials []campaign.Denial) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.denials == nil {
		s.denials = map[string]map[keychain.LinkID]campaign.Denial{}
	}
	if s.denials[name] == nil {
		s.denials[name] = map[keychain.LinkID]campaign.Denial{}
	}
	for _, d := range denials {
		s.denials[name][d.Link] = d
		s.tell(d.Link)
	}
	return nil
}

func (s store) Undeny(_ context.Context, name string, links []keychain.LinkID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range links {
		delete(s.denials[name], id)
		s.tell(id)
	}
	return nil
}

func (s store) DropCampaign(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.campaigns, name)
	return nil
}

func (v view) Standing() topology.Standing {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.standing
}

func (v view) Campaign(name string) (campaign.Record, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	r, ok := v.campaigns[name]
	return r, ok
}

func (v view) Campaigns() []campaign.Record {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.SortedFunc(maps.Values(v.campaigns), func(a, b campaign.Record) int { return b.Begun.Compare(a.Begun) })
}

func (v view) Denials(name string) []campaign.Denial {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.SortedFunc(maps.Values(v.denials[name]), func(a, b campaign.Denial) int { return cmp.Compare(a.Link, b.Link) })
}

// Start implements workflows.Starter: what is started is noted, and run in a
// world that drives.
func (w *world) Start(_ context.Context, id string, in workflows.Batch) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.started == nil {
		w.started, w.runners = map[string]workflows.Batch{}, map[string]*runner{}
	}
	if w.running[id] {
		return nil
	}
	w.starts = append(w.starts, id)
	w.started[id] = in
	if !w.drives || w.lost[id] {
		return nil
	}
	w.mu.Unlock()
	r := &runner{w.newRun(id), make(chan struct{})}
	w.t.Cleanup(func() {
		w.change(alive, slices.Collect(maps.Keys(w.nodes))...)
		<-r.ended
	})
	w.mu.Lock()
	w.runners[id] = r
	go func() {
		defer close(r.ended)
		r.env.ExecuteWorkflow(workflows.Rotate, in)
		w.locked(func() { w.running[id] = false })
		if err := r.env.GetWorkflowError(); err != nil {
			w.t.Errorf("%s ended with %v", id, err)
		}
	}()
	return nil
}

// StartCampaign implements workflows.Campaigns.
func (w *world) StartCampaign(_ context.Context, in workflows.CampaignRequest) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests = append(w.requests, in)
	return nil
}

// Abort implements workflows.Batches.
func (w *world) Abort(_ context.Context, id string, q workflows.AbortRequest) error {
	w.mu.Lock()
	w.halted = append(w.halted, id)
	r, running := w.runners[id], w.running[id]
	w.mu.Unlock()
	if r == nil || !running {
		return nil
	}
	answered := make(chan struct{})
	r.soon(func() {
		r.env.UpdateWorkflow(workflows.AbortUpdate, "", &testsuite.TestUpdateCallback{
			OnReject: func(error) { close(answered) }, OnAccept: func() {}, OnComplete: func(any, error) { close(answered) },
		}, q)
	})
	select {
	case <-answered:
	case <-r.ended:
	}
	return nil
}
