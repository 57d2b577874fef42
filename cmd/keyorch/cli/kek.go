package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/custody"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
)

func (a *app) kekVerb() *cobra.Command {
	c := &cobra.Command{
		Use:   "kek",
		Short: "Show and rotate the key-encryption keys of Vault",
		Long: `The keys of links are stored wrapped under key-encryption keys (KEKs), which never
leave Vault. A KEK is of the sites that serve a link on either side.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.kekListVerb(), a.kekRotateVerb())
	return c
}

func (a *app) kekListVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "list [SITE]",
		Short: "List KEKs, their versions, and the keys that are wrapped under them",
		Args:  named(0, 1, "name one site, or none"),
		RunE: a.inWorld(func(ctx context.Context, w *world, args []string) error {
			k, err := w.openKEKs(ctx, args)
			if err != nil {
				return err
			}
			var rows [][]string
			for _, s := range k.states {
				rows = append(rows, []string{s.Name, version(s.Latest), version(s.Opens), k.stored(s.Name)})
			}
			table(a.out, []string{"KEK", "VERSION", "OPENS FROM", "KEYS"}, rows)
			return nil
		}),
	}
}

func (a *app) kekRotateVerb() *cobra.Command {
	var dry bool
	c := &cobra.Command{
		Use:   "rotate [SITE] [--dry-run]",
		Short: "Give KEKs a new version, and wrap every stored key anew",
		Long: `Rotate gives every KEK, or those that a site may use, a new version in Vault. The
worker then has Vault wrap every stored key anew, which nobody sees, and rotations
under way are not disturbed. At last Vault opens nothing any more that was wrapped
under the former versions: a wrapped key that was stolen before is worth nothing.

It may be interrupted and repeated at any time. The next rotation destroys the
versions that this one retires.`,
		Example: `  keyorch kek rotate --dry-run
  keyorch kek rotate oslo`,
		Args: named(0, 1, "name one site, or none"),
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would be done, change nothing")
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		k, err := w.openKEKs(ctx, args)
		if err != nil {
			return err
		}
		if dry {
			return k.dryRun()
		}
		if err := w.openTemporal(ctx); err != nil {
			return err
		}
		if err := w.announce(ctx, deed("kek rotate", outcomeAsked, audit.Record{Site: keychain.SiteID(strings.Join(args, "")), Details: map[string]string{"keks": k.names()}})); err != nil {
			return err
		}
		return k.rotate(ctx)
	})
	return c
}

// keks is the KEKs that a verb is about.
type keks struct {
	*world
	vault  *custody.Custody
	states []custody.KEKState
	counts map[string]map[int]int // stored keys, by KEK and version
}

func (w *world) openKEKs(ctx context.Context, args []string) (*keks, error) {
	site := keychain.SiteID(strings.Join(args, ""))
	t := w.view.Topology()
	inUse, err := w.store.KEKs(ctx)
	if err != nil {
		return nil, err
	}
	names := wiring.KEKs(t, inUse, site)
	if len(names) == 0 {
		return nil, fault.New(fault.Invalid, "find KEKs of %q: there are none: see keyorch get sites", cmp.Or(string(site), "all sites"))
	}
	vault, err := w.app.openCustody(ctx)
	if err != nil {
		return nil, err
	}
	k := &keks{world: w, vault: vault}
	for _, name := range names {
		s, err := vault.KEKState(ctx, name)
		if err != nil {
			return nil, err
		}
		k.states = append(k.states, s)
	}
	return k, k.count(ctx)
}

// names is the KEKs in one line.
func (k *keks) names() string {
	var names []string
	for _, s := range k.states {
		names = append(names, s.Name)
	}
	return oneLine(names)
}

func (k *keks) count(ctx context.Context) error {
	keys, err := k.store.Keys(ctx)
	k.counts = wiring.StoredUnder(keys)
	return err
}

// stored is the keys under one KEK in words: "12, and 3 under v4".
func (k *keks) stored(kek string) string {
	counts := k.counts[kek]
	if len(counts) == 0 {
		return "0"
	}
	versions := slices.Sorted(maps.Keys(counts))
	slices.Reverse(versions)
	var parts []string
	for _, v := range versions {
		parts = append(parts, fmt.Sprintf("%d under %s", counts[v], version(v)))
	}
	return strings.Join(parts, ", ")
}

func version(n int) string { return "v" + strconv.Itoa(n) }

func (k *keks) dryRun() error {
	var rows [][]string
	keys := 0
	for _, s := range k.states {
		rows = append(rows, []string{s.Name, version(s.Latest), version(s.Latest + 1), k.stored(s.Name)})
		for _, n := range k.counts[s.Name] {
			keys += n
		}
	}
	table(k.app.out, []string{"KEK", "VERSION", "WOULD BE", "KEYS"}, rows)
	_, err := fmt.Fprintf(k.app.out, "%d keys would be wrapped anew; nothing was changed\n", keys)
	return err
}

// rotate does all of it, in the order in which it can be broken off anywhere: new
// versions, keys wrapped anew, old versions retired.
func (k *keks) rotate(ctx context.Context) error {
	names := make([]string, len(k.states))
	for i, s := range k.states {
		now, err := k.vault.RotateKEK(ctx, s.Name)
		if err != nil {
			return err
		}
		k.states[i], names[i] = now, s.Name
	}
	done, err := k.temporal.Campaigns().Rewrap(ctx, names)
	if err != nil {
		return err
	}
	if err := k.count(ctx); err != nil {
		return err
	}
	var rows [][]string
	total := 0
	for i, s := range k.states {
		for v, n := range k.counts[s.Name] {
			if v < s.Latest {
				return fault.New(fault.Refused, "retire versions of %s below %s: %d keys are still under %s: run it again", s.Name, version(s.Latest), n, version(v))
			}
		}
		if err := k.vault.RetireKEK(ctx, s.Name, s.Latest); err != nil {
			return err
		}
		rows = append(rows, []string{s.Name, version(s.Latest), strconv.Itoa(done.Keys[i])})
		total += done.Keys[i]
	}
	table(k.app.out, []string{"KEK", "VERSION", "KEYS"}, rows)
	_, err = fmt.Fprintf(k.app.out, "%d keys were wrapped anew; what was wrapped before opens no more\n", total)
	return err
}
