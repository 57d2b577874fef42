package cli

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/workflows"
)

func (a *app) abortVerb() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "abort LINK...",
		Short: "Take links back to the key that their rotation came from",
		Long: `Abort takes back the rotation of links that are in flight. Before the switch the
new key is dropped; after it, upstream goes back to the old key, which every
downstream node still accepts. It is refused when the old key is already being
forgotten, when there is none, and after the switch when a sender has lost its
counter under it.`,
		ValidArgsFunction: a.completeLinks,
		Args:              named(1, math.MaxInt, "name at least one link"),
	}
	c.Flags().StringVar(&reason, "reason", "aborted by the operator", "why: it is kept with the rotation")
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		ids, err := w.known(args)
		if err != nil {
			return err
		}
		if err := w.openTemporal(ctx); err != nil {
			return err
		}
		return w.abort(ctx, ids, reason)
	})
	return c
}

// abort asks the workflow of every link, and adopts those that have none any
// more. Every link is tried; the first failure is the command's.
func (w *world) abort(ctx context.Context, ids []keychain.LinkID, reason string) error {
	var failed error
	campaigns := wiring.Campaigns{Client: w.temporal}
	for _, id := range ids {
		err := w.abortOne(ctx, campaigns, id, reason)
		if err != nil {
			say(w.app.err, err)
			failed = cmp.Or(failed, err)
			continue
		}
		_, _ = fmt.Fprintf(w.app.out, "%s: going back\n", id)
	}
	if failed != nil {
		return &exitError{code: ExitCode(failed)}
	}
	return nil
}

func (w *world) abortOne(ctx context.Context, campaigns wiring.Campaigns, id keychain.LinkID, reason string) error {
	record, _ := w.view.Record(id)
	owner := record.Owner
	running := false
	if owner != "" {
		var err error
		if running, err = campaigns.Running(ctx, owner); err != nil {
			return err
		}
	}
	if running {
		return w.askToAbort(ctx, owner, id, reason)
	}
	if _, err := link.Step(record.State, link.Abort{}); err != nil {
		return fault.Wrap(fault.Refused, err, "abort %s", id)
	}
	// Nobody drives it: a workflow of its own adopts it and takes it back.
	name := fmt.Sprintf("abort-%s-%d", id, record.State.Turn)
	return campaigns.Start(ctx, name, workflows.Batch{
		Campaign: name, Intent: workflows.ToAbort, Links: []keychain.LinkID{id}, Reason: reason,
	})
}

func (w *world) askToAbort(ctx context.Context, owner string, id keychain.LinkID, reason string) error {
	var answer workflows.AbortAnswer
	err := wiring.Campaigns{Client: w.temporal}.Ask(ctx, 2*dialTime, owner, workflows.AbortUpdate,
		workflows.AbortRequest{Links: []keychain.LinkID{id}, Reason: reason}, &answer)
	if fault.Is(err, fault.Unavailable) {
		return fault.New(fault.Unknown, "abort %s: no worker answers for %s; one that comes back may still carry it out: see keyorch status", id, owner)
	}
	if err != nil {
		return err
	}
	i := slices.IndexFunc(answer.Refused, func(d workflows.Denial) bool { return d.Link == id })
	if i >= 0 {
		return fault.New(fault.Refused, "abort %s: %s", id, answer.Refused[i].Reason)
	}
	return nil
}
