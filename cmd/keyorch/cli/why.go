package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// whyOutput is what `why -o json` prints.
type whyOutput struct {
	Link     keychain.LinkID  `json:"link"`
	Campaign string           `json:"campaign,omitempty"`
	Owner    string           `json:"owner,omitempty"`
	Turn     keychain.Turn    `json:"turn"`
	Since    time.Time        `json:"since,omitzero"`
	Last     link.Attempt     `json:"last,omitzero"`
	Why      link.Explanation `json:"why"`
}

func (a *app) whyVerb() *cobra.Command {
	c := &cobra.Command{
		Use:               "why LINK",
		Short:             "Explain what a link waits for, and what to do",
		ValidArgsFunction: a.completeLinks,
		Args:              named(1, 1, "name one link"),
	}
	out := formatFlag(c)
	c.RunE = a.inWorld(func(_ context.Context, w *world, args []string) error {
		ids, err := w.known(args)
		if err != nil {
			return err
		}
		s, record, _ := w.snapshot(ids[0])
		o := whyOutput{
			Link: ids[0], Campaign: record.Last.Campaign, Owner: record.Owner, Turn: s.State.Turn,
			Since: s.State.Since, Last: record.Last, Why: link.Explain(ids[0], s),
		}
		if *out != asTable {
			return out.print(a.out, o)
		}
		printWhy(a.out, time.Now(), o, w.joining(ids[0], s.State))
		return nil
	})
	return c
}

// joining is the declared nodes that are not part of a link yet.
func (w *world) joining(id keychain.LinkID, s link.State) []keychain.NodeID {
	declared, _ := w.view.Topology().Link(id)
	in := s.Nodes()
	return slices.DeleteFunc(slices.Concat(declared.Upstream, declared.Downstream), func(n keychain.NodeID) bool {
		return slices.Contains(in, n)
	})
}

func printWhy(w io.Writer, now time.Time, o whyOutput, joining []keychain.NodeID) {
	say := func(name, value string) {
		if value != "" {
			_, _ = fmt.Fprintf(w, "%-10s %s\n", name, value)
		}
	}
	say("Link", string(o.Link))
	say("Phase", fmt.Sprintf("%v, for %s (turn %d)", o.Why.Phase, age(now, o.Since), o.Turn))
	say("Driven by", o.Owner)
	say("Why", o.Why.Summary)
	for _, wait := range o.Why.Awaiting {
		text := fmt.Sprintf("%s %s", wait.Node, wait.For)
		switch {
		case wait.Fault != "":
			text += fmt.Sprintf(" (%s for %s: %s)", wait.Fault, age(now, wait.Since), wait.Message)
		case wait.Message != "":
			text += " (" + wait.Message + ")"
		}
		say("Awaited", text)
	}
	if !o.Why.Gate.OK() {
		say("Gate", o.Why.Gate.Gate+": "+o.Why.Gate.Reason)
	}
	for _, n := range joining {
		say("Joins", fmt.Sprintf("%s, with the next rotation that ends", n))
	}
	if !o.Last.Ended.IsZero() {
		text := fmt.Sprintf("%s, %s ago, on epoch %d (%s)", o.Last.Outcome, age(now, o.Last.Ended), o.Last.Epoch, o.Last.Campaign)
		if o.Last.Reason != "" {
			text += ": " + o.Last.Reason
		}
		say("Last", text)
	}
	say("Next", o.Why.Next)
	say("Unblock", o.Why.Command)
}
