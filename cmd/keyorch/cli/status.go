package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// linkStatus is one link in `status -o json`.
type linkStatus struct {
	Link     keychain.LinkID   `json:"link"`
	Phase    link.Phase        `json:"phase"`
	Sends    keychain.Epoch    `json:"sends"`
	Next     keychain.Epoch    `json:"next"`
	Turn     keychain.Turn     `json:"turn"`
	Awaiting []keychain.NodeID `json:"awaiting"`
	Reason   string            `json:"reason"`
	Since    time.Time         `json:"since,omitzero"`
}

type statusOutput struct {
	Links []linkStatus `json:"links"`
}

func (a *app) statusVerb() *cobra.Command {
	c := &cobra.Command{
		Use:   "status [LINK...] | status --watch [CAMPAIGN]",
		Short: "Show where every link stands, or watch a campaign",
		Long: `Status shows where every link stands. With --watch it fills the terminal with
the campaign that runs, or the one named, as it goes: waves, phases, held links
with their reasons, and keys to pause, resume and promote it. Where there is no
terminal it prints a line when something has changed.`,
		ValidArgsFunction: a.completeLinks,
	}
	out := formatFlag(c)
	watch := c.Flags().BoolP("watch", "w", false, "show it live, until q or ctrl+c")
	c.RunE = a.inWorld(func(ctx context.Context, w *world, args []string) error {
		if *watch {
			return w.watch(ctx, args, *out)
		}
		ids, err := w.known(args)
		if err != nil {
			return err
		}
		all := statusOutput{Links: []linkStatus{}}
		for _, id := range ids {
			all.Links = append(all.Links, w.status(id))
		}
		if *out != asTable {
			return out.print(a.out, all)
		}
		now := time.Now()
		var rows [][]string
		for _, l := range all.Links {
			rows = append(rows, []string{
				string(l.Link), l.Phase.String(), epoch(l.Sends), epoch(l.Next), age(now, l.Since), dash(l.Reason),
			})
		}
		table(a.out, []string{"LINK", "PHASE", "SENDS", "NEXT", "SINCE", "REASON"}, rows)
		return nil
	})
	return c
}

func epoch(e keychain.Epoch) string {
	if e == 0 {
		return "-"
	}
	return fmt.Sprint(e)
}

// known is the links named, or all that are declared or have a record.
func (w *world) known(names []string) ([]keychain.LinkID, error) {
	var ids []keychain.LinkID
	for _, l := range w.view.Topology().Links {
		ids = append(ids, l.Name)
	}
	for _, r := range w.view.Records() {
		ids = append(ids, r.Link)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(names) == 0 {
		return ids, nil
	}
	var chosen []keychain.LinkID
	for _, n := range names {
		if !slices.Contains(ids, keychain.LinkID(n)) {
			return nil, fault.New(fault.Invalid, "find link %q: none is declared under that name: see keyorch get links", n)
		}
		chosen = append(chosen, keychain.LinkID(n))
	}
	return chosen, nil
}

func (w *world) status(id keychain.LinkID) linkStatus {
	s, _, ok := w.snapshot(id)
	l := linkStatus{
		Link: id, Phase: s.State.Phase, Sends: s.State.Sends().Epoch, Next: s.State.Next().Epoch, Turn: s.State.Turn,
		Awaiting: append([]keychain.NodeID{}, s.State.Awaiting...), Since: s.State.Since,
	}
	l.Reason = link.Explain(id, s).Reason
	if !ok {
		l.Reason = "it has no key yet: keyorch rotate " + string(id)
	}
	return l
}
