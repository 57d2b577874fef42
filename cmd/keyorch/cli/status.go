package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// linkStatus is one link in `status -o json`.
type linkStatus struct {
	Link     keychain.LinkID   `json:"link"`
	Phase    link.Phase        `json:"phase"`
	Sends    keychain.Epoch    `json:"sends"`
	Next     keychain.Epoch    `json:"next"`
	Turn     keychain.Turn     `json:"turn"`
	Awaiting []keychain.NodeID `json:"awaiting"`
	Reason   string            `json:"reason"`
	Since    time.Time         `json:"since,omitzero"`
	// Campaign is that of the last attempt, and Outcome how it ended.
	Campaign string       `json:"campaign,omitempty"`
	Outcome  link.Outcome `json:"outcome,omitempty"`
	// KeyAge is how old the key in use is, in seconds; zero where that is not known.
	KeyAge int64          `json:"keyAge"`
	Drift  []link.Finding `json:"drift,omitempty"`

	age    keyAge
	keyed  bool // it has, or had, a key
	denied bool // a campaign did not begin it
}

// keyAge is how old a key is, and what its policy thinks of it.
type keyAge struct {
	is        time.Duration
	warn, max bool // older than the policy's
}

// plain reports whether there is nothing to tell of a link but that it is Steady.
func (l linkStatus) plain() bool {
	return l.Phase == link.Steady && l.Reason == "" && len(l.Drift) == 0
}

type statusOutput struct {
	// Campaigns are those that have not ended, else the one that began last.
	Campaigns []campaign.CampaignExplanation `json:"campaigns"`
	Links     []linkStatus                   `json:"links"`

	newest *campaign.Record // the waves of the first of Campaigns
}

// summarizedFrom is how many links a table may have before there is a summary in
// its place.
const summarizedFrom = 50

func (a *app) statusVerb() *cobra.Command {
	c := &cobra.Command{
		Use:   "status [LINK...] [--site S] [-l SELECTOR] | status --watch [CAMPAIGN]",
		Short: "Show where every link stands, or watch a campaign",
		Long: `Status shows where every link stands, and the campaigns that run. Of more than 50
links it shows a summary, and only those links that are not plainly Steady;
--full shows all.

With --watch it fills the terminal with the campaign that runs, or the one named,
as it goes: waves, phases, held links with their reasons, and keys to pause,
resume and promote it. Where there is no terminal it prints a line when something
has changed.`,
		ValidArgsFunction: a.completeLinks,
	}
	chosen := selectFlags(c)
	out := formatFlag(c)
	watch := c.Flags().BoolP("watch", "w", false, "show it live, until q or ctrl+c")
	full := c.Flags().Bool("full", false, "show every link, however many there are")
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		if *watch && chosen.given(nil) {
			return fault.New(fault.Invalid, "status --watch: it shows a campaign, so leave out what selects links")
		}
		if *watch {
			return w.watch(ctx, args, *out)
		}
		ids, err := w.selected(chosen, args)
		if err != nil {
			return err
		}
		s := w.sight()
		o := s.status(ids)
		switch {
		case *out != asTable:
			return out.print(a.out, o)
		case len(ids) > summarizedFrom && !*full:
			waves, err := s.waves(ctx, o.newest)
			if err != nil {
				return err
			}
			printSummary(a.out, s.now, o, waves)
		default:
			printStatus(a.out, s.now, o)
		}
		return nil
	})
	return c
}

func epoch(e keychain.Epoch) string {
	if e == 0 {
		return "-"
	}
	return fmt.Sprint(e)
}

// known is the links named, or all that are declared or have a record.
func (w *world) known(names []string) ([]keychain.LinkID, error) {
	ids := w.sight().links()
	if len(names) == 0 {
		return ids, nil
	}
	var chosen []keychain.LinkID
	for _, n := range names {
		if _, ok := slices.BinarySearch(ids, keychain.LinkID(n)); !ok {
			return nil, fault.New(fault.Invalid, "find link %q: none is declared under that name: see keyorch get links", n)
		}
		chosen = append(chosen, keychain.LinkID(n))
	}
	return chosen, nil
}

// status is where links stand, and the campaigns.
func (s *sight) status(ids []keychain.LinkID) statusOutput {
	o := statusOutput{Campaigns: []campaign.CampaignExplanation{}, Links: make([]linkStatus, 0, len(ids))}
	all := s.view.Campaigns()
	for i, c := range all {
		if c.State != campaign.Ended {
			o.Campaigns = append(o.Campaigns, campaign.ExplainCampaign(c, nil, s.now))
			if o.newest == nil {
				o.newest = &all[i]
			}
		}
	}
	if o.newest == nil && len(all) > 0 {
		o.newest = &all[0]
		o.Campaigns = append(o.Campaigns, campaign.ExplainCampaign(all[0], nil, s.now))
	}
	denied := s.denials()
	for _, id := range ids {
		o.Links = append(o.Links, s.statusOf(id, denied[id]))
	}
	return o
}

func (s *sight) statusOf(id keychain.LinkID, denied []denial) linkStatus {
	x, record, ok := s.snapshot(id)
	l := linkStatus{
		Link: id, Phase: x.State.Phase, Sends: x.State.Sends().Epoch, Next: x.State.Next().Epoch, Turn: x.State.Turn,
		Awaiting: append([]keychain.NodeID{}, x.State.Awaiting...), Since: x.State.Since,
		Campaign: record.Last.Campaign, Drift: link.Drift(record.State, x.Reports), keyed: !x.State.Sends().IsZero(),
	}
	if !record.Last.Ended.IsZero() {
		l.Outcome = record.Last.Outcome
	}
	if l.keyed && !x.KeySince.IsZero() {
		l.age.is = max(0, s.now.Sub(x.KeySince))
		l.KeyAge = int64(l.age.is / time.Second)
		l.age.max = x.MaxAge > 0 && l.age.is > x.MaxAge
		l.age.warn = l.age.max || x.WarnAge > 0 && l.age.is > x.WarnAge
	}
	l.Reason = s.explained(id, x).Reason
	if !ok {
		l.Reason = "it has no key yet: keyorch rotate " + string(id)
	}
	if l.Phase != link.Steady {
		return l
	}
	i := slices.IndexFunc(denied, func(d denial) bool { return d.stands(record) })
	switch {
	case i >= 0 && l.Reason == "":
		l.Reason, l.denied = denied[i].String(), true
	case i >= 0:
		l.denied = true
	case l.Outcome == link.Aborted && l.Reason == "":
		l.Reason = fmt.Sprintf("aborted by %s: %s", record.Last.Campaign, cmp.Or(record.Last.Reason, "without a reason"))
	}
	return l
}
