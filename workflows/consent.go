package workflows

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// NeedOf is what approvals a campaign over links would need, if rules ask for any: it
// is what the operator is shown, and what the worker compares with. The request is that
// of a revocation when it says so; the zero Need is none.
func NeedOf(q CampaignRequest, t topology.Topology, links []keychain.LinkID, revokes bool) (n approval.Need, may bool) {
	n.For = "campaign " + q.Name
	n.Plan = approval.Plan{Policy: q.Policy, IgnoreWindows: q.IgnoreWindows, Reason: q.Reason, About: q.About}
	switch {
	case q.Kind.Urgent() && revokes:
		n.Plan.Verb = approval.Revoke
	case q.Kind.Urgent():
		n.Plan.Verb = approval.Compromise
	case q.IgnoreWindows:
		n.Plan.Verb = approval.RotateForced
	default:
		return approval.Need{}, false
	}
	for _, id := range links {
		l, _ := t.Link(id)
		n.Plan.Links = append(n.Plan.Links, approval.Link{Name: id, Upstream: l.Upstream, Downstream: l.Downstream})
	}
	n.Plan = n.Plan.Sorted()
	return n, true
}

// linksIn are the links of a plan.
func linksIn(p approval.Plan) []keychain.LinkID {
	ids := make([]keychain.LinkID, len(p.Links))
	for i, l := range p.Links {
		ids[i] = l.Name
	}
	return ids
}

// consent is on the strength of which approvals a campaign may run, or why it may not.
func (f *Fleet) consent(q CampaignRequest, t topology.Topology, links []keychain.LinkID) (approval.Consent, string) {
	a, _ := f.view.Asked(q.Approval)
	need, may := NeedOf(q, t, links, a.Request.Plan.Verb == approval.Revoke)
	if !may {
		return approval.Consent{}, ""
	}
	return f.view.Rules().Consent(need, q.Approval, f.view.Asked, time.Now())
}

// consented writes a campaign that begins on the strength of approvals, or that it was
// refused for want of them.
func (f *Fleet) consented(ctx context.Context, r campaign.Record, q CampaignRequest, c approval.Consent) (campaign.Record, error) {
	if !c.Needed() {
		return f.write(ctx, r)
	}
	a, _ := f.view.Asked(c.End.ID)
	r.Approval, r.By = c.End.ID, a.By
	revision, err := f.store.PutConsented(ctx, r, c, consentRecords(c, a)...)
	switch {
	case fault.Is(err, fault.Stale): // the rules have changed meanwhile: ask them
		return r, failure(fault.Wrap(fault.Unavailable, err, "begin campaign %s", r.Name))
	case fault.Is(err, fault.Refused):
		return f.refusedCampaign(ctx, r, q, c, told(err))
	}
	r.Revision = revision
	return r, failure(err)
}

// refusedCampaign is that of a campaign which never begins.
func (f *Fleet) refusedCampaign(ctx context.Context, r campaign.Record, q CampaignRequest, c approval.Consent, why string) (campaign.Record, error) {
	at := time.Now().UTC()
	r.State, r.Reason, r.Begun, r.Since, r.Ended = campaign.Ended, "refused: "+why, at, at, at
	r.Asked = q.Reason
	revision, err := f.store.PutCampaign(ctx, r, refusal(string(q.Kind), q.Name, q.Approval, why, c))
	r.Revision = revision
	return r, failure(err)
}

// refusal is what the trail says of something that was refused for want of approvals.
func refusal(verb, name, id, why string, c approval.Consent) audit.Record {
	r := audit.Record{Kind: audit.Refusal, Verb: verb, Campaign: name, Approval: id, Reason: why, Outcome: "refused"}
	for _, n := range c.Notes {
		if r.Details == nil {
			r.Details = map[string]string{}
		}
		r.Details["signature of "+n.By] = n.Reason
	}
	return r
}

// consentRecords are what the trail says when approvals are used: who gave them, with
// which key.
func consentRecords(c approval.Consent, a approval.Asked) []audit.Record {
	if !c.Needed() || c.Again {
		return nil
	}
	r := audit.Record{
		Kind: audit.Approval, Verb: "used", Approval: c.End.ID, Reason: a.Request.Plan.Reason, Outcome: string(c.End.State),
		Details: map[string]string{"for": c.End.For, "verb": string(a.Request.Plan.Verb), "plan": a.Request.Plan.Digest(), "asked by": a.By},
	}
	for _, s := range c.End.Rules {
		for _, by := range s.By {
			r.Details["rule "+s.Rule+": "+by.By] = fmt.Sprintf("%s at %s%s", by.Key, by.At.UTC().Format("2006-01-02T15:04:05Z"), shown(by.Proof))
		}
	}
	return []audit.Record{r}
}

func shown(p approval.Proof) string {
	switch {
	case p.PIN:
		return ", touched, PIN"
	case p.Touched:
		return ", touched"
	}
	return ""
}

// unapproved is why links may not be begun in the way that is asked for, or empty. A
// batch can be started by anybody who may use Temporal: that it is urgent, or does not
// care for windows, counts when the record of its campaign, which only workers write,
// says so on the strength of approvals, the campaign has not ended, and the links are
// those of the campaign. What the batch has begun already it goes on with.
func (a *Activities) unapproved(ctx context.Context, q BeginRequest, records []link.Record) (string, error) {
	verb := approval.RotateForced
	switch {
	case !q.Urgent && !q.IgnoreWindows, q.Intent != ToRotate && q.Intent != ToRenew:
		return "", nil
	case q.Urgent:
		verb = approval.Compromise
	}
	rules := a.view.Rules()
	ours := func(id keychain.LinkID) bool {
		r := recordOf(records, id)
		return r.Owner == q.Owner && r.State.Phase != link.Steady
	}
	q.Links = slices.DeleteFunc(slices.Clone(q.Links), ours)
	if !rules.Asks(approval.Need{Plan: approval.Plan{Verb: verb}}) || len(q.Links) == 0 {
		return "", nil
	}
	c, ok := a.view.Campaign(q.Campaign)
	switch {
	case !ok:
		return fmt.Sprintf("%s needs approvals, and there is no campaign %q that has them", verb, fmt.Sprintf("%.100s", q.Campaign)), nil
	case q.Urgent != c.Kind.Urgent(), q.IgnoreWindows && !c.IgnoreWindows:
		return fmt.Sprintf("%s needs approvals, and campaign %s is of another kind", verb, c.Name), nil
	case c.Approval == "" && !c.Begun.Before(rules.Since):
		return fmt.Sprintf("%s needs approvals, and campaign %s has none", verb, c.Name), nil
	case c.State == campaign.Ended:
		return fmt.Sprintf("%s needs approvals, and campaign %s, which had them, has ended", verb, c.Name), nil
	}
	batches, err := a.store.Batches(ctx, q.Campaign, 0, maxRetried)
	if err != nil {
		return "", err
	}
	for _, id := range q.Links {
		if !slices.ContainsFunc(batches, func(b campaign.Batch) bool { return slices.Contains(b.Links, id) }) {
			return fmt.Sprintf("%s needs approvals, and those of campaign %s are not for link %s", verb, c.Name, id), nil
		}
	}
	return "", nil
}

// calm is q as far as it counts for a link that is adopted, where rules ask for
// approvals of forced rotations: what mends by itself is in a hurry with Steady links alone.
func (a *Activities) calm(q BeginRequest) BeginRequest {
	rules := a.view.Rules()
	for _, v := range []approval.Verb{approval.RotateForced, approval.Compromise} {
		if q.Intent != ToRotate && q.Intent != ToRenew && rules.Asks(approval.Need{Plan: approval.Plan{Verb: v}}) {
			q.Urgent, q.IgnoreWindows = false, false
		}
	}
	return q
}

// refuseAll answers that none of the links is begun, and writes that down.
func (a *Activities) refuseAll(ctx context.Context, q BeginRequest, records []link.Record, why string) ([]Begun, error) {
	begun := make([]Begun, len(q.Links))
	for i, id := range q.Links {
		begun[i] = Begun{Record: recordOf(records, id), Denied: why}
	}
	r := refusal(string(q.Intent), q.Campaign, q.Approval, why, approval.Consent{})
	r.Details = map[string]string{"workflow": q.Owner, "links": fmt.Sprint(len(q.Links))}
	if len(q.Links) == 1 {
		r.Link = q.Links[0]
	}
	return begun, failure(a.store.Append(ctx, r))
}
