package cli

import (
	"context"
	"fmt"
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
}

func (l *listed) add(name string, doc any, columns ...string) {
	l.names = append(l.names, name)
	l.rows = append(l.rows, append([]string{name}, columns...))
	l.docs = append(l.docs, doc)
}

func (a *app) getVerb() *cobra.Command {
	what := []string{"sites", "nodes", "links", "policies", "agents"}
	c := &cobra.Command{
		Use:               "get sites|nodes|links|policies|agents [NAME...]",
		Short:             "List what is declared, and the agents that are there",
		ValidArgsFunction: cobra.FixedCompletions(what, cobra.ShellCompDirectiveNoFileComp),
		Args:              named(1, math.MaxInt, "say what: "+strings.Join(what, ", ")),
	}
	out := formatFlag(c)
	c.RunE = a.inWorld(func(_ context.Context, w *world, args []string) error {
		list, err := w.list(args[0])
		if err != nil {
			return err
		}
		if err := list.only(args[0], args[1:]); err != nil {
			return err
		}
		switch t, declared := list.topology(); {
		case *out == asYAML && declared:
			return topology.Encode(a.out, t) // documents that apply takes again
		case *out != asTable:
			return out.print(a.out, map[string]any{"items": append([]any{}, list.docs...)})
		}
		table(a.out, list.header, list.rows)
		return nil
	})
	return c
}

// topology is what is listed as declarations; false when it is something else.
func (l *listed) topology() (t topology.Topology, declared bool) {
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
		default:
			return t, false
		}
	}
	return t, true
}

// only keeps the names given, all of which must be there.
func (l *listed) only(kind string, names []string) error {
	if len(names) == 0 {
		return nil
	}
	kept := listed{header: l.header}
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

func (w *world) list(kind string) (*listed, error) {
	t := w.view.Topology()
	switch kind {
	case "site", "sites":
		return w.sites(t), nil
	case "node", "nodes":
		l := &listed{header: []string{"NODE", "SITE", "DEVICE", "AGENT"}}
		for _, n := range t.Nodes {
			agent := "-"
			if who, ok := w.view.Agent(n.Name); ok {
				agent = who.Host
			}
			l.add(string(n.Name), n, string(n.Site), n.Device.Kind, agent)
		}
		return l, nil
	case "link", "links":
		l := &listed{header: []string{"LINK", "UPSTREAM", "DOWNSTREAM", "POLICY"}}
		for _, k := range t.Links {
			l.add(string(k.Name), k, join(k.Upstream), join(k.Downstream), dash(k.Policy))
		}
		return l, nil
	case "policy", "policies":
		l := &listed{header: []string{"POLICY", "DRAIN"}}
		for _, p := range t.Policies {
			l.add(p.Name, p, p.Drain.String())
		}
		return l, nil
	case "agent", "agents":
		return w.agents(t), nil
	}
	return nil, fault.New(fault.Invalid, "get %q: there is no such kind: use sites, nodes, links, policies or agents", kind)
}

func (w *world) sites(t topology.Topology) *listed {
	l := &listed{header: []string{"SITE", "NODES", "SERVED", "DESCRIPTION"}}
	for _, s := range t.Sites {
		nodes, served := 0, 0
		for _, n := range t.Nodes {
			if n.Site != s.Name {
				continue
			}
			nodes++
			if _, ok := w.view.Agent(n.Name); ok {
				served++
			}
		}
		l.add(string(s.Name), s, fmt.Sprint(nodes), fmt.Sprint(served), dash(s.Description))
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
