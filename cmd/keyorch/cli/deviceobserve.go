package cli

import (
	"context"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/agents"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

func (a *app) deviceObserveVerb() *cobra.Command {
	var files []string
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "observe NODE [LINK...]",
		Short: "Look at a node's device from this machine, and change nothing",
		Long: `Observe opens the device of a node as its agent would, from where it is run, and
prints what the device shows on each link. So parameters, reachability, rights and
what the device can do are tried before it carries traffic.

The node is taken from the files of -f, or else from what is declared. Files need no
servers. The exit code is 0 when every link could be looked at.`,
		Example: `  keyorch device observe -f network.yaml dc2-spine1
  keyorch device observe dc2-spine1 dc1-dc2`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fault.New(fault.Invalid, "observe: say which node")
			}
			return nil
		},
	}
	c.Flags().StringArrayVarP(&files, "filename", "f", nil, "take the node from this file or directory, or - for standard input (may be repeated)")
	c.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long the device may take for one link")
	out := formatFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		t, err := a.topologyOf(c.Context(), files)
		if err != nil {
			return err
		}
		node, links, err := partsOf(t, args[0], args[1:])
		if err != nil {
			return err
		}
		device, err := wiring.Devices{SimAddress: a.getenv("KEYORCH_SIM")}.Open(node)
		if err != nil {
			return err
		}
		return a.observe(c.Context(), device, links, timeout, *out)
	}
	return c
}

// topologyOf is what the files declare, or else what is declared on the servers.
func (a *app) topologyOf(ctx context.Context, files []string) (topology.Topology, error) {
	if len(files) > 0 {
		sources, err := topology.Read(a.in, files)
		if err != nil {
			return topology.Topology{}, err
		}
		return topology.Parse(sources, wiring.Kinds(), topology.Topology{})
	}
	s, err := a.openStore(ctx)
	if err != nil {
		return topology.Topology{}, err
	}
	defer func() { _ = s.Close() }()
	t, _, err := s.TopologyAt(ctx)
	return t, err
}

// partsOf is a node and the links that it is on, of those that are asked for.
func partsOf(t topology.Topology, name string, asked []string) (topology.Node, []topology.Link, error) {
	node, ok := t.Node(keychain.NodeID(name))
	if !ok {
		return node, nil, fault.New(fault.Invalid, "observe: no node %q is declared", name)
	}
	var links []topology.Link
	for _, l := range t.Links {
		on := slices.Contains(l.Upstream, node.Name) || slices.Contains(l.Downstream, node.Name)
		if on && (len(asked) == 0 || slices.Contains(asked, string(l.Name))) {
			links = append(links, l)
		}
	}
	for _, want := range asked {
		if !slices.ContainsFunc(links, func(l topology.Link) bool { return string(l.Name) == want }) {
			return node, nil, fault.New(fault.Invalid, "observe: node %s is on no link %q", name, want)
		}
	}
	if len(links) == 0 {
		return node, nil, fault.New(fault.Invalid, "observe: node %s is on no link", name)
	}
	return node, links, nil
}

// seen is one side of a link as `device observe` prints it.
type seen struct {
	Link    keychain.LinkID           `json:"link"`
	Role    string                    `json:"role"`
	Accepts []keychain.Ref            `json:"accepts,omitempty"`
	Sends   keychain.Ref              `json:"sends,omitzero"`
	Packets map[keychain.Epoch]uint64 `json:"packets,omitempty"`
	Fault   string                    `json:"fault,omitempty"`
	Message string                    `json:"message,omitempty"`
}

func (a *app) observe(ctx context.Context, n agents.Node, links []topology.Link, timeout time.Duration, out format) error {
	var all []seen
	var worst error
	add := func(s seen, err error) {
		if err != nil {
			s.Fault, s.Message, worst = fault.Of(err).String(), err.Error(), err
		}
		all = append(all, s)
	}
	for _, l := range links {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		if slices.Contains(l.Downstream, n.ID) {
			o, err := n.Downstream.Observe(ctx, l.Name)
			add(seen{Link: l.Name, Role: "downstream", Accepts: o.Accepts, Packets: o.Packets}, err)
		}
		if slices.Contains(l.Upstream, n.ID) {
			o, err := n.Upstream.Observe(ctx, l.Name)
			add(seen{Link: l.Name, Role: "upstream", Sends: o.Sends, Packets: o.Packets}, err)
		}
		cancel()
	}
	if out != asTable {
		if err := out.print(a.out, all); err != nil {
			return err
		}
	} else {
		a.printSeen(all)
	}
	if worst != nil {
		return &exitError{code: ExitCode(worst)}
	}
	return nil
}

func (a *app) printSeen(all []seen) {
	t := tabwriter.NewWriter(a.out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(t, "LINK\tROLE\tKEYS\tPACKETS")
	for _, s := range all {
		keys := s.Accepts
		if s.Role == "upstream" {
			keys = []keychain.Ref{s.Sends}
		}
		words, packets := "", ""
		for i, k := range keys {
			if i > 0 {
				words, packets = words+", ", packets+", "
			}
			words += k.String()
			if n, ok := s.Packets[k.Epoch]; ok {
				packets += fmt.Sprint(n)
			} else {
				packets += "-"
			}
		}
		if s.Message != "" {
			words, packets = s.Message, "-"
		} else if len(keys) == 0 {
			words, packets = "none", "-"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.Link, s.Role, words, packets)
	}
	_ = t.Flush()
}
