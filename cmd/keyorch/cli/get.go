package cli

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

// listed is one kind of thing that get shows: a table row and a document each.
type listed struct {
	header []string
	names  []string
	rows   [][]string
	docs   []any
	labels []topology.Labels
	// declared says that the documents are declarations, which have labels and which
	// apply takes again.
	declared bool
}

func (l *listed) add(name string, doc any, columns ...string) {
	l.names = append(l.names, name)
	l.rows = append(l.rows, append([]string{name}, columns...))
	l.docs = append(l.docs, doc)
	l.labels = append(l.labels, labelsOf(doc))
}

// getKinds is what can be listed.
func getKinds() []string {
	return []string{"sites", "nodes", "links", "policies", "rules", "webhooks", "agents", "campaigns", "maintenance", "exclusions", "identities"}
}

func (a *app) getVerb() *cobra.Command {
	what := getKinds()
	c := &cobra.Command{
		Use:   "get " + strings.Join(what, "|") + " [NAME...]",
		Short: "List what is declared, the agents that are there, campaigns, and what operators decided",
		Example: `  keyorch get links -l tier=core --show-labels
  keyorch get policies -o yaml`,
		ValidArgsFunction: cobra.FixedCompletions(what, cobra.ShellCompDirectiveNoFileComp),
		Args:              named(1, math.MaxInt, "say what: "+strings.Join(what, ", ")),
	}
	var selector string
	c.Flags().StringVarP(&selector, "selector", "l", "", "declarations whose labels match, as in tier=core,region!=eu")
	showLabels := c.Flags().Bool("show-labels", false, "a column with the labels")
	out := formatFlag(c)
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		list, err := w.list(ctx, args[0])
		if err != nil {
			return err
		}
		if err := list.only(args[0], args[1:]); err != nil {
			return err
		}
		if err := list.matching(args[0], selector); err != nil {
			return err
		}
		switch {
		case *out == asYAML && list.declared:
			return topology.Encode(a.out, list.topology()) // documents that apply takes again
		case *out != asTable:
			return out.print(a.out, map[string]any{"items": append([]any{}, list.docs...)})
		}
		if *showLabels && list.declared {
			list.withLabels()
		}
		table(a.out, list.header, list.rows)
		return nil
	})
	return c
}

// labelsOf is the labels of a declaration.
func labelsOf(doc any) topology.Labels {
	switch d := doc.(type) {
	case topology.Site:
		return d.Labels
	case topology.Node:
		return d.Labels
	case topology.Link:
		return d.Labels
	case topology.Policy:
		return d.Labels
	case topology.Webhook:
		return d.Labels
	case topology.ApprovalRule:
		return d.Labels
	}
	return nil
}

// matching keeps what a selector chooses.
func (l *listed) matching(kind, selector string) error {
	if selector == "" {
		return nil
	}
	if !l.declared {
		return fault.New(fault.Invalid, "get %s: -l chooses by labels, which only declarations have", kind)
	}
	chosen, err := topology.ParseSelector(selector)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "get %s -l", kind)
	}
	kept := listed{header: l.header, declared: true}
	for i, n := range l.names {
		if chosen.Matches(l.labels[i]) {
			kept.add(n, l.docs[i], l.rows[i][1:]...)
		}
	}
	*l = kept
	return nil
}

// withLabels adds a column with the labels.
func (l *listed) withLabels() {
	l.header = append(slices.Clone(l.header), "LABELS")
	for i := range l.rows {
		var said []string
		for _, k := range slices.Sorted(maps.Keys(l.labels[i])) {
			said = append(said, k+"="+l.labels[i][k])
		}
		l.rows[i] = append(l.rows[i], dash(strings.Join(said, ",")))
	}
}

// topology is what is listed, as declarations.
func (l *listed) topology() (t topology.Topology) {
	for _, d := range l.docs {
		switch d := d.(type) {
		case topology.Site:
			t.Sites = append(t.Sites, d)
		case topology.Node:
			t.Nodes = append(t.Nodes, d)
		case topology.Link:
			t.Links = append(t.Links, d)
		case topology.Policy:
			t.Policies = append(t.Policies, d)
		case topology.Webhook:
			t.Webhooks = append(t.Webhooks, d)
		case topology.ApprovalRule:
			t.ApprovalRules = append(t.ApprovalRules, d)
		}
	}
	return t
}

// only keeps the names given, all of which must be there.
func (l *listed) only(kind string, names []string) error {
	if len(names) == 0 {
		return nil
	}
	kept := listed{header: l.header, declared: l.declared}
	for _, n := range names {
		i := slices.Index(l.names, n)
		if i < 0 {
			return fault.New(fault.Invalid, "get %s: there is no %q", kind, n)
		}
		kept.add(n, l.docs[i], l.rows[i][1:]...)
	}
	*l = kept
	return nil
}

func (w *world) list(ctx context.Context, kind string) (*listed, error) {
	t := w.view.Topology()
	switch kind {
	case "site", "sites":
		return w.sites(t), nil
	case "node", "nodes":
		l := &listed{header: []string{"NODE", "SITE", "DEVICE", "AGENT"}, declared: true}
		for _, n := range t.Nodes {
			agent := "-"
			if who, ok := w.view.Agent(n.Name); ok {
				agent = who.Host
			}
			l.add(string(n.Name), n, string(n.Site), n.Device.Kind, agent)
		}
		return l, nil
	case "link", "links":
		l := &listed{header: []string{"LINK", "UPSTREAM", "DOWNSTREAM", "POLICY"}, declared: true}
		for _, k := range t.Links {
			l.add(string(k.Name), k, join(k.Upstream), join(k.Downstream), dash(k.Policy))
		}
		return l, nil
	case "policy", "policies":
		return policies(t), nil
	case "webhook", "webhooks":
		return w.webhooks(ctx, t)
	case "rule", "rules", "approvalrule", "approvalrules":
		return rules(w.view.Declared(), w.view.Rules()), nil
	case "agent", "agents":
		return w.agents(t), nil
	case "campaign", "campaigns":
		return campaigns(time.Now(), w.view.Campaigns()), nil
	case "maintenance":
		return maintenance(time.Now(), w.view.Standing()), nil
	case "exclusion", "exclusions":
		return exclusions(time.Now(), w.view.Standing()), nil
	case "identity", "identities":
		return w.identities(ctx)
	}
	kinds := getKinds()
	return nil, fault.New(fault.Invalid, "get %q: there is no such kind: use %s or %s", kind,
		strings.Join(kinds[:len(kinds)-1], ", "), kinds[len(kinds)-1])
}

func (w *world) sites(t topology.Topology) *listed {
	l := &listed{header: []string{"SITE", "NODES", "SERVED", "DESCRIPTION"}, declared: true}
	nodes, served := map[keychain.SiteID]int{}, map[keychain.SiteID]int{}
	for _, n := range t.Nodes {
		nodes[n.Site]++
		if _, ok := w.view.Agent(n.Name); ok {
			served[n.Site]++
		}
	}
	for _, s := range t.Sites {
		l.add(string(s.Name), s, fmt.Sprint(nodes[s.Name]), fmt.Sprint(served[s.Name]), dash(s.Description))
	}
	return l
}

// agentDoc is one agent in `get agents -o json`.
type agentDoc struct {
	Node     keychain.NodeID `json:"node"`
	Site     keychain.SiteID `json:"site"`
	Host     string          `json:"host"`
	PID      int             `json:"pid"`
	Instance string          `json:"instance"`
	Version  string          `json:"version"`
	Started  time.Time       `json:"started"`
}

func (w *world) agents(t topology.Topology) *listed {
	l := &listed{header: []string{"NODE", "SITE", "HOST", "PID", "VERSION", "UP"}}
	for _, n := range t.Nodes {
		who, ok := w.view.Agent(n.Name)
		if !ok {
			continue
		}
		doc := agentDoc{
			Node: n.Name, Site: n.Site, Host: who.Host, PID: who.PID,
			Instance: who.Instance, Version: who.Version, Started: who.Started,
		}
		l.add(string(n.Name), doc, string(n.Site), who.Host, fmt.Sprint(who.PID), who.Version, age(time.Now(), who.Started))
	}
	return l
}

func join(ids []keychain.NodeID) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = string(id)
	}
	return strings.Join(names, ",")
}
