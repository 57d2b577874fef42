package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/evidence"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

func (a *app) auditVerifyVerb() *cobra.Command {
	var key, earlier string
	c := &cobra.Command{
		Use:   "verify FILE|-",
		Short: "Verify an export of the audit trail, offline",
		Long: `Verify reads an export, follows the hashes from record to record, and checks the
signature of every checkpoint. It finds a record that was removed, changed, reordered
or put in, a signature that was forged, and an end that was cut off, and names the
line and the record. It speaks to no server, and needs no more memory for a long
trail than for a short one.

The evidence of one rotation, as "audit evidence" wrote it, is verified likewise: that
its records are a whole rotation, and the signatures of who approved it.

Without --key it takes the public keys from the export itself: then compare what it
says of them with "keyorch audit key". With --extends it makes sure that an earlier
export is contained: nothing in it was rewritten since, by nobody.`,
		Example: `  keyorch audit verify trail.jsonl --key audit.pem
  keyorch audit verify today.jsonl --key audit.pem --extends yesterday.jsonl
  zcat trail.jsonl.gz | keyorch audit verify -`,
		Args: named(1, 1, "name the file with the export, or - for standard input"),
	}
	c.Flags().StringVar(&key, "key", "", "the file with the public keys, as audit key printed them")
	c.Flags().StringVar(&earlier, "extends", "", "an earlier export that this one must contain")
	out := formatFlag(c)
	c.RunE = func(_ *cobra.Command, args []string) error {
		var q audit.Question
		if key != "" {
			pem, err := os.ReadFile(key)
			if err != nil {
				return fault.Wrap(fault.Invalid, err, "--key")
			}
			if q.Keys, err = audit.ParseKeys(pem); err != nil {
				return fault.Wrap(fault.Invalid, err, "--key %s", key)
			}
		}
		if earlier != "" {
			proof, err := a.verifyFile(earlier, audit.Question{Keys: q.Keys})
			if err != nil {
				return unverified(fault.Wrap(fault.Of(err), err, "--extends %s", earlier))
			}
			q.Earlier = &proof.End
		}
		proof, shown, err := a.verifyAny(args[0], q)
		if err != nil && !fault.Is(err, fault.Mismatch) {
			return err
		}
		if *out != asTable {
			if printed := out.print(a.out, proof); printed != nil {
				return printed
			}
		} else if err == nil {
			printProof(a.out, proof, earlier)
			if shown != nil {
				printProven(a.out, *shown)
			}
		} else {
			printProblems(a.out, proof)
		}
		return unverified(err)
	}
	return c
}

func (a *app) verifyFile(name string, q audit.Question) (audit.Proof, error) {
	if name == "-" {
		return audit.Verify(a.in, q)
	}
	f, err := os.Open(name)
	if err != nil {
		return audit.Proof{}, fault.Wrap(fault.Invalid, err, "verify the trail")
	}
	defer func() { _ = f.Close() }()
	return audit.Verify(f, q)
}

// verifyAny verifies an export, or an evidence file, whose case it gives, too.
func (a *app) verifyAny(name string, q audit.Question) (audit.Proof, *evidence.Case, error) {
	in := a.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return audit.Proof{}, nil, fault.Wrap(fault.Invalid, err, "verify the trail")
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	r := bufio.NewReader(in)
	if !evidence.Is(r) {
		proof, err := audit.Verify(r, q)
		return proof, nil, err
	}
	if q.Earlier != nil {
		return audit.Proof{}, nil, fault.New(fault.Invalid, "--extends: %s is the evidence of one rotation, and no export", name)
	}
	shown, proof, err := evidence.Verify(r, q)
	return proof, &shown, err
}

// printProven says in a few lines what an evidence file proves.
func printProven(w io.Writer, c evidence.Case) {
	say := func(format string, a ...any) { _, _ = fmt.Fprintf(w, format+"\n", a...) }
	say("evidence: link %s, turns %d to %d, from key %s to %s: %s", c.Link, c.First, c.Last, c.Old, c.New, clean(c.Outcome))
	for _, consent := range c.Consents {
		for _, s := range consent.Signatures {
			say("approval: %s, signed by %s with %s", consent.ID, clean(s.By), s.Key)
		}
	}
	switch {
	case c.Gone == 0:
	case len(c.Missing) == 0:
		say("receipts: every node that had epoch %d says that it is destroyed (%d)", c.Gone, len(c.Receipts))
	default:
		say("receipts: %d for epoch %d, and none of %s", len(c.Receipts), c.Gone, oneLine(nodesIn(c.Missing)))
	}
}

func nodesIn(holders []audit.Holder) []keychain.NodeID {
	var nodes []keychain.NodeID
	for _, h := range holders {
		nodes = append(nodes, h.Node)
	}
	return nodes
}

// unverified ends the command as refused.
func unverified(err error) error {
	if fault.Is(err, fault.Mismatch) {
		return &exitError{exitRefused, err.Error()}
	}
	return err
}

func printProof(w io.Writer, p audit.Proof, earlier string) {
	say := func(format string, a ...any) { _, _ = fmt.Fprintf(w, format+"\n", a...) }
	shown := ""
	if p.Foreign > 0 {
		shown = fmt.Sprintf(", %d of them by their sums alone", p.Foreign)
	}
	say("verified: %d records, %d to %d%s, none missing, changed or out of order", p.Records, p.First, p.Last, shown)
	if !p.From.IsZero() {
		say("time:     from %s to %s", stamp(p.From), stamp(p.To))
	}
	say("signed:   %d checkpoints, the first at %s, the last at %s", p.Checkpoints, stamp(p.Signed[0]), stamp(p.Signed[1]))
	if p.Trusted {
		say("key:      %s, given with --key", p.Keys)
	} else {
		say("key:      %s, from the export itself: compare it with keyorch audit key, or give that with --key", p.Keys)
	}
	if !p.Whole {
		say("begins:   with record %d: what came before is not in it", p.First)
	}
	if p.Extends {
		say("extends:  %s is contained", earlier)
	}
	say("What came after %s is not covered.", stamp(p.Signed[1]))
}

func printProblems(w io.Writer, p audit.Proof) {
	for _, one := range p.Problems {
		_, _ = fmt.Fprintln(w, one)
	}
	if p.More > 0 {
		_, _ = fmt.Fprintf(w, "and %d more\n", p.More)
	}
	if p.Checkpoints > 0 {
		_, _ = fmt.Fprintf(w, "The last good checkpoint is of record %d, %s.\n", p.End.Seq, stamp(p.Signed[1]))
	}
}
