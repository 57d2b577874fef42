package cli

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/workflows"
)

func (a *app) notifyVerb() *cobra.Command {
	c := &cobra.Command{
		Use:   "notify",
		Short: "Try the webhooks that are told of events",
		Args:  noArguments,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.notifyTestVerb())
	return c
}

func (a *app) notifyTestVerb() *cobra.Command {
	c := &cobra.Command{
		Use:   "test [WEBHOOK...]",
		Short: "Send a test event to webhooks, and say what came back",
		Long: `Test has a worker, which alone has the secrets, send one event of kind keyorch.test to
each of the webhooks named, or to all, past the queue and whatever they select. It ends
with 0 when every one of them took it.`,
		Example: `  keyorch notify test
  keyorch notify test chat`,
		Args: named(0, math.MaxInt, "name webhooks, or none for all"),
	}
	out := formatFlag(c)
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		if err := w.openTemporal(ctx); err != nil {
			return err
		}
		if err := w.announce(ctx, deed("notify test", outcomeAsked, audit.Record{Details: map[string]string{"webhooks": oneLine(args)}})); err != nil {
			return err
		}
		tried, err := w.temporal.Campaigns().TryWebhooks(ctx, args, w.by())
		if err != nil {
			return err
		}
		if *out != asTable {
			if err := out.print(a.out, map[string]any{"items": tried}); err != nil {
				return err
			}
			return refusedTests(tried)
		}
		var rows [][]string
		for _, t := range tried {
			rows = append(rows, []string{t.Webhook, t.Format, dash(t.Host), cameBack(t)})
		}
		table(a.out, []string{"WEBHOOK", "FORMAT", "TO", "CAME BACK"}, rows)
		return refusedTests(tried)
	})
	return c
}

// cameBack is what came back, in a line.
func cameBack(t workflows.Tried) string {
	said := ""
	if t.Said != "" {
		said = fmt.Sprintf(": %q", t.Said)
	}
	took := t.Took.Round(time.Millisecond)
	switch {
	case t.Error == "":
		return fmt.Sprintf("%d after %v%s", t.Status, took, said)
	case t.Status != 0:
		return fmt.Sprintf("%s, after %v%s", t.Error, took, said)
	}
	return t.Error
}

// refusedTests is the error of tests that were not taken.
func refusedTests(tried []workflows.Tried) error {
	var bad []string
	for _, t := range tried {
		if t.Error != "" {
			bad = append(bad, t.Webhook)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return fault.New(fault.Refused, "notify test: %d of %d webhooks did not take it: %s", len(bad), len(tried), strings.Join(bad, ", "))
}
