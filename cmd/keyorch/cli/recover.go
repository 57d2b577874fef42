package cli

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/recovery"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

// recovering is what recover was told.
type recovering struct {
	links   []keychain.LinkID
	without []string
	wait    time.Duration
	vault   bool
	dry     bool
	out     format
}

func (a *app) recoverVerb() *cobra.Command {
	var q recovering
	c := &cobra.Command{
		Use:   "recover [LINK ...]",
		Short: "Rebuild the records of links from what their nodes hold, after etcd was lost",
		Long: `Recover is for an etcd that was emptied, or put back from an older copy. It asks
the agent of every node what its devices show and its journal holds, and rebuilds
the records that are missing or older than that. No epoch and no turn goes back, no
rotation is begun, and no device changes what it does. Records that nobody is ahead
of stay as they are, so that it can be repeated.

Apply the topology first, or restore a backup. A link whose nodes do not all answer,
or contradict each other, is held: nothing is written for it, the workers refuse it,
and the reason is told. With --without a node that is gone for good is left out of
its links: nobody knows what it sends with, so its packets may be lost.

Requests for approvals that are open are ended, since etcd may have forgotten that they
were used.

With --ask-vault it asks Vault too which of the wrapped keys it could still open,
after its KEKs were lost and made anew. The others count as lost: nodes that have
them keep them, and a link with a node that has lost its key gets a new one by itself.

It takes the administrator's rights.`,
		Example: `  keyorch recover --dry-run
  keyorch recover --wait 2m
  keyorch recover --without dc3-spine1
  keyorch recover --ask-vault`,
	}
	f := c.Flags()
	f.StringArrayVar(&q.without, "without", nil, "go on without this node (may be repeated)")
	f.DurationVar(&q.wait, "wait", 30*time.Second, "how long to wait for the agents to answer")
	f.BoolVar(&q.vault, "ask-vault", false, "take keys that Vault cannot open any more for lost")
	f.BoolVar(&q.dry, "dry-run", false, "ask the agents and say what would be done, write no record")
	out := formatFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		q.out = *out
		for _, arg := range args {
			q.links = append(q.links, keychain.LinkID(arg))
		}
		s, err := a.openStore(c.Context())
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		r, err := a.newRescue(c.Context(), s, q)
		if err != nil {
			return err
		}
		return r.run(c.Context())
	}
	return c
}

// rescue is one run of recover.
type rescue struct {
	recovering
	app      *app
	store    *store.Store
	topology topology.Topology
	asked    map[store.Place][]store.Asked
	sites    map[keychain.NodeID]keychain.SiteID
	lonely   []keychain.NodeID // that the operator goes on without
	id       string
}

// newRescue finds out whom to ask about what. Faults: Invalid.
func (a *app) newRescue(ctx context.Context, s *store.Store, q recovering) (*rescue, error) {
	if err := s.Whole(ctx); err != nil {
		return nil, err
	}
	t, err := s.Topology(ctx)
	if err != nil {
		return nil, err
	}
	standing, err := s.Standing(ctx)
	if err != nil {
		return nil, err
	}
	t = t.Without(standing)
	r := &rescue{recovering: q, app: a, store: s, topology: t, asked: map[store.Place][]store.Asked{}, sites: map[keychain.NodeID]keychain.SiteID{}, id: rand.Text()}
	for _, n := range t.Nodes {
		r.sites[n.Name] = n.Site
	}
	for _, name := range q.without {
		if _, ok := r.sites[keychain.NodeID(name)]; !ok {
			return nil, fault.New(fault.Invalid, "--without %s: no such node is declared", name)
		}
		r.lonely = append(r.lonely, keychain.NodeID(name))
	}
	if len(t.Links) == 0 {
		return nil, fault.New(fault.Invalid, "recover: no link is declared: apply the topology first, or restore a backup")
	}
	for _, id := range q.links {
		if _, ok := t.Link(id); !ok {
			return nil, fault.New(fault.Invalid, "recover %s: no such link is declared", id)
		}
	}
	for _, l := range r.chosen() {
		r.ask(l)
	}
	return r, nil
}

// chosen is the links that it is about.
func (r *rescue) chosen() []topology.Link {
	return slices.DeleteFunc(slices.Clone(r.topology.Links), func(l topology.Link) bool {
		return len(r.links) > 0 && !slices.Contains(r.links, l.Name)
	})
}

func (r *rescue) ask(l topology.Link) {
	for _, n := range both(l.Upstream, l.Downstream) {
		if slices.Contains(r.lonely, n) {
			continue
		}
		at := store.Place{Site: r.sites[n], Node: n}
		r.asked[at] = append(r.asked[at], store.Asked{Link: l.Name, Sends: slices.Contains(l.Upstream, n), Accepts: slices.Contains(l.Downstream, n)})
	}
}

// both is the nodes of two sides, each once.
func both(a, b []keychain.NodeID) []keychain.NodeID {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

func (r *rescue) run(ctx context.Context) error {
	if !r.dry {
		err := announce(ctx, r.store, deed("recover", outcomeAsked, audit.Record{Details: map[string]string{
			"links": oneLine(r.links), "without": oneLine(r.lonely), "wait": r.wait.String(),
		}}))
		if err != nil {
			return err
		}
	}
	if err := r.endRequests(ctx); err != nil {
		return err
	}
	said, err := r.hear(ctx)
	if err != nil {
		return err
	}
	cases, err := r.cases(ctx, said)
	if err != nil {
		return err
	}
	results := make([]rescued, len(cases))
	for i, c := range cases {
		results[i] = told(recovery.Rebuild(c.Case))
	}
	if !r.dry {
		if err := r.write(ctx, cases, results); err != nil {
			return err
		}
	}
	return r.print(results)
}
