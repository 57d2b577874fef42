package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/workflows"
)

// whom is the node or the site that a verb is about.
type whom struct {
	node, site, reason string
	timeout            time.Duration
	approving          approving
}

func (q *whom) flags(c *cobra.Command) {
	c.Flags().StringVar(&q.node, "node", "", "one node")
	c.Flags().StringVar(&q.site, "site", "", "all nodes of a site")
	c.Flags().StringVar(&q.reason, "reason", "", "why: it is kept")
	c.Flags().DurationVar(&q.timeout, "timeout", 5*time.Minute, "how long to wait for confirmations; 0 waits for ever")
}

// exclusion is what q names, which must be declared.
func (q *whom) exclusion(t topology.Topology) (topology.Exclusion, error) {
	e := topology.Exclusion{Node: keychain.NodeID(q.node), Site: keychain.SiteID(q.site), Reason: q.reason}
	if (q.node == "") == (q.site == "") {
		return e, fault.New(fault.Invalid, "say whom: --node N or --site S")
	}
	if _, ok := t.Node(e.Node); q.node != "" && !ok {
		return e, fault.New(fault.Invalid, "--node %s: none is declared under that name: see keyorch get nodes", q.node)
	}
	if q.site != "" && !slices.ContainsFunc(t.Sites, func(s topology.Site) bool { return s.Name == e.Site }) {
		return e, fault.New(fault.Invalid, "--site %s: none is declared under that name: see keyorch get sites", q.site)
	}
	return e, nil
}

func (a *app) compromiseVerb() *cobra.Command {
	var q whom
	var report, dry bool
	c := &cobra.Command{
		Use:   "compromise (--node N | --site S) --reason TEXT",
		Short: "Exclude a node or a site, and give new keys to every link that shared one with it",
		Long: `Compromise takes a node, or all nodes of a site, out of every link, takes from its
site what it may open in Vault and does not need any more, and gives every link
that it was part of a new key, at once: without waves, whatever the windows and
budgets say, and in the place of any rotation under way. A link that has nobody
left on one side gets no key; stop its traffic.

The report says which keys it could open, and until when they were in use. It can
be asked for again with --report. Whom it was about comes back with keyorch
readmit.`,
		Example: `  keyorch compromise --node dc2-spine1 --reason "stolen"
  keyorch compromise --site dc3 --report`,
		Args: noArguments,
	}
	q.flags(c)
	c.Flags().BoolVar(&report, "report", false, "only print the report of an earlier one")
	c.Flags().BoolVar(&dry, "dry-run", false, "only say what would be done")
	out := formatFlag(c)
	q.approving.flags(c)
	c.RunE = a.inWorld(func(ctx context.Context, w *world, _ []string) error {
		e, err := q.exclusion(w.view.Topology())
		switch {
		case err != nil:
			return err
		case report:
			return w.report(ctx, e, *out)
		case q.reason == "":
			return fault.New(fault.Invalid, "--reason: say why; it is kept with the exclusion")
		}
		return w.compromise(ctx, e, compromising{verb: "compromise", timeout: q.timeout, dry: dry, out: *out, approving: q.approving})
	})
	return c
}

// compromising is how an exclusion is carried out.
type compromising struct {
	timeout time.Duration
	dry     bool
	out     format
	// verb is what the trail is told that was asked for; empty when it has been told.
	verb string
	// approving is on the strength of which approvals, and revokes whom it revokes, for a
	// revocation.
	approving approving
	revokes   []string
	// shut, if not nil, is done once the exclusion is written and before any new key is
	// made.
	shut func(context.Context) error
}

func (w *world) compromise(ctx context.Context, asked topology.Exclusion, how compromising) error {
	e := asked
	t := w.view.Topology()
	named := namedBy(t, e)
	ids := linksOf(t, w.view.Records(), named)
	old, again := exclusionOf(w.view.Standing(), e)
	e.Since, e.Campaign = time.Now().UTC(), newCampaign(campaign.Emergency)
	if again { // what it knew then, it knows
		e.Since, e.Exposed = old.Since, old.Exposed
	}
	e.Exposed = merged(e.Exposed, exposed(w.view.Records(), named))
	standing := with(w.view.Standing(), e)
	if how.dry {
		return w.wouldExclude(e, t.Without(standing), ids)
	}
	request := workflows.CampaignRequest{
		Name: e.Campaign, Kind: campaign.Emergency, Selection: campaign.Selection{Links: ids}, By: w.by(), Reason: e.Reason,
		About: append(slices.Clone(how.revokes), calledBy(e)),
	}
	need, _ := workflows.NeedOf(request, t, ids, len(how.revokes) > 0)
	var err error
	if request.Approval, err = w.consent(ctx, need, how.approving); err != nil {
		return err
	}
	if how.approving.waited(request.Approval) { // much may have changed meanwhile: look again
		how.approving.id = request.Approval
		if err := w.view.CatchUp(ctx); err != nil {
			return err
		}
		return w.compromise(ctx, asked, how)
	}
	e.Approval = request.Approval
	if err := w.openTemporal(ctx); err != nil {
		return err
	}
	if how.verb != "" {
		err := w.announce(ctx, deed(how.verb, outcomeAsked, audit.Record{Node: e.Node, Site: e.Site, Campaign: e.Campaign, Reason: e.Reason, Approval: e.Approval,
			Details: map[string]string{"links": oneLine(ids)}}))
		if err != nil {
			return err
		}
	}
	if err := w.provision(ctx, t, standing); err != nil { // before any new key is made
		return err
	}
	if err := w.exclude(ctx, e, named); err != nil {
		return err
	}
	if how.shut != nil {
		err = how.shut(ctx)
	}
	if err == nil && len(ids) > 0 {
		err = w.run(ctx, request, ids, how.timeout, how.out.quiet())
	}
	if reported := w.report(context.WithoutCancel(ctx), e, how.out); reported != nil {
		return reported
	}
	return err
}

// exclude writes an exclusion down, with the keys that were made for it until it
// was.
func (w *world) exclude(ctx context.Context, e topology.Exclusion, named func(keychain.NodeID) bool) error {
	if err := w.store.Exclude(ctx, e); err != nil {
		return err
	}
	if err := w.view.CatchUp(ctx); err != nil {
		return err
	}
	known := len(e.Exposed)
	e.Exposed = merged(e.Exposed, exposed(w.view.Records(), named))
	if len(e.Exposed) == known {
		return nil
	}
	return w.store.Exclude(ctx, e)
}

// namedBy says which nodes e is about.
func namedBy(t topology.Topology, e topology.Exclusion) func(keychain.NodeID) bool {
	s := topology.Standing{Exclusions: []topology.Exclusion{e}}
	return func(n keychain.NodeID) bool { _, is := s.Excludes(t, n); return is }
}

// linksOf is the declared links that a node is part of, by what is declared or by
// what is in use: a node that was taken out of a link has its key until the next
// rotation.
func linksOf(t topology.Topology, records []link.Record, named func(keychain.NodeID) bool) []keychain.LinkID {
	var ids []keychain.LinkID
	for _, l := range t.Links {
		if slices.ContainsFunc(nodesOf(l), named) {
			ids = append(ids, l.Name)
		}
	}
	for _, r := range records {
		if _, declared := t.Link(r.Link); declared && slices.ContainsFunc(r.State.Nodes(), named) {
			ids = append(ids, r.Link)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// wouldExclude says what compromise would do.
func (w *world) wouldExclude(e topology.Exclusion, left topology.Topology, ids []keychain.LinkID) error {
	var rows [][]string
	for _, id := range ids {
		l, _ := left.Link(id)
		what := "gets a new key"
		if len(l.Upstream) == 0 || len(l.Downstream) == 0 {
			what = "has nobody left on one side: stop its traffic"
		}
		rows = append(rows, []string{string(id), what})
	}
	table(w.app.out, []string{"LINK", "WOULD"}, rows)
	w.warnOfItsSite(e)
	_, err := fmt.Fprintf(w.app.out, "%d keys would be exposed; nothing was changed\n", len(e.Exposed))
	return err
}

// provision makes Vault's keys and policies follow the topology without who is
// excluded. Who is excluded may open nothing, whatever is in use.
func (w *world) provision(ctx context.Context, t topology.Topology, standing topology.Standing) error {
	vault, err := w.app.openCustody(ctx)
	if err != nil {
		return err
	}
	return provision(ctx, w.store, vault, t, standing)
}

func provision(ctx context.Context, s *store.Store, vault *custody.Custody, t topology.Topology, standing topology.Standing) error {
	inUse, err := inUseWithout(ctx, s, standing)
	if err != nil {
		return err
	}
	enrolled, err := wiring.Enrolled(ctx, s)
	if err != nil {
		return err
	}
	return wiring.Provision(ctx, vault, t.Without(standing), inUse, enrolled)
}

// inUseWithout is what is in use of those who are not excluded.
func inUseWithout(ctx context.Context, s *store.Store, standing topology.Standing) (wiring.InUse, error) {
	inUse, err := s.KEKs(ctx)
	for _, e := range standing.Exclusions {
		delete(inUse, e.Site)
		for _, nodes := range inUse {
			delete(nodes, e.Node)
		}
	}
	return inUse, err
}

func (a *app) readmitVerb() *cobra.Command {
	var q whom
	c := &cobra.Command{
		Use:   "readmit (--node N | --site S) --reason TEXT",
		Short: "Take a node or a site back that compromise excluded",
		Long: `Readmit ends an exclusion: the nodes are part of their links again as soon as each
has been given another key, which is made for them too, and has confirmed it.`,
		Args: noArguments,
	}
	q.flags(c)
	out := formatFlag(c)
	c.RunE = a.inWorld(func(ctx context.Context, w *world, _ []string) error {
		t := w.view.Topology()
		e, err := q.exclusion(t)
		if err != nil {
			return err
		}
		if q.reason == "" {
			return fault.New(fault.Invalid, "--reason: say why it may be trusted again")
		}
		if _, ok := exclusionOf(w.view.Standing(), e); !ok {
			return fault.New(fault.Refused, "readmit %s: it is not excluded", calledBy(e))
		}
		if err := w.openTemporal(ctx); err != nil {
			return err
		}
		if err := w.report(ctx, e, out.quiet()); err != nil { // nobody can ask for it afterwards
			return err
		}
		selection := campaign.Selection{Node: e.Node, Site: e.Site}
		ids, err := selection.Resolve(t)
		if err != nil {
			return err
		}
		in := workflows.CampaignRequest{
			Name: newCampaign(campaign.Readmitted), Kind: campaign.Readmitted, Selection: selection, By: w.by(), Reason: q.reason,
		}
		asks := ofCampaign(in, ids)
		asks.Node, asks.Site = e.Node, e.Site
		if err := w.announce(ctx, deed("readmit", outcomeAsked, asks)); err != nil {
			return err
		}
		if err := w.provision(ctx, t, without(w.view.Standing(), e)); err != nil {
			return err
		}
		if err := w.store.Readmit(ctx, e); err != nil {
			return err
		}
		return w.run(ctx, in, ids, q.timeout, *out)
	})
	return c
}

// calledBy is who an exclusion is about, in words.
func calledBy(e topology.Exclusion) string {
	if e.Site != "" {
		return "site " + string(e.Site)
	}
	return "node " + string(e.Node)
}

// exclusionOf is the exclusion that stands for whom e names.
func exclusionOf(s topology.Standing, e topology.Exclusion) (topology.Exclusion, bool) {
	i := slices.IndexFunc(s.Exclusions, func(o topology.Exclusion) bool { return o.Node == e.Node && o.Site == e.Site })
	if i < 0 {
		return topology.Exclusion{}, false
	}
	return s.Exclusions[i], true
}

// without is s without the exclusion of whom e names, and with is s with it.
func without(s topology.Standing, e topology.Exclusion) topology.Standing {
	s.Exclusions = slices.DeleteFunc(slices.Clone(s.Exclusions), func(o topology.Exclusion) bool { return o.Node == e.Node && o.Site == e.Site })
	return s
}

func with(s topology.Standing, e topology.Exclusion) topology.Standing {
	s = without(s, e)
	s.Exclusions = append(s.Exclusions, e)
	return s
}
