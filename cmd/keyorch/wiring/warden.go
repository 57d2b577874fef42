package wiring

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// dutyOfRules is that of the one worker which decides what rules and policies are in
// force.
const dutyOfRules = "approvals"

// wardenEvery is how often requests are looked at that nothing happens to.
const wardenEvery = time.Second

// guardRules lets rules and policies come into force, when nobody has to approve that
// or it was approved, and ends requests that have expired or were rejected, until ctx ends.
func (w Worker) guardRules(ctx context.Context, view *store.View) {
	_ = w.Store.Lead(ctx, dutyOfRules, func(ctx context.Context) error {
		sub := view.Subscribe(nil)
		defer sub.Close()
		tick := time.NewTicker(wardenEvery)
		defer tick.Stop()
		for {
			err := view.CatchUp(ctx)
			if err == nil {
				err = Warden{Store: w.Store, View: view}.Look(ctx, time.Now())
			}
			if err != nil && ctx.Err() == nil && !fault.Is(err, fault.Stale) {
				w.Logger.WarnContext(ctx, "cannot look after approvals", "error", err)
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-sub.C:
				sub.Take()
			case <-tick.C:
			}
			select { // what comes together is looked at once
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
		}
	})
}

// Warden decides what rules and policies are in force.
type Warden struct {
	Store *store.Store
	View  *store.View
}

// Look does what is due now.
func (w Warden) Look(ctx context.Context, now time.Time) error {
	return errors.Join(w.rules(ctx, now), w.policies(ctx, now), w.ends(ctx, now), w.Store.ForgetEnds(ctx, w.View.EndsOver(now)))
}

// rules pins the first rules that are declared. Later, a new rule comes into force at
// once unless a rule asks for approvals of rules; one that is changed or gone, when that
// was approved.
func (w Warden) rules(ctx context.Context, now time.Time) error {
	f, t := w.View.Rules(), w.View.Declared()
	if f.Broken {
		return fault.New(fault.Mismatch, "the rules of approvals in force cannot be read: what may need approvals is refused")
	}
	if f.Revision == 0 {
		if len(t.ApprovalRules) == 0 {
			return nil
		}
		f.Rules = nil
	}
	for _, c := range t.ChangedRules(f.Rules) {
		need := approval.Need{Plan: approval.Plan{Verb: approval.Rules, Changes: []approval.Change{c}}}
		if f.Revision == 0 || !f.Asks(need) {
			return w.pinRules(ctx, f, t, []approval.Change{c}, approval.Consent{}, approval.Asked{}, now)
		}
	}
	for _, a := range w.open(approval.Rules) {
		if _, fits := t.RulesAfter(f.Rules, a.Request.Plan.Changes); !fits {
			continue
		}
		need := approval.Need{Plan: a.Request.Plan, For: "rules"}
		if c, why := f.Consent(need, a.Request.ID(), w.View.Asked, now); why == "" && c.Needed() && !c.Again {
			return w.pinRules(ctx, f, t, a.Request.Plan.Changes, c, a, now)
		}
	}
	return nil
}

func (w Warden) pinRules(ctx context.Context, f approval.InForce, t topology.Topology, changes []approval.Change, c approval.Consent, a approval.Asked, now time.Time) error {
	rules, ok := t.RulesAfter(f.Rules, changes)
	if f.Revision == 0 { // all of the first ones together
		rules, ok = nil, true
		for _, r := range t.ApprovalRules {
			rules = append(rules, r.Rule)
		}
	}
	if !ok {
		return nil
	}
	return w.Store.PinRules(ctx, approval.InForce{Rules: rules, Since: now.UTC(), Revision: f.Revision}, c, inForce(changes, c, a)...)
}

// open are the requests of a verb that have not ended, the oldest first.
func (w Warden) open(verb approval.Verb) []approval.Asked {
	return slices.DeleteFunc(w.View.AllAsked(), func(a approval.Asked) bool { return a.Ended != nil || a.Request.Plan.Verb != verb })
}

// policies pins the policies as long as a rule asks for approvals of them.
func (w Warden) policies(ctx context.Context, now time.Time) error {
	f, t := w.View.Rules(), w.View.Declared()
	pinned, revision := w.View.Policies()
	if f.Broken || f.Revision == 0 {
		return nil
	}
	if !f.Asks(approval.Need{Plan: approval.Plan{Verb: approval.Policies}}) {
		if revision == 0 {
			return nil
		}
		return w.Store.FreePolicies(ctx, revision, f.Revision, audit.Record{Kind: audit.Approval, Verb: "policies freed"})
	}
	if next, more := t.Pin(pinned); more {
		return w.Store.PinPolicies(ctx, next, revision, approval.Consent{})
	}
	for _, a := range w.open(approval.Policies) {
		next, fits := t.Changed(pinned, a.Request.Plan.Changes)
		if !fits {
			continue
		}
		c, why := f.Consent(approval.Need{Plan: a.Request.Plan, For: "policies"}, a.Request.ID(), w.View.Asked, now)
		if why == "" && c.Needed() && !c.Again {
			return w.Store.PinPolicies(ctx, next, revision, c, inForce(a.Request.Plan.Changes, c, a)...)
		}
	}
	return nil
}

// inForce is what the trail says of changes that come into force.
func inForce(changes []approval.Change, c approval.Consent, a approval.Asked) []audit.Record {
	var records []audit.Record
	for _, change := range changes {
		r := audit.Record{Kind: audit.Approval, Verb: "in force", Approval: c.End.ID, Reason: a.Request.Plan.Reason, Details: map[string]string{"what": change.What}}
		if a.By != "" {
			r.Details["asked by"] = a.By
		}
		for _, s := range c.End.Rules {
			for _, by := range s.By {
				r.Details["rule "+s.Rule+": "+by.By] = by.Key
			}
		}
		records = append(records, r)
	}
	return records
}

// ends ends requests that have expired or were rejected. What was signed and did not
// count is written down with it.
func (w Warden) ends(ctx context.Context, now time.Time) error {
	f := w.View.Rules()
	var errs []error
	for _, a := range w.View.AllAsked() {
		if a.Ended != nil {
			continue
		}
		d := a.Decide(f, now)
		if d.State != approval.Expired && d.State != approval.Rejected {
			continue
		}
		end := approval.End{ID: a.Request.ID(), State: d.State, At: now.UTC(), Reason: d.Reason, Rules: d.Rules}
		r := EndRecord(a, end)
		for _, n := range d.Refused {
			r.Details["signature of "+n.By] = n.Reason
		}
		errs = append(errs, w.Store.EndApproval(ctx, end, r))
	}
	return errors.Join(errs...)
}

// EndRecord is what the trail says of a request that ended without being used.
func EndRecord(a approval.Asked, end approval.End) audit.Record {
	return audit.Record{
		Kind: audit.Approval, Verb: string(end.State), Approval: end.ID, Reason: end.Reason, Outcome: "nothing has changed",
		Details: map[string]string{"verb": string(a.Request.Plan.Verb), "plan": a.Request.Plan.Digest(), "asked by": a.By},
	}
}
