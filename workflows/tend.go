package workflows

import (
	"context"
	"fmt"
	"hash/crc32"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// Campaigns starts Campaign workflows and knows which of them run.
type Campaigns interface {
	Runs
	// StartCampaign starts a campaign under its name; one that runs under that name
	// is left alone, and that is no error.
	StartCampaign(ctx context.Context, in CampaignRequest) error
}

const (
	// tendEvery is how often the campaigns are looked at.
	tendEvery = 5 * time.Second
	// lostAfter is how old a campaign must be before its workflow can be missed.
	lostAfter = time.Minute
)

// Tend keeps the records of campaigns true, and catches up after maintenance,
// until ctx ends. A campaign whose workflow is gone has ended: the next one adopts
// its links. Links that were skipped for a maintenance get a campaign of their own
// when it is over. Several workers may do so at once, and a restart of one starts
// nothing.
func Tend(ctx context.Context, store Store, view View, campaigns Campaigns, log *slog.Logger) {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now().UTC()
		for _, c := range view.Campaigns() {
			if c.State != campaign.Ended && now.Sub(c.Begun) > lostAfter {
				bury(ctx, store, campaigns, c, now, log)
			}
		}
		for _, in := range unfinished(view, now) {
			if err := campaigns.StartCampaign(ctx, in); err == nil {
				log.WarnContext(ctx, "an exclusion had no campaign: its links get new keys", "campaign", in.Name)
			}
		}
		for _, in := range catchUps(view, now) {
			if err := campaigns.StartCampaign(ctx, in); err != nil {
				log.WarnContext(ctx, "cannot catch up after a maintenance", "campaign", in.Name, "error", err)
			} else {
				log.InfoContext(ctx, "a maintenance is over: its links are caught up", "campaign", in.Name, "links", len(in.Selection.Links))
			}
		}
	}
}

// bury ends the record of a campaign whose workflow is gone.
func bury(ctx context.Context, store Store, runs Runs, c campaign.Record, now time.Time, log *slog.Logger) {
	id := c.Workflow
	if id == "" {
		id = c.Name
	}
	if running, err := runs.Running(ctx, id); err != nil || running {
		return
	}
	c.State, c.Ended, c.Since = campaign.Ended, now, now
	c.Reason = fmt.Sprintf("its workflow was lost; %s. The next campaign adopts what it left", c.Tally)
	if _, err := store.PutCampaign(ctx, c); err == nil {
		log.WarnContext(ctx, "the workflow of a campaign is gone", "campaign", c.Name)
	}
}

// catchUps is the campaigns that are due for links that were skipped, one for each
// site that is no longer in maintenance and each campaign that skipped it. A link
// is caught up once, for the last campaign that skipped it; not if it has got a key
// since, is declared no more, or that campaign was aborted or is paused.
func catchUps(view View, now time.Time) []CampaignRequest {
	t, standing := view.Topology(), view.Standing()
	seen := map[keychain.LinkID]bool{}
	var due []CampaignRequest
	for _, c := range view.Campaigns() { // the newest first
		bySite := map[keychain.SiteID][]keychain.LinkID{}
		for _, d := range view.Denials(c.Name) {
			if d.Site == "" || seen[d.Link] {
				continue
			}
			seen[d.Link] = true
			if c.Aborted || c.State == campaign.Paused {
				continue // the operator wants nothing more of it to begin
			}
			r, _ := view.Record(d.Link)
			_, still := standing.Maintained(d.Site, now)
			if _, declared := t.Link(d.Link); declared && !still && !r.Last.Begun.After(d.At) {
				bySite[d.Site] = append(bySite[d.Site], d.Link)
			}
		}
		for _, site := range slices.Sorted(maps.Keys(bySite)) {
			in := CampaignRequest{
				Name: catchUpName(site, c.Name), Kind: campaign.CatchUp, Policy: c.Policy,
				Selection: campaign.Selection{Links: bySite[site]}, By: "maintenance of " + string(site),
				Reason: "the maintenance of site " + string(site) + " is over",
			}
			if _, begun := view.Campaign(in.Name); !begun {
				due = append(due, in)
			}
		}
	}
	return due
}

// longName is how long the name of a campaign may become before it is shortened: a
// campaign that catches up may skip links in its turn.
const longName = 150

func catchUpName(site keychain.SiteID, skipped string) string {
	name := fmt.Sprintf("catch-up-%s-%s", site, skipped)
	if len(name) > longName {
		name = fmt.Sprintf("catch-up-%s-%08x", site, crc32.ChecksumIEEE([]byte(skipped)))
	}
	return name
}

// unfinished is the campaigns of exclusions that were written down by an operator
// whose command did not come to start them, as long as that would help.
func unfinished(view View, now time.Time) []CampaignRequest {
	var due []CampaignRequest
	t, standing := view.Topology(), view.Standing()
	for _, e := range standing.Exclusions {
		_, begun := view.Campaign(e.Campaign)
		if e.Campaign == "" || begun || now.Sub(e.Since) < lostAfter {
			continue
		}
		if a, ok := view.Asked(e.Approval); ok { // exactly what was approved
			due = append(due, CampaignRequest{
				Name: e.Campaign, Kind: campaign.Emergency, Selection: campaign.Selection{Links: linksIn(a.Request.Plan)}, By: a.By, Reason: a.Request.Plan.Reason,
				Approval: e.Approval, About: a.Request.Plan.About,
			})
			continue
		}
		one := t.Without(topology.Standing{Exclusions: []topology.Exclusion{e}})
		var ids []keychain.LinkID
		for _, r := range view.Records() {
			l, ok := one.Link(r.Link)
			rest := ok && len(l.Upstream) > 0 && len(l.Downstream) > 0
			has := slices.ContainsFunc(r.State.Nodes(), func(n keychain.NodeID) bool { _, out := standing.Excludes(t, n); return out })
			if rest && has {
				ids = append(ids, r.Link)
			}
		}
		if len(ids) > 0 {
			due = append(due, CampaignRequest{
				Name: e.Campaign, Kind: campaign.Emergency, Selection: campaign.Selection{Links: ids}, By: "an exclusion", Reason: e.Reason,
			})
		}
	}
	return due
}
