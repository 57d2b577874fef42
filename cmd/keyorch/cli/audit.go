package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/store"
)

func (a *app) auditVerb() *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "Show, export, verify and archive the audit trail",
		Long: `The audit trail says who did what and when: verbs of persons, phases of links with
everybody's confirmations, refusals, repairs, exclusions, enrolments. Who acted is the
name in the certificate that etcd saw. The records are a chain of hashes, and its end
is signed through Vault: a record that is removed, changed or reordered later is found
out by "audit verify", offline, in any export.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.auditShowVerb(), a.auditExportVerb(), a.auditVerifyVerb(), a.auditEvidenceVerb(), a.auditKeyVerb(), a.auditArchiveVerb())
	return c
}

func (a *app) auditExportVerb() *cobra.Command {
	var wait time.Duration
	c := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write the audit trail as JSON lines, ending with a signed checkpoint",
		Long: `Export writes the whole trail to FILE, or to standard output: a header, a line for each
record with its hash, the signed checkpoints between them, and a checkpoint at the
end. It covers everything that had happened when it began; so it waits until a
worker has taken that in and had it signed, a few seconds.`,
		Example: `  keyorch audit export trail.jsonl
  keyorch audit export | gzip > trail.jsonl.gz`,
		Args: named(0, 1, "name one file, or none for standard output"),
	}
	c.Flags().DurationVar(&wait, "wait", time.Minute, "how long to wait for what happened to be signed")
	c.RunE = func(c *cobra.Command, args []string) error {
		s, err := a.openStore(c.Context())
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		if len(args) == 0 || args[0] == "-" {
			return a.exportTrail(c.Context(), s, wait, a.out)
		}
		return whole(args[0], func(w io.Writer) error { return a.exportTrail(c.Context(), s, wait, w) })
	}
	return c
}

func (a *app) exportTrail(ctx context.Context, s *store.Store, wait time.Duration, to io.Writer) error {
	head, checkpoint, err := audit.Await(ctx, s.Trail(), wait)
	if err != nil {
		return err
	}
	keys, err := a.trailKeys(ctx)
	if err != nil {
		_, _ = fmt.Fprintf(a.err, "the export has no public keys in it, since Vault does not give them: %v\n", err)
	}
	return audit.Export{Head: head, Checkpoint: checkpoint, Keys: keys}.Write(ctx, s.Trail(), to)
}

// trailKeys are the public keys of the trail, from Vault.
func (a *app) trailKeys(ctx context.Context) (audit.Keys, error) {
	vault, err := a.openCustody(ctx)
	if err != nil {
		return nil, err
	}
	return vault.AuditKeys(ctx)
}

func (a *app) auditKeyVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "key",
		Short: "Print the public keys of the audit trail, as PEM",
		Long: `Key prints the public keys that the trail is signed with: ` + custody.AuditKey + ` in Vault
Transit. Keep them where nobody changes them who can write to etcd or Vault, and
give them to "audit verify --key".`,
		Example: `  keyorch audit key > audit.pem`,
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			keys, err := a.trailKeys(c.Context())
			if err != nil {
				return err
			}
			pem, err := keys.PEM()
			if err != nil {
				return err
			}
			_, err = a.out.Write(pem)
			return err
		},
	}
}
