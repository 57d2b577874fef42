package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/evidence"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/store"
)

func (a *app) auditEvidenceVerb() *cobra.Command {
	var wish evidence.Wish
	var turn uint64
	var file string
	var wait time.Duration
	c := &cobra.Command{
		Use:   "evidence LINK [--turn T | --campaign C] [-f FILE]",
		Short: "Write the whole proof of one rotation of a link as one file",
		Long: `Evidence gathers what the trail says of one rotation: who asked for it, who approved
it, when the link entered which phase and which nodes confirmed that, their counters
before and after, and the receipts of those that destroyed the key that was retired.
The records stand in their part of the chain, up to a signed checkpoint; those of
others in between are there as sums. "audit verify FILE" checks it offline, and
"audit show --evidence FILE" prints it.

Without --turn and --campaign it is the last rotation that has ended. What agents
have to say yet is waited for, as long as --wait says.`,
		Example: `  keyorch audit evidence dc1-dc2 -f dc1-dc2.evidence
  keyorch audit evidence dc1-dc2 --campaign rotate-20260301-020000-a1b2c3 -f it.evidence`,
		ValidArgsFunction: a.completeLinks,
		Args:              named(1, 1, "name one link"),
	}
	f := c.Flags()
	f.Uint64Var(&turn, "turn", 0, "the rotation that was at this turn")
	f.StringVar(&wish.Campaign, "campaign", "", "the last rotation by this campaign")
	f.StringVarP(&file, "filename", "f", "", "write it to this file and print a summary (default: to standard output)")
	f.DurationVar(&wait, "wait", 10*time.Second, "how long to wait for receipts that are missing, and for the trail to be signed")
	c.RunE = func(c *cobra.Command, args []string) error {
		wish.Link, wish.Turn = keychain.LinkID(args[0]), keychain.Turn(turn)
		if turn > 0 && wish.Campaign != "" {
			return fault.New(fault.Invalid, "say --turn or --campaign, and not both")
		}
		s, err := a.openStore(c.Context())
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		found, shown, err := gathered(c.Context(), s, wish, wait)
		if err != nil {
			return err
		}
		write := func(w io.Writer) error { return a.writeEvidence(c.Context(), s, found, w) }
		if file == "" || file == "-" {
			return write(a.out)
		}
		if err := whole(file, write); err != nil {
			return err
		}
		printCase(a.out, shown)
		_, err = fmt.Fprintf(a.out, "\nwritten to %s; check it with: keyorch audit verify %s --key KEYS\n", file, file)
		return err
	}
	return c
}

// gathered looks the rotation up until every receipt is there, or patience is over.
func gathered(ctx context.Context, s *store.Store, wish evidence.Wish, patience time.Duration) (evidence.Found, evidence.Case, error) {
	deadline := time.Now().Add(patience)
	for {
		if _, _, err := audit.Await(ctx, s.Trail(), max(patience, time.Second)); err != nil {
			return evidence.Found{}, evidence.Case{}, err
		}
		g := evidence.Gather(wish)
		err := audit.Read(ctx, s.Trail(), 0, func(seq uint64, r audit.Record) error {
			g.Take(seq, r)
			return nil
		})
		if err != nil && !fault.Is(err, fault.Mismatch) { // what is broken is found by verify
			return evidence.Found{}, evidence.Case{}, err
		}
		found, err := g.Find()
		if err != nil {
			return found, evidence.Case{}, err
		}
		shown, err := evidence.Build(found.Head, found.Records)
		if err != nil || len(shown.Missing) == 0 || time.Now().After(deadline) {
			return found, shown, err
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return found, shown, ctx.Err()
		}
	}
}

func (a *app) writeEvidence(ctx context.Context, s *store.Store, found evidence.Found, to io.Writer) error {
	head, err := s.Trail().Head(ctx)
	if err != nil {
		return err
	}
	keys, err := a.trailKeys(ctx)
	if err != nil {
		_, _ = fmt.Fprintf(a.err, "the evidence has no public keys in it, since Vault does not give them: %v\n", err)
	}
	return found.Write(ctx, s.Trail(), audit.Export{Head: head, Keys: keys}, to)
}

// showEvidence prints what an evidence file says, whether or not it can be verified.
func (a *app) showEvidence(name, unpack string, out format) error {
	shown, _, err := a.verifyEvidence(name, audit.Question{})
	if fault.Is(err, fault.Invalid) {
		return err
	}
	if unpack != "" {
		if err := unpackInto(unpack, shown); err != nil {
			return err
		}
	}
	if out != asTable {
		return errorsAfter(out.print(a.out, shown), unverified(err))
	}
	if len(shown.Phases) > 0 {
		printCase(a.out, shown)
	}
	if err == nil {
		_, _ = fmt.Fprintln(a.out, "\nIts hashes are good. Verify it with the public keys: keyorch audit verify --key KEYS")
	}
	return unverified(err)
}

// unpackInto writes what ssh-keygen wants to read into a directory, which must be there.
func unpackInto(dir string, c evidence.Case) error {
	files, err := c.Unpack()
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600); err != nil {
			return fault.Wrap(fault.Invalid, err, "--unpack")
		}
	}
	return nil
}

func (a *app) verifyEvidence(name string, q audit.Question) (evidence.Case, audit.Proof, error) {
	f, err := os.Open(name)
	if err != nil {
		return evidence.Case{}, audit.Proof{}, fault.Wrap(fault.Invalid, err, "read the evidence")
	}
	defer func() { _ = f.Close() }()
	return evidence.Verify(bufio.NewReader(f), q)
}
