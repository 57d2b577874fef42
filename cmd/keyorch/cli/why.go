package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

func (a *app) whyVerb() *cobra.Command {
	c := &cobra.Command{
		Use:   "why LINK | CAMPAIGN | NODE | SITE",
		Short: "Explain what is waited for, and what to do",
		Long: `Why says of a link who is awaited and since when, the last error as the device
gave it, what happens next by itself, and the command that unblocks it; of a
campaign what it waits for and why links are not rotated; of a node or a site
which links wait for it.

A plain name is looked for among links, campaigns, nodes and sites, in this
order. Where one name has several, say which: link/NAME, campaign/NAME,
node/NAME, site/NAME.`,
		Example: `  keyorch why dc1-dc2
  keyorch why site/dc2 -o json`,
		ValidArgsFunction: a.completeSubjects,
		Args:              named(1, 1, "name one link, campaign, node or site"),
	}
	out := formatFlag(c)
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		s := w.sight()
		found, err := s.find(args[0])
		if err != nil {
			return err
		}
		if len(found) > 1 {
			_, _ = fmt.Fprintf(a.err, "keyorch: this is the %s; %s has that name, too\n", found[0].kind, others(found[1:]))
		}
		return s.why(ctx, a, found[0], *out)
	})
	return c
}

// subject is what why explains.
type subject struct{ kind, name string }

// String is the exact name.
func (x subject) String() string { return x.kind + "/" + x.name }

// The kinds of subjects, in the order in which plain names are looked for.
const (
	aLink     = "link"
	aCampaign = "campaign"
	aNode     = "node"
	aSite     = "site"
)

func subjectKinds() []string { return []string{aLink, aCampaign, aNode, aSite} }

// find is everything that a name may mean, what a plain name means first.
func (s *sight) find(name string) ([]subject, error) {
	kinds := subjectKinds()
	if kind, bare, exact := strings.Cut(name, "/"); exact {
		if !slices.Contains(kinds, kind) {
			return nil, fault.New(fault.Invalid, "find %q: there is no kind %q: use link/, campaign/, node/ or site/", name, kind)
		}
		if !s.has(subject{kind, bare}) {
			return nil, fault.New(fault.Invalid, "find %s %q: there is none of that name: see keyorch get %ss", kind, bare, kind)
		}
		return []subject{{kind, bare}}, nil
	}
	var found []subject
	for _, kind := range kinds {
		if x := (subject{kind, name}); s.has(x) {
			found = append(found, x)
		}
	}
	if len(found) == 0 {
		return nil, fault.New(fault.Invalid, "find %q: no link, campaign, node or site has that name: see keyorch get links", name)
	}
	return found, nil
}

// has reports whether there is such a thing.
func (s *sight) has(x subject) bool {
	switch x.kind {
	case aLink:
		_, declared := s.topology.Link(keychain.LinkID(x.name))
		_, recorded := s.view.Record(keychain.LinkID(x.name))
		return declared || recorded
	case aCampaign:
		_, ok := s.campaign(x.name)
		return ok
	case aNode:
		_, ok := s.topology.Node(keychain.NodeID(x.name))
		return ok
	}
	return slices.ContainsFunc(s.topology.Sites, func(o topology.Site) bool { return string(o.Name) == x.name })
}

func (s *sight) campaign(name string) (campaign.Record, bool) {
	all := s.view.Campaigns()
	i := slices.IndexFunc(all, func(c campaign.Record) bool { return c.Name == name })
	if i < 0 {
		return campaign.Record{}, false
	}
	return all[i], true
}

func others(rest []subject) string {
	said := make([]string, len(rest))
	for i, x := range rest {
		said[i] = fmt.Sprintf("%s (keyorch why %v)", "a "+x.kind, x)
	}
	return strings.Join(said, " and ")
}

// why explains one thing.
func (s *sight) why(ctx context.Context, a *app, x subject, out format) error {
	switch x.kind {
	case aLink:
		o := s.whyLink(keychain.LinkID(x.name))
		if out != asTable {
			return out.print(a.out, o)
		}
		printWhy(a.out, s.now, o)
	case aCampaign:
		o, err := s.whyCampaign(ctx, x.name)
		if err != nil {
			return err
		}
		if out != asTable {
			return out.print(a.out, o)
		}
		printWhyCampaign(a.out, s.now, o)
	default:
		o, err := s.whyPlace(x)
		if err != nil {
			return err
		}
		if out != asTable {
			return out.print(a.out, o)
		}
		printWhyPlace(a.out, s.now, o)
	}
	return nil
}

// whyCampaign explains a campaign by its links, as far as they still tell.
func (s *sight) whyCampaign(ctx context.Context, name string) (campaign.CampaignExplanation, error) {
	r, _ := s.campaign(name)
	waves, err := s.standings(ctx, r)
	if err != nil {
		return campaign.CampaignExplanation{}, err
	}
	all := slices.Concat(waves...)
	x := campaign.ExplainCampaign(r, all, s.now)
	x.Troubles = append(x.Troubles, delays(all)...)
	return x, nil
}

// delays are why links that are in flight, and not held yet, wait.
func delays(standings []campaign.Standing) []campaign.Trouble {
	var waiting []linkStatus
	for _, st := range standings {
		if st.Outcome == campaign.InFlight && st.Reason != "" {
			waiting = append(waiting, linkStatus{Link: st.Link, Phase: st.Phase, Reason: st.Reason})
		}
	}
	var out []campaign.Trouble
	for _, g := range alikes(waiting) {
		out = append(out, campaign.Trouble{Outcome: campaign.InFlight, Reason: g.reason, Count: g.count, Links: g.links})
	}
	return out
}

// whyPlace explains a node or a site.
func (s *sight) whyPlace(x subject) (campaign.Place, error) {
	f := campaign.Facts{
		Topology: s.topology, Standing: s.standing, Now: s.now,
		Record: s.view.Record, Reports: s.view.Reports, Present: s.view.Present,
	}
	if x.kind == aNode {
		return campaign.ExplainNode(f, keychain.NodeID(x.name))
	}
	return campaign.ExplainSite(f, keychain.SiteID(x.name))
}

// tell is what `why` prints about a link.
func (w *world) tell(id keychain.LinkID) string {
	s := w.sight()
	var text strings.Builder
	printWhy(&text, s.now, s.whyLink(id))
	return text.String()
}

// completeSubjects completes the names of all that can be explained, where etcd
// answers.
func (a *app) completeSubjects(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	names, how := a.completeLinks(c, args, begun)
	campaigns, _ := a.completeCampaigns(c, args, begun)
	names = append(names, campaigns...)
	s, err := a.openStore(c.Context())
	if err != nil {
		return names, how
	}
	defer func() { _ = s.Close() }()
	t, err := s.Topology(c.Context())
	if err != nil {
		return names, how
	}
	for _, n := range t.Nodes {
		names = append(names, string(n.Name))
	}
	for _, site := range t.Sites {
		names = append(names, string(site.Name))
	}
	return names, how
}
