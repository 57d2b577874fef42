package link_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// show is a state.
func show(s link.State) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v, turn %d: ", s.Phase, s.Turn)
	switch {
	case s.From.IsZero() && s.To.IsZero():
		b.WriteString("no key")
	case s.Phase == link.Steady:
		fmt.Fprintf(&b, "epoch %v", s.To.Ref)
	default:
		fmt.Fprintf(&b, "from %v to %v", s.From.Ref, s.To.Ref)
	}
	if s.Reverting {
		fmt.Fprintf(&b, ", going back (%s)", s.Reason)
	}
	if len(s.Awaiting) > 0 {
		fmt.Fprintf(&b, ", awaits %s", joined(s.Awaiting))
	}
	for _, l := range s.Lost {
		fmt.Fprintf(&b, ", %s lost %d", l.Node, l.Epoch)
	}
	b.WriteString("\n")
	return b.String()
}

func orders(s link.State) string {
	var b strings.Builder
	for _, o := range link.Orders(s) {
		fmt.Fprintf(&b, "  %s:", o.Node)
		if len(o.Accept) > 0 {
			b.WriteString(" accept")
			for _, k := range o.Accept {
				fmt.Fprintf(&b, " %d", k.Epoch)
			}
		}
		if !o.Send.IsZero() {
			fmt.Fprintf(&b, " send %d", o.Send.Epoch)
		}
		if len(o.Accept) == 0 && o.Send.IsZero() {
			b.WriteString(" wait")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func list(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
}

func nodes(text string) (ids []keychain.NodeID) {
	for _, id := range list(text) {
		ids = append(ids, keychain.NodeID(id))
	}
	return ids
}

func joined(ids []keychain.NodeID) string {
	var all []string
	for _, id := range ids {
		all = append(all, string(id))
	}
	return strings.Join(all, ", ")
}

func epochOf(t *testing.T, text string) keychain.Epoch {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("not a number: %q", text)
	}
	return keychain.Epoch(n)
}
