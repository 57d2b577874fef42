package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	agelib "filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/backup"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/store"
)

func (a *app) backupVerb() *cobra.Command {
	var to []string
	var file string
	c := &cobra.Command{
		Use:   "backup FILE --recipient age1... [--recipients-file F]",
		Short: "Write everything that is in etcd to an encrypted file",
		Long: `Backup reads everything below keyorch's prefix in etcd as it is at one moment: what
is declared, records, orders, enrolments, the trail. It writes one file, encrypted to
age recipients: the wrapped keys of links are in it. FILE may be - for standard
output. Operators and auditors may make a backup.`,
		Example: `  keyorch backup monday.age --recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
  keyorch backup monday.age --recipients-file /etc/keyorch/recipients`,
		Args: named(1, 1, "name one file"),
	}
	c.Flags().StringArrayVar(&to, "recipient", nil, "who can open it: age1…, or the public key of an SSH key (may be repeated)")
	c.Flags().StringVar(&file, "recipients-file", "", "a file with recipients, one a line")
	c.RunE = func(c *cobra.Command, args []string) error {
		recipients, err := recipientsOf(to, file)
		if err != nil {
			return err
		}
		s, err := a.openStore(c.Context())
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		return a.backUp(c.Context(), s, args[0], recipients)
	}
	return c
}

func recipientsOf(named []string, file string) ([]agelib.Recipient, error) {
	all, err := backup.Recipients("--recipient", strings.NewReader(strings.Join(named, "\n")))
	if err != nil || file == "" {
		return all, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "--recipients-file")
	}
	defer func() { _ = f.Close() }()
	more, err := backup.Recipients(file, f)
	return append(all, more...), err
}

// backUp writes the file, or none.
func (a *app) backUp(ctx context.Context, s *store.Store, name string, recipients []agelib.Recipient) error {
	if err := announce(ctx, s, deed("backup", outcomeAsked, audit.Record{Details: map[string]string{"recipients": fmt.Sprint(len(recipients))}})); err != nil {
		return err
	}
	if name == "-" {
		_, err := dump(ctx, s, a.out, recipients)
		return err
	}
	var made backup.Summary
	err := whole(name, func(to io.Writer) (err error) {
		made, err = dump(ctx, s, to, recipients)
		return err
	})
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(a.err, "%s has %d entries, sha256 %s\n", name, made.Entries, made.SHA256)
	return nil
}

func dump(ctx context.Context, s *store.Store, to io.Writer, recipients []agelib.Recipient) (backup.Summary, error) {
	sealed, err := backup.Encrypt(to, recipients)
	if err != nil {
		return backup.Summary{}, err
	}
	at, err := s.DumpAt(ctx)
	if err != nil {
		return backup.Summary{}, err
	}
	w, err := backup.NewWriter(sealed, at, time.Now())
	if err != nil {
		return backup.Summary{}, err
	}
	if err := s.Dump(ctx, at, w.Put); err != nil {
		return backup.Summary{}, err
	}
	made, err := w.Close()
	if err != nil {
		return made, err
	}
	return made, fault.Wrap(fault.Unavailable, sealed.Close(), "write the backup")
}

func (a *app) restoreVerb() *cobra.Command {
	var keys string
	var dry bool
	c := &cobra.Command{
		Use:   "restore FILE --age-identity F",
		Short: "Write a backup into an empty etcd",
		Long: `Restore reads the whole backup, and every document in it, before it writes anything.
It writes into an empty etcd only, and lets in again who was enrolled. One that was
cut off is gone on with by the same command.

Stop the workers first, and make roles and users with "keyorch bootstrap". Afterwards
run "keyorch recover": links that were rotated since the backup was made are ahead of
it. It takes the administrator's rights.`,
		Example: `  keyorch restore monday.age --age-identity backup.key --dry-run
  keyorch restore monday.age --age-identity backup.key`,
		Args: named(1, 1, "name one file"),
	}
	c.Flags().StringVar(&keys, "age-identity", "", "the file with the age identity, or the SSH key, that opens it (required)")
	c.Flags().BoolVar(&dry, "dry-run", false, "read and check all of it, write nothing")
	c.RunE = func(c *cobra.Command, args []string) error {
		f, err := os.Open(keys)
		if err != nil {
			return fault.Wrap(fault.Invalid, err, "--age-identity")
		}
		defer func() { _ = f.Close() }()
		ids, err := backup.Identities(keys, f)
		if err != nil {
			return err
		}
		s, err := a.openStore(c.Context())
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		return a.restore(c.Context(), s, args[0], ids, dry)
	}
	return c
}

// opened reads a backup from its beginning.
func opened(name string, ids []agelib.Identity, put func(key string, value []byte) error) (backup.Header, backup.Summary, error) {
	f, err := os.Open(name)
	if err != nil {
		return backup.Header{}, backup.Summary{}, fault.Wrap(fault.Invalid, err, "restore")
	}
	defer func() { _ = f.Close() }()
	plain, err := backup.Decrypt(f, ids)
	if err != nil {
		return backup.Header{}, backup.Summary{}, err
	}
	return backup.Read(plain, put)
}

func (a *app) restore(ctx context.Context, s *store.Store, name string, ids []agelib.Identity, dry bool) error {
	var enrolled []store.Enrolment
	header, sum, err := opened(name, ids, func(key string, value []byte) error {
		if strings.HasPrefix(key, "enrolments/") {
			var e store.Enrolment
			if json.Unmarshal(value, &e) == nil && e.RevokedAt.IsZero() {
				enrolled = append(enrolled, e)
			}
		}
		return s.CheckDumped(key, value)
	})
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(a.out, "%s is of %s: %d entries at revision %d, sha256 %s; all of them can be read\n",
		name, header.At.Format(time.RFC3339), sum.Entries, header.Revision, sum.SHA256)
	if dry {
		return nil
	}
	if err := announce(ctx, s, audit.Record{Kind: audit.Recovery, Verb: "restore", Outcome: outcomeAsked, Details: map[string]string{
		"of": header.At.Format(time.RFC3339), "entries": fmt.Sprint(sum.Entries), "sha256": sum.SHA256,
	}}); err != nil {
		return err
	}
	r, err := s.Restore(ctx, sum.SHA256)
	if err != nil {
		return err
	}
	_, again, err := opened(name, ids, func(key string, value []byte) error { return r.Put(ctx, key, value) })
	if err == nil && again != sum {
		err = fault.New(fault.Invalid, "restore %s: the file is another than a moment ago", name)
	}
	if err != nil {
		return err
	}
	if err := r.Flush(ctx); err != nil {
		return err
	}
	for _, e := range enrolled { // before it has ended: one that is cut off here is gone on with, too
		if _, err := s.Admit(ctx, e.Identity); err != nil {
			return err
		}
	}
	if err := r.End(ctx); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(a.out, "restored, and %d identities let in again: now run keyorch recover\n", len(enrolled))
	return nil
}
