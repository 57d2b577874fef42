package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/topology"
)

func (a *app) maintenanceVerb() *cobra.Command {
	c := &cobra.Command{
		Use:   "maintenance",
		Short: "Skip the links of a site for a while, and catch them up afterwards",
		Long: `While a site is in maintenance no rotation begins on a link with a node there.
Links in flight go on. Campaigns skip its links, and when the maintenance ends, by
itself or by hand, a campaign of its own gives them the key that they missed.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.maintenanceSet(), a.maintenanceEnd(), a.maintenanceList())
	return c
}

// longestMaintenance keeps a slip of the keyboard from switching rotation off.
const longestMaintenance = 30 * 24 * time.Hour

func (a *app) maintenanceSet() *cobra.Command {
	var length time.Duration
	var until, reason string
	c := &cobra.Command{
		Use: "set SITE (--for DURATION | --until TIME) --reason TEXT", Short: "Begin the maintenance of a site, or change its end",
		Example: `  keyorch maintenance set dc2 --for 4h --reason "fibre work"`,
		Args:    named(1, 1, "name one site"),
	}
	c.Flags().DurationVar(&length, "for", 0, "how long, as in 4h")
	c.Flags().StringVar(&until, "until", "", "until when, as in 2026-12-24T04:00:00Z (RFC 3339)")
	c.Flags().StringVar(&reason, "reason", "", "why: it is shown with every link that is skipped")
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		site := keychain.SiteID(args[0])
		if err := w.hasSite(site); err != nil {
			return err
		}
		now := time.Now().UTC()
		end, err := endOf(now, length, until)
		if err != nil {
			return err
		}
		if reason == "" {
			return fault.New(fault.Invalid, "--reason: say why; it is shown with every link that is skipped")
		}
		m := topology.Maintenance{Site: site, Until: end, Reason: reason, Since: now}
		if old, ok := w.view.Standing().Maintained(site, now); ok {
			m.Since = old.Since
		}
		if err := w.store.PutMaintenance(ctx, m, deed("maintenance set", outcomeDone, audit.Record{
			Site: site, Reason: reason, Details: map[string]string{"until": end.Format(time.RFC3339)},
		})); err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.out, "%s: in maintenance until %s\n", site, end.Format(time.RFC3339))
		return err
	})
	return c
}

// endOf reads the end of a maintenance.
func endOf(now time.Time, length time.Duration, until string) (time.Time, error) {
	var end time.Time
	switch {
	case (length != 0) == (until != ""):
		return end, fault.New(fault.Invalid, "say how long: --for 4h, or --until 2026-12-24T04:00:00Z")
	case length != 0:
		end = now.Add(length)
	default:
		var err error
		if end, err = time.Parse(time.RFC3339, until); err != nil {
			return end, fault.New(fault.Invalid, "--until %q: write a time with its zone, as in 2026-12-24T04:00:00Z", until)
		}
	}
	switch {
	case !end.After(now):
		return end, fault.New(fault.Invalid, "a maintenance must end in the future")
	case end.After(now.Add(longestMaintenance)):
		return end, fault.New(fault.Invalid, "a maintenance lasts 30 days at most: take the site's nodes out of their links, or set it again later")
	}
	return end.UTC(), nil
}

func (a *app) maintenanceEnd() *cobra.Command {
	c := &cobra.Command{
		Use: "end SITE", Short: "End the maintenance of a site now", Args: named(1, 1, "name one site"),
	}
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		site := keychain.SiteID(args[0])
		if err := w.hasSite(site); err != nil {
			return err
		}
		if err := w.store.EndMaintenance(ctx, site, deed("maintenance end", outcomeDone, audit.Record{Site: site})); err != nil {
			return err
		}
		_, err := fmt.Fprintf(a.out, "%s: no longer in maintenance; what was skipped is caught up\n", site)
		return err
	})
	return c
}

func (a *app) maintenanceList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the sites in maintenance", Args: noArguments}
	out := formatFlag(c)
	c.RunE = a.inWorld(func(_ context.Context, w *world, _ []string) error {
		now := time.Now()
		listed := []topology.Maintenance{}
		var rows [][]string
		for _, m := range w.view.Standing().Maintenance {
			if m.Until.Before(now) {
				continue
			}
			listed = append(listed, m)
			rows = append(rows, []string{string(m.Site), m.Until.Format(time.RFC3339), age(now, m.Since), m.Reason})
		}
		if *out != asTable {
			return out.print(a.out, map[string]any{"items": listed})
		}
		table(a.out, []string{"SITE", "UNTIL", "SINCE", "REASON"}, rows)
		return nil
	})
	return c
}

// hasSite is an error for a site that is not declared.
func (w *world) hasSite(site keychain.SiteID) error {
	for _, s := range w.view.Topology().Sites {
		if s.Name == site {
			return nil
		}
	}
	return fault.New(fault.Invalid, "find site %q: none is declared under that name: see keyorch get sites", site)
}
