package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/store"
	"github.com/keyorch/keyorch/topology"
)

func (a *app) applyVerb() *cobra.Command {
	var files []string
	var dry bool
	c := &cobra.Command{
		Use:   "apply -f FILE|DIRECTORY|- ...",
		Short: "Declare sites, nodes, links, policies, webhooks and rules of approvals",
		Long: `Apply reads documents, checks all of them against each other and against what is
declared already, and declares them. When anything is wrong, every problem is
listed with its file, line and field, and nothing is changed.

In Vault it makes the key-encryption keys of links where they are missing, and
writes what each agent that is enrolled may open.`,
		Example: `  keyorch apply -f network.yaml
  keyorch apply -f network/ --dry-run`,
		Args: noArguments,
	}
	c.Flags().StringArrayVarP(&files, "filename", "f", nil, "a file, a directory, or - for standard input (may be repeated)")
	c.Flags().BoolVar(&dry, "dry-run", false, "check everything, change nothing")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if len(files) == 0 {
			return fault.New(fault.Invalid, "apply: say what to read with -f")
		}
		sources, err := topology.Read(a.in, files)
		if err != nil {
			return err
		}
		s, err := a.openStore(c.Context())
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		return a.apply(c.Context(), s, sources, dry)
	}
	return c
}

func (a *app) apply(ctx context.Context, s *store.Store, sources []topology.Source, dry bool) error {
	if err := s.Whole(ctx); err != nil {
		return err
	}
	declared, base, err := s.TopologyAt(ctx)
	if err != nil {
		return err
	}
	wanted, err := topology.Parse(sources, wiring.Kinds(), declared)
	if err != nil {
		return err
	}
	if len(wanted.Sites)+len(wanted.Nodes)+len(wanted.Links)+len(wanted.Policies)+len(wanted.Webhooks)+len(wanted.ApprovalRules) == 0 {
		return fault.New(fault.Invalid, "apply: there is no document in what was given")
	}
	records, err := s.Records(ctx, nil)
	if err != nil {
		return err
	}
	if err := settled(declared, wanted, records); err != nil {
		return err
	}
	if dry {
		more := ""
		if n := len(wanted.Webhooks); n > 0 {
			more += fmt.Sprintf(", %d webhooks", n)
		}
		if n := len(wanted.ApprovalRules); n > 0 {
			more += fmt.Sprintf(", %d rules of approvals", n)
		}
		_, err := fmt.Fprintf(a.out, "valid: %d sites, %d nodes, %d links, %d policies%s; nothing was changed\n",
			len(wanted.Sites), len(wanted.Nodes), len(wanted.Links), len(wanted.Policies), more)
		return err
	}
	vault, err := a.openCustody(ctx)
	if err != nil {
		return err
	}
	standing, err := s.Standing(ctx)
	if err != nil {
		return err
	}
	what := audit.Record{Details: map[string]string{"declares": fmt.Sprintf("%d sites, %d nodes, %d links, %d policies",
		len(wanted.Sites), len(wanted.Nodes), len(wanted.Links), len(wanted.Policies))}}
	if err := announce(ctx, s, deed("apply", outcomeAsked, what)); err != nil {
		return err
	}
	if err := provision(ctx, s, vault, declared.Merge(wanted), standing); err != nil {
		return err
	}
	// What it changes, object by object, is told in the same transaction.
	applied, err := s.Apply(ctx, base, wanted, deed("apply", outcomeDone, what))
	for _, d := range applied {
		_, _ = fmt.Fprintf(a.out, "%s %s %s\n", d.Kind, d.Name, d.Action)
	}
	if err != nil {
		return err
	}
	return a.awaitedByRules(ctx, s, "")
}
