package cli

import (
	"context"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/workflows"
)

// facts is what a plan of a campaign looks at.
func (w *world) facts(ctx context.Context, in workflows.CampaignRequest) campaign.Facts {
	t := w.view.Topology()
	return campaign.Facts{
		Topology: t, Standing: w.view.Standing(), Campaign: in.Name, Policy: in.Policy, Selection: in.Selection, Kind: in.Kind,
		IgnoreWindows: in.IgnoreWindows, Now: time.Now(), Record: w.view.Record, Reports: w.view.Reports, Present: w.view.Present,
		CannotStage: w.cannotStage(), Running: w.drives(ctx),
	}
}

// cannotStage says why the device of a node cannot take part. What the answer
// depends on is asked for once for each node.
func (w *world) cannotStage() func(keychain.NodeID) string {
	t, kinds := w.view.Topology(), wiring.Kinds()
	known := map[keychain.NodeID]string{}
	return func(id keychain.NodeID) string {
		why, ok := known[id]
		if ok {
			return why
		}
		n, declared := t.Node(id)
		kind, built := kinds[n.Device.Kind]
		switch {
		case !declared: // another check speaks of that
		case !built:
			why = "this build has no device kind " + n.Device.Kind
		default:
			can, err := kind.Check(n.Device)
			if err != nil {
				why = err.Error()
				break
			}
			why = can.CannotStage()
		}
		known[id] = why
		return why
	}
}

// drives reports whether a campaign still drives its links: its record says that
// it has not ended, and Temporal, when it is at hand, that its workflow runs.
func (w *world) drives(ctx context.Context) func(string) bool {
	known := map[string]bool{}
	return func(name string) bool {
		if runs, ok := known[name]; ok {
			return runs
		}
		c, ok := w.view.Campaign(name)
		runs := ok && c.State != campaign.Ended
		if runs && w.temporal != nil {
			is, err := w.temporal.Campaigns().Running(ctx, w.workflowOf(c))
			runs = is || err != nil
		}
		known[name] = runs
		return runs
	}
}

// workflowOf is the ID of the workflow that runs a campaign.
func (w *world) workflowOf(c campaign.Record) string {
	if c.Workflow != "" {
		return c.Workflow
	}
	return c.Name
}
