package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// difference is one finding about one link.
type difference struct {
	Link keychain.LinkID `json:"link"`
	link.Finding
	// ByItself says that it is put right with nobody doing anything: it is
	// repairable, and an agent is there to do it.
	ByItself bool `json:"byItself"`
	// Command is what helps.
	Command string `json:"command,omitempty"`
}

// repair is what an agent put right by itself.
type repair struct {
	Link keychain.LinkID `json:"link"`
	Node keychain.NodeID `json:"node"`
	keychain.Repair
}

// String says what was put right, and how often.
func (r repair) String() string {
	if r.Count > 1 {
		return fmt.Sprintf("%s: %s (%d times)", r.Node, r.What, r.Count)
	}
	return fmt.Sprintf("%s: %s", r.Node, r.What)
}

// driftOutput is what `drift -o json` prints.
type driftOutput struct {
	Links    int          `json:"links"` // how many were looked at
	Drift    []difference `json:"drift"`
	Repaired []repair     `json:"repaired"`
}

func (a *app) driftVerb() *cobra.Command {
	var lately time.Duration
	c := &cobra.Command{
		Use:   "drift [LINK...] [--site S] [-l SELECTOR]",
		Short: "Show where nodes differ from what their links ask of them",
		Long: `Drift compares what the nodes last reported with what is asked of them: keys with
another value, keys that are missing or that nobody should use, old epochs still
sent with, lost counters, turns that went backwards. Agents put right by
themselves what they can; what they did lately is listed, too.

It ends with 4 when there is something that nobody puts right without a person.`,
		ValidArgsFunction: a.completeLinks,
	}
	chosen := selectFlags(c)
	c.Flags().DurationVar(&lately, "since", 24*time.Hour, "how far back to list what was repaired")
	out := formatFlag(c)
	c.PreRunE = func(*cobra.Command, []string) error {
		if lately < 0 {
			return fault.New(fault.Invalid, "--since %v: it cannot be negative", lately)
		}
		return nil
	}
	c.RunE = a.inWorld(func(_ context.Context, w *world, args []string) error {
		ids, err := w.selected(chosen, args)
		if err != nil {
			return err
		}
		o := w.sight().drift(ids, lately)
		if *out != asTable {
			err = out.print(a.out, o)
		} else {
			printDrift(a.out, time.Now(), o)
		}
		if err == nil && o.needsHelp() > 0 {
			return &exitError{code: exitHeld}
		}
		return err
	})
	return c
}

// drift is what is found of some links, and what was repaired lately.
func (s *sight) drift(ids []keychain.LinkID, lately time.Duration) driftOutput {
	o := driftOutput{Links: len(ids), Drift: []difference{}, Repaired: []repair{}}
	for _, id := range ids {
		reports := s.view.Reports(id) // before the record, which must be no older
		if record, ok := s.view.Record(id); ok {
			for _, f := range link.Drift(record.State, reports) {
				o.Drift = append(o.Drift, s.difference(id, f))
			}
		}
		o.Repaired = append(o.Repaired, s.repairs(id, s.now.Add(-lately))...)
	}
	kinds := link.DriftKinds()
	slices.SortStableFunc(o.Drift, func(a, b difference) int {
		return cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind))
	})
	slices.SortStableFunc(o.Repaired, func(a, b repair) int { return b.At.Compare(a.At) })
	return o
}

func (o driftOutput) needsHelp() (n int) {
	for _, d := range o.Drift {
		if !d.ByItself {
			n++
		}
	}
	return n
}

func (s *sight) difference(id keychain.LinkID, f link.Finding) difference {
	d := difference{Link: id, Finding: f}
	present := len(s.view.Present([]keychain.NodeID{f.Node})) > 0
	d.ByItself = f.Repairable && present
	switch {
	case f.Kind == link.TurnWentBack:
		d.Command = "keyorch recover"
	case !present:
		d.Command = "start the agent of node " + string(f.Node)
	case f.Kind == link.WrongKCV:
		d.Command = "find out which key the node unwrapped: keyorch why " + string(id)
	case f.Kind == link.LostCounter:
		d.Command = "keyorch rotate " + string(id)
	case !f.Repairable:
		d.Command = "look at the device of " + string(f.Node)
	}
	return d
}

// repairs is what the agents of a link put right since then, the newest first.
func (s *sight) repairs(id keychain.LinkID, since time.Time) []repair {
	var out []repair
	for _, r := range s.view.Reports(id) {
		for _, done := range r.Repaired {
			if !done.At.Before(since) {
				out = append(out, repair{Link: id, Node: r.Node, Repair: done})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b repair) int { return b.At.Compare(a.At) })
	return out
}

func printDrift(w io.Writer, now time.Time, o driftOutput) {
	if len(o.Drift) == 0 {
		_, _ = fmt.Fprintf(w, "%s: every node is as it last reported what it should be\n", counted(o.Links))
	} else {
		var rows [][]string
		for _, d := range o.Drift {
			repaired := "no"
			if d.ByItself {
				repaired = "yes"
			}
			rows = append(rows, []string{string(d.Link), string(d.Node), string(d.Kind), epoch(d.Epoch), repaired, d.Message, dash(d.Command)})
		}
		table(w, []string{"LINK", "NODE", "KIND", "EPOCH", "BY ITSELF", "WHAT", "UNBLOCK"}, rows)
	}
	if len(o.Repaired) > 0 {
		_, _ = fmt.Fprintln(w, "\nPut right lately:")
		var rows [][]string
		for _, r := range o.Repaired {
			rows = append(rows, []string{string(r.Link), string(r.Node), r.What, fmt.Sprint(r.Count), age(now, r.At)})
		}
		table(w, []string{"LINK", "NODE", "WHAT", "TIMES", "AGO"}, rows)
	}
}
