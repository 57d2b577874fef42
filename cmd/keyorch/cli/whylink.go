package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// whyOutput is what `why LINK -o json` prints.
type whyOutput struct {
	Link     keychain.LinkID `json:"link"`
	Policy   string          `json:"policy,omitempty"`
	Campaign string          `json:"campaign,omitempty"` // of the last attempt
	Owner    string          `json:"owner,omitempty"`
	Turn     keychain.Turn   `json:"turn"`
	Since    time.Time       `json:"since,omitzero"`
	// Last is the rotation that was attempted last, Completed the last one that
	// ended with a new key in use.
	Last      link.Attempt     `json:"last,omitzero"`
	Completed link.Attempt     `json:"completed,omitzero"`
	KeySince  time.Time        `json:"keySince,omitzero"`
	Why       link.Explanation `json:"why"`
	// Denied is which campaigns did not begin the link since its last rotation, the
	// newest first.
	Denied []denial `json:"denied,omitempty"`
	// Campaigns are those that have not ended and have, or will have, the link.
	Campaigns   []campaign.CampaignExplanation `json:"campaigns,omitempty"`
	Drift       []link.Finding                 `json:"drift,omitempty"`
	Repaired    []repair                       `json:"repaired,omitempty"`
	Maintenance []string                       `json:"maintenance,omitempty"`
	Excluded    []string                       `json:"excluded,omitempty"`
	Quarantined []link.Quarantine              `json:"quarantined,omitempty"`
	// Joining is the declared nodes that are not part of the link yet.
	Joining []keychain.NodeID `json:"joining,omitempty"`
	// Unblock is the exact command, or the thing to do.
	Unblock string `json:"unblock,omitempty"`
}

func (s *sight) whyLink(id keychain.LinkID) whyOutput {
	x, record, _ := s.snapshot(id)
	declared, _ := s.topology.Link(id)
	o := whyOutput{
		Link: id, Policy: declared.Policy, Campaign: record.Last.Campaign, Owner: record.Owner, Turn: x.State.Turn, Since: x.State.Since,
		Last: record.Last, Completed: record.Completed, KeySince: x.KeySince, Why: s.explained(id, x),
		Drift: link.Drift(record.State, x.Reports), Repaired: s.repairs(id, time.Time{}),
		Maintenance: x.Maintained, Excluded: s.excluded(declared), Quarantined: x.Quarantined,
		Campaigns: s.driving(id, record),
	}
	for _, d := range s.denials()[id] {
		if d.stands(record) {
			o.Denied = append(o.Denied, d)
		}
	}
	in := x.State.Nodes()
	for _, n := range nodesOf(declared) {
		_, out := s.standing.Excludes(s.topology, n)
		left := slices.ContainsFunc(x.Quarantined, func(q link.Quarantine) bool { return q.Node == n })
		if !slices.Contains(in, n) && !out && !left {
			o.Joining = append(o.Joining, n)
		}
	}
	o.Unblock = unblock(o)
	return o
}

// unblock is what helps: what the link says, and for one that has nothing against
// being rotated, what its campaign wants.
func unblock(o whyOutput) string {
	i := slices.IndexFunc(o.Why.Awaiting, func(w link.Wait) bool { return w.Fault == "refused" && w.Present })
	switch {
	case i >= 0 && strings.HasPrefix(o.Why.Command, "look at node "+string(o.Why.Awaiting[i].Node)):
		// What a device refuses for good is asked again only by another agent, or with
		// another order.
		help := fmt.Sprintf("put right what %s complains of, and restart its agent", o.Why.Awaiting[i].Node)
		if _, back, ok := strings.Cut(o.Why.Command, ", or go back: "); ok {
			help += ", or go back: " + back
		}
		return help
	case o.Why.Command != "" || o.Why.Phase != link.Steady:
		return o.Why.Command
	}
	for _, c := range o.Campaigns {
		if c.State == campaign.Paused {
			return c.Command
		}
	}
	if len(o.Denied) > 0 && !o.Denied[0].Skips() {
		return "keyorch plan " + string(o.Link) + ", then keyorch rotate " + string(o.Link)
	}
	return ""
}

// driving is the campaigns that have not ended and that the link is part of.
func (s *sight) driving(id keychain.LinkID, record link.Record) []campaign.CampaignExplanation {
	var out []campaign.CampaignExplanation
	for _, c := range s.view.Campaigns() {
		if c.State == campaign.Ended {
			continue
		}
		in := c.Name == record.Last.Campaign
		if !in {
			ids, err := c.Selection.Resolve(s.topology)
			in = err == nil && slices.Contains(ids, id)
		}
		if in {
			out = append(out, campaign.ExplainCampaign(c, nil, s.now))
		}
	}
	return out
}
