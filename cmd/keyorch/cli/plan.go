package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/fault"
)

func (a *app) planVerb() *cobra.Command {
	var ask asked
	c := &cobra.Command{
		Use:   "plan [LINK...] [--site S] [-l SELECTOR] [--all]",
		Short: "Show what a rotation would do, wave by wave, and what would hold it",
		Long: `Plan chooses links as rotate does, deals them to the waves of the policy, and
lists everything that would refuse, skip or hold a link. It touches nothing, and
needs no Vault and no Temporal. It ends with 3 when rotate would refuse.`,
		Example: `  keyorch plan --all
  keyorch plan -l tier=core --policy nightly -o json`,
		ValidArgsFunction: a.completeLinks,
	}
	ask.flags(c)
	out := formatFlag(c)
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		_ = w.openTemporal(ctx) // it knows which campaigns still run; without it their records tell
		_, plan, err := w.prepare(ctx, &ask, args)
		if err != nil {
			return err
		}
		if *out != asTable {
			err = out.print(a.out, plan)
		} else {
			printPlan(a.out, plan)
		}
		if err == nil && len(plan.Refused()) > 0 {
			return &exitError{code: exitRefused}
		}
		return err
	})
	return c
}

func printPlan(w io.Writer, p campaign.Plan) {
	policy := p.Policy
	if policy == "" {
		policy = "the default policy"
	}
	_, _ = fmt.Fprintf(w, "%d of %s, by %s\n\n", p.Links, p.Selection, policy)
	var rows [][]string
	for i, wave := range p.Waves {
		rows = append(rows, []string{
			fmt.Sprint(i + 1), wave.Name, fmt.Sprint(len(wave.Links)), listing(wave.Sites, 6), took(wave.Expected), took(wave.Soak), listing(wave.Links, 4),
		})
	}
	table(w, []string{"WAVE", "NAME", "LINKS", "SITES", "EXPECTED", "THEN WAITS", "WHICH"}, rows)
	if len(p.Findings) > 0 {
		_, _ = fmt.Fprintln(w)
		rows = nil
		const most = 50
		for i, f := range p.Findings {
			if i == most {
				break
			}
			rows = append(rows, []string{strings.ToUpper(string(f.Severity)), string(f.Link), f.Check, f.Reason, dash(f.Remedy)})
		}
		table(w, []string{"", "LINK", "CHECK", "WHY", "REMEDY"}, rows)
		if len(p.Findings) > most {
			_, _ = fmt.Fprintf(w, "and %d more: see -o json\n", len(p.Findings)-most)
		}
	}
	t := p.Tally()
	_, _ = fmt.Fprintf(w, "\n%d links: %d would be refused, %d skipped, %d held; expected to take %s. Nothing was changed.\n",
		t.Links, t.Refused, t.Skipped, t.Held, took(p.Expected))
}

// took is a duration for people; "unknown" when there is none.
func took(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// listing is the first of some names, and how many more there are.
func listing[N ~string](names []N, most int) string {
	var out []string
	for i, n := range names {
		if i == most {
			return fmt.Sprintf("%s and %d more", strings.Join(out, ", "), len(names)-most)
		}
		out = append(out, string(n))
	}
	return strings.Join(out, ", ")
}

// refusedBy is the error of a plan in which something refuses a link.
func refusedBy(p campaign.Plan) error {
	found := p.Refused()
	if len(found) == 0 {
		return nil
	}
	const most = 20
	lines := []string{"nothing was begun:"}
	for i, f := range found {
		if i == most {
			lines = append(lines, fmt.Sprintf("and %d more: see keyorch plan", len(found)-most))
			break
		}
		line := fmt.Sprintf("%s: %s: %s", f.Link, f.Check, f.Reason)
		if f.Remedy != "" {
			line += ": " + f.Remedy
		}
		lines = append(lines, line)
	}
	return fault.New(fault.Refused, "%s", strings.Join(lines, "\n"))
}
