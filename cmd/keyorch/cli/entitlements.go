package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/entitlement"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

// entitled is what was asked: whose keys, and when.
type entitled struct {
	names []string
	at    time.Time // zero: from the beginning until now
	file  string
}

func (a *app) entitlementsVerb() *cobra.Command {
	var q entitled
	var at string
	c := &cobra.Command{
		Use:   "entitlements [LINK|NODE...] [--at TIME]",
		Short: "Show which nodes could open which link's keys, from when to when",
		Long: `Entitlements says who could open the keys of links: each node from the moment at which
a key was staged for it, until a receipt says that the key is gone from its device, from
its agent's memory and from its order. It is derived from the audit trail alone.

A node without a receipt may have the key still, also one that left its link, was
excluded or revoked: that is said beside it. The identities are those that could open
it in Vault: the site's opens what all its nodes are given.

With --at it is who could open a key at that time. With -f it is derived from an
export, offline: verify that first.`,
		Example: `  keyorch entitlements dc1-dc2
  keyorch entitlements dc2-spine1 --at 2026-03-01T02:00:00Z
  keyorch entitlements -f trail.jsonl -o json`,
		ValidArgsFunction: a.completeLinks,
	}
	c.Flags().StringVar(&at, "at", "", "who could open a key then, as in 2026-03-01T02:00:00Z (RFC 3339), or \"now\"")
	c.Flags().StringVarP(&q.file, "filename", "f", "", "an export of the trail, in place of etcd")
	out := formatFlag(c)
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		q.names = args
		switch at {
		case "":
		case "now":
			q.at = time.Now()
		default:
			if q.at, err = time.Parse(time.RFC3339, at); err != nil {
				return fault.New(fault.Invalid, "--at %q: write a time with its zone, as in 2026-03-01T02:00:00Z", at)
			}
		}
		var l entitlement.Ledger
		if q.file != "" {
			err = a.fromExport(q.file, l.Take)
		} else {
			err = a.fromTrail(c.Context(), l.Take)
		}
		if err != nil && !fault.Is(err, fault.Mismatch) {
			return err
		}
		return errorsAfter(a.printEntitled(q, l.Holdings(), *out), err)
	}
	return c
}

// fromTrail reads every record of the trail in etcd, as far as it is in the chain. What cannot
// be read is a Mismatch, which comes with the rest.
func (a *app) fromTrail(ctx context.Context, take func(audit.Record)) error {
	s, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return audit.Read(ctx, s.Trail(), 0, func(_ uint64, r audit.Record) error {
		take(r)
		return nil
	})
}

// fromExport reads the records that an export shows, and follows its hashes.
func (a *app) fromExport(name string, take func(audit.Record)) error {
	f, err := os.Open(name)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "read the export")
	}
	defer func() { _ = f.Close() }()
	_, err = audit.Verify(f, audit.Question{See: func(seq uint64, body []byte) error {
		var r audit.Record
		if json.Unmarshal(body, &r) != nil {
			return fault.New(fault.Mismatch, "read record %d of the export: it is broken", seq)
		}
		take(r)
		return nil
	}})
	return unverified(err)
}

// concerns reports whether a holding was asked for.
func (q entitled) concerns(h entitlement.Holding) bool {
	named := len(q.names) == 0 || slices.Contains(q.names, string(h.Link)) || slices.Contains(q.names, string(h.Node))
	return named && (q.at.IsZero() || h.Could(q.at))
}

func (a *app) printEntitled(q entitled, all []entitlement.Holding, out format) error {
	shown := slices.DeleteFunc(all, func(h entitlement.Holding) bool { return !q.concerns(h) })
	if out != asTable {
		return out.print(a.out, map[string]any{"items": append([]entitlement.Holding{}, shown...)})
	}
	if len(shown) == 0 {
		_, err := fmt.Fprintln(a.out, "nobody, as far as the trail tells")
		return err
	}
	var rows [][]string
	for _, h := range shown {
		rows = append(rows, []string{
			string(h.Link), keychain.Ref{Epoch: h.Epoch, KCV: h.KCV}.String(), string(h.Node), string(h.Site), h.Names(), h.Begins(), h.Ends(),
		})
	}
	table(a.out, []string{"LINK", "KEY", "NODE", "SITE", "IDENTITIES", "FROM", "UNTIL"}, rows)
	return nil
}
