package cli

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

func (a *app) historyVerb() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use:   "history [LINK | CAMPAIGN]",
		Short: "Show what campaigns did, or what happened to one link",
		Long: `History lists the campaigns, the newest first. Of one campaign it shows the waves
and the links that are not rotated, with their reasons; of one link every phase
that it entered, with the keys, who confirmed what and when, and how it ended.

A plain name is looked for among links first, then among campaigns: where one
name has both, say link/NAME or campaign/NAME.`,
		Example: `  keyorch history --limit 5
  keyorch history dc1-dc2 -o json`,
		ValidArgsFunction: a.completePasts,
		Args:              named(0, 1, "name one link or campaign, or none for all campaigns"),
	}
	c.Flags().IntVar(&limit, "limit", 20, "how many campaigns to list; 0 lists all")
	out := formatFlag(c)
	c.PreRunE = func(*cobra.Command, []string) error {
		if limit < 0 {
			return fault.New(fault.Invalid, "--limit %d: it cannot be negative", limit)
		}
		return nil
	}
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		s := w.sight()
		if len(args) == 0 {
			return s.campaignsPast(a, limit, *out)
		}
		x, err := s.withPast(args[0])
		if err != nil {
			return err
		}
		if x.kind == aCampaign {
			return s.campaignPast(ctx, a, x.name, *out)
		}
		return s.linkPast(ctx, a, keychain.LinkID(x.name), *out)
	})
	return c
}

// completePasts completes the names of links and campaigns, where etcd answers.
func (a *app) completePasts(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	names, how := a.completeLinks(c, args, begun)
	campaigns, _ := a.completeCampaigns(c, args, begun)
	return append(names, campaigns...), how
}

// withPast is the link or the campaign that a name means.
func (s *sight) withPast(name string) (subject, error) {
	found, err := s.find(name)
	if err != nil {
		return subject{}, err
	}
	for _, x := range found {
		if x.kind == aLink || x.kind == aCampaign {
			return x, nil
		}
	}
	return subject{}, fault.New(fault.Invalid, "history of %v: only links and campaigns have one: see keyorch why %v", found[0], found[0])
}

// campaignsPast lists the campaigns.
func (s *sight) campaignsPast(a *app, limit int, out format) error {
	all := s.view.Campaigns()
	shown := all
	if limit > 0 && len(all) > limit {
		shown = all[:limit]
	}
	if out != asTable {
		return out.print(a.out, map[string]any{"items": append([]campaign.Record{}, shown...)})
	}
	printCampaignsPast(a.out, s.now, shown, len(all))
	return nil
}

// campaignPast is what `history CAMPAIGN -o json` prints.
type campaignPast struct {
	campaign.Record
	// NotRotated are its links that are not rotated, and not only waiting for
	// their turn.
	NotRotated []campaign.Standing `json:"notRotated"`
	// Untold says that there may be more, which the links themselves do not tell any
	// more.
	Untold bool `json:"untold,omitempty"`
}

func (s *sight) campaignPast(ctx context.Context, a *app, name string, out format) error {
	r, _ := s.campaign(name)
	waves, err := s.standings(ctx, r)
	if err != nil {
		return err
	}
	o := campaignPast{Record: r, NotRotated: inTrouble(waves), Untold: waves == nil && r.Tally.Links > 0}
	o.Waves = slices.Clone(r.Waves) // the view's own
	lines := wavesOf(r, waves, s.now)
	for i, l := range lines {
		o.Waves[i].Tally = l.tally
	}
	if out != asTable {
		return out.print(a.out, o)
	}
	printCampaignPast(a.out, s.now, o, lines)
	return nil
}

// linkPast is what `history LINK -o json` prints.
type linkPast struct {
	Link keychain.LinkID `json:"link"`
	// Last is the rotation that was attempted last, Completed the last one that
	// ended with a new key in use: two facts.
	Last      link.Attempt `json:"last,omitzero"`
	Completed link.Attempt `json:"completed,omitzero"`
	// Entries are the phases that it entered, the oldest first. Confirmed of each is
	// who confirmed the phase before it.
	Entries []link.Entry `json:"entries"`
}

func (s *sight) linkPast(ctx context.Context, a *app, id keychain.LinkID, out format) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	entries, err := s.history(ctx, id)
	if err != nil && len(entries) == 0 {
		return err
	}
	record, _ := s.view.Record(id)
	o := linkPast{Link: id, Last: record.Last, Completed: record.Completed, Entries: append([]link.Entry{}, entries...)}
	if out != asTable {
		if printed := out.print(a.out, o); printed != nil {
			return printed
		}
		return err // entries that could not be read
	}
	printLinkPast(a.out, s.now, o)
	return err
}

// tookBetween is how long something took; "-" while it has not ended.
func tookBetween(begun, ended time.Time) string {
	if begun.IsZero() || ended.IsZero() {
		return "-"
	}
	return took(max(0, ended.Sub(begun)))
}
