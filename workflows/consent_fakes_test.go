package workflows_test

import (
	"context"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
)

// consents is what the world has of approvals.
type consents struct {
	rules approval.InForce
	asked map[string]approval.Asked
	trail []audit.Record
}

func (v view) Rules() approval.InForce {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.rules
}

func (v view) Asked(id string) (approval.Asked, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	a, ok := v.consents.asked[id]
	return a, ok
}

func (s store) PutConsented(ctx context.Context, r campaign.Record, c approval.Consent, records ...audit.Record) (int64, error) {
	if err := s.UseApprovals(ctx, c, records...); err != nil {
		return 0, err
	}
	return s.PutCampaign(ctx, r)
}

// UseApprovals is as strict as etcd: a request ends once, under the rules it was decided by.
func (s store) UseApprovals(_ context.Context, c approval.Consent, records ...audit.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.Needed() || c.Again {
		return nil
	}
	a, ok := s.consents.asked[c.End.ID]
	switch {
	case !ok || a.Ended != nil:
		return fault.New(fault.Refused, "approval %s: it was used already", c.End.ID)
	case c.Rules != s.rules.Revision:
		return fault.New(fault.Stale, "use approval %s: the rules have changed meanwhile", c.End.ID)
	}
	a.Ended = &c.End
	s.consents.asked[c.End.ID] = a
	s.trail = append(s.trail, records...)
	return nil
}

func (s store) Append(_ context.Context, records ...audit.Record) error {
	s.locked(func() { s.trail = append(s.trail, records...) })
	return nil
}
