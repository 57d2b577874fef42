package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/store"
)

func (a *app) auditArchiveVerb() *cobra.Command {
	var wait time.Duration
	c := &cobra.Command{
		Use:   "archive FILE",
		Short: "Export the audit trail, and take what was exported out of etcd",
		Long: `Archive writes an export of the trail to FILE, verifies it, and then takes its records out of
etcd, whose space is finite. The last checkpoint stays, so that what follows is anchored to
it: "audit verify LATER --extends FILE" shows that nothing is missing between the two.
The trail says that it was done, by whom, and the file's hash.

FILE is the only copy then: keep it well. It needs the certificate of root.`,
		Example: `  keyorch audit archive trail-2026.jsonl`,
		Args:    named(1, 1, "name the file to write"),
	}
	c.Flags().DurationVar(&wait, "wait", time.Minute, "how long to wait for what happened to be signed")
	c.RunE = func(c *cobra.Command, args []string) error {
		s, err := a.openStore(c.Context())
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		return a.archiveTrail(c.Context(), s, args[0], wait)
	}
	return c
}

func (a *app) archiveTrail(ctx context.Context, s *store.Store, name string, wait time.Duration) error {
	if err := s.Trail().MayArchive(ctx); err != nil {
		return err
	}
	keys, err := a.trailKeys(ctx)
	if err != nil {
		return err
	}
	head, checkpoint, err := audit.Await(ctx, s.Trail(), wait)
	if err != nil {
		return err
	}
	sum := sha256.New()
	export := audit.Export{Head: head, Checkpoint: checkpoint, Keys: keys}
	if err := whole(name, func(w io.Writer) error { return export.Write(ctx, s.Trail(), io.MultiWriter(w, sum)) }); err != nil {
		return err
	}
	proof, err := a.verifyFile(name, audit.Question{Keys: keys})
	if err != nil {
		return unverified(fault.Wrap(fault.Of(err), err, "nothing was taken out: %s", name))
	}
	err = s.Trail().Archive(ctx, checkpoint, audit.Record{Kind: audit.Trail, Verb: audit.Archived, Details: map[string]string{
		"records": fmt.Sprintf("%d to %d", proof.First, proof.Last), "sha256": hex.EncodeToString(sum.Sum(nil)),
	}})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "records %d to %d are in %s, and in etcd no more\n", proof.First, proof.Last, name)
	return err
}
