package workflows

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// AbortConsent asks whether rotations that have switched may be taken back.
type AbortConsent struct {
	Campaign string            `json:"campaign"`
	Links    []keychain.LinkID `json:"links,omitempty"` // none: whatever of the campaign has switched
	Approval string            `json:"approval,omitempty"`
	Reason   string            `json:"reason,omitempty"`
}

// ConsentToAbort is why rotations that have switched may not be taken back, or empty.
// When approvals let it, they are used up, for this campaign or these rotations; so it
// may be repeated.
func (a *Activities) ConsentToAbort(ctx context.Context, q AbortConsent) (string, error) {
	defer beat(ctx)()
	if err := a.view.CatchUp(ctx); err != nil {
		return "", failure(err)
	}
	why, err := a.consentToAbort(ctx, q)
	return why, failure(err)
}

func (a *Activities) consentToAbort(ctx context.Context, q AbortConsent) (string, error) {
	rules := a.view.Rules()
	if !rules.Asks(approval.Need{Plan: approval.Plan{Verb: approval.AbortSwitched}}) {
		return "", nil
	}
	asked, _ := a.view.Asked(q.Approval)
	plan := asked.Request.Plan
	need := NeedOfAbort("campaign "+q.Campaign, nil, plan.Reason)
	if len(q.Links) > 0 && !slices.Equal(plan.About, need.Plan.About) {
		// Of the links that others take back on the strength of it, it says itself which
		// rotations it means.
		links := slices.Clone(plan.Links)
		for _, id := range q.Links {
			r, _ := a.view.Record(id)
			r.Link = id
			i := slices.IndexFunc(links, func(l approval.Link) bool { return l.Name == id })
			if i < 0 {
				links = append(links, Rotation(r))
				continue
			}
			links[i] = Rotation(r)
		}
		need = NeedOfAbort("", links, plan.Reason)
	}
	c, why := rules.Consent(need, q.Approval, a.view.Asked, time.Now())
	if why != "" {
		return a.noAbort(ctx, q, c, why)
	}
	err := a.store.UseApprovals(ctx, c, consentRecords(c, asked)...)
	switch {
	case fault.Is(err, fault.Refused): // somebody else was faster
		return a.noAbort(ctx, q, c, told(err))
	case fault.Is(err, fault.Stale): // the rules have changed meanwhile: ask them
		return "", fault.Wrap(fault.Unavailable, err, "abort")
	}
	return "", err
}

// noAbort writes down that an abort was refused.
func (a *Activities) noAbort(ctx context.Context, q AbortConsent, c approval.Consent, why string) (string, error) {
	r := refusal("abort", q.Campaign, q.Approval, why, c)
	if len(q.Links) == 1 {
		r.Link = q.Links[0]
	}
	return why, a.store.Append(ctx, r)
}

// Rotation is the rotation that a link is in, as the plan of an abort has it.
func Rotation(r link.Record) approval.Link {
	return approval.Link{Name: r.Link, Campaign: r.Last.Campaign, Epoch: r.State.Highest}
}

// NeedOfAbort is what approvals the abort of rotations that have switched would need: of
// those of links, or without any, of all of a campaign.
func NeedOfAbort(about string, links []approval.Link, reason string) approval.Need {
	n := approval.Need{Plan: approval.Plan{Verb: approval.AbortSwitched, Links: links, Reason: reason}}
	if len(links) == 0 {
		n.Plan.About, n.For = []string{about}, "the abort of "+about
		return n
	}
	n.Plan = n.Plan.Sorted()
	names := make([]string, len(links))
	for i, l := range n.Plan.Links {
		names[i] = fmt.Sprintf("%s, epoch %d", l.Name, l.Epoch)
	}
	n.For = "the abort of " + strings.Join(names, "; ")
	return n
}

// Switched reports whether the rotation that a state is in has gone so far that taking it
// back needs approvals where rules ask for any.
func Switched(s link.State) bool {
	return (s.Phase == link.Switching || s.Phase == link.Draining) && !s.Reverting && !s.Restaging()
}

// unapprovedAbort is why links that a batch was started to take back have switched and
// may not go back, or empty.
func (a *Activities) unapprovedAbort(ctx context.Context, q BeginRequest, records []link.Record) (string, error) {
	ask := AbortConsent{Campaign: q.Campaign, Approval: q.Approval}
	for _, r := range records {
		if q.Intent == ToAbort && Switched(r.State) {
			ask.Links = append(ask.Links, r.Link)
		}
	}
	if len(ask.Links) == 0 {
		return "", nil
	}
	return a.consentToAbort(ctx, ask)
}

// unapproved is why what q asks to take back has switched and may not go back, or empty.
// Version is the name under which the command that finds out is known to replays.
func (r *rotation) unapproved(version string, q AbortRequest) string {
	ask := AbortConsent{Campaign: r.in.Campaign, Approval: q.Approval, Reason: q.Reason}
	for _, d := range r.links {
		if d.begun && !d.done && !q.Staged && Switched(d.State) && (len(q.Links) == 0 || slices.Contains(q.Links, d.Link)) {
			ask.Links = append(ask.Links, d.Link)
		}
	}
	if len(ask.Links) == 0 || workflow.GetVersion(r.ctx, version, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return ""
	}
	var a *Activities
	var why string
	if err := workflow.ExecuteActivity(withServers(r.ctx), a.ConsentToAbort, ask).Get(r.ctx, &why); err != nil {
		return "it cannot be found out whether it was approved"
	}
	return why
}

// consented refuses an abort of a whole campaign, also of what has switched, that needs
// approvals and has none.
func (c *fleetRun) consented(a *ask) error {
	if a.staged || workflow.GetVersion(c.ctx, "campaign-abort-approvals", workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return nil
	}
	var of *Activities
	var why string
	q := AbortConsent{Campaign: c.in.Name, Approval: a.approval, Reason: a.reason}
	if err := workflow.ExecuteActivity(withServers(c.ctx), of.ConsentToAbort, q).Get(c.ctx, &why); err != nil {
		return err
	}
	if why != "" {
		a.err, a.done = fmt.Errorf("abort campaign %s: %s", c.in.Name, why), true
	}
	return nil
}

// mayReverse reports whether a link that was asked to go back while it was being begun
// may. What a batch was started to take back, Begin has looked at.
func (r *rotation) mayReverse(d *driven) bool {
	if r.in.Intent == ToAbort {
		return true
	}
	return r.unapproved("adopt-approvals", AbortRequest{Links: []keychain.LinkID{d.Link}, Reason: d.abort, Approval: d.approval}) == ""
}
