package workflows_test

import (
	"cmp"
	"context"
	"maps"
	"slices"

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
}

func (s store) PutCampaign(_ context.Context, r campaign.Record) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.campaigns == nil {
		s.campaigns = map[string]campaign.Record{}
	}
	if s.campaigns[r.Name].Revision != r.Revision {
		return 0, fault.New(fault.Stale, "write campaign %s: somebody else changed it meanwhile", r.Name)
	}
	s.revision++
	r.Revision = s.revision
	s.campaigns[r.Name] = r
	return r.Revision, nil
}

func (s store) PutBatches(_ context.Context, name string, batches []campaign.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.world.batches == nil {
		s.world.batches = map[string][]campaign.Batch{}
	}
	s.world.batches[name] = batches
	return nil
}

func (s store) Batches(_ context.Context, name string, first, count int) ([]campaign.Batch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.world.batches[name][first : first+count], nil
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

// Start implements workflows.Starter: what is started is noted.
func (w *world) Start(_ context.Context, id string, in workflows.Batch) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.started == nil {
		w.started = map[string]workflows.Batch{}
	}
	w.started[id] = in
	return nil
}

// Abort implements workflows.Batches.
func (w *world) Abort(_ context.Context, id string, q workflows.AbortRequest) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.halted = append(w.halted, id)
	return nil
}
