package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/evidence"
	"github.com/keyorch/keyorch/keychain"
)

// printCase prints the proof of a rotation for people.
func printCase(w io.Writer, c evidence.Case) {
	say := func(format string, a ...any) { _, _ = fmt.Fprintf(w, format+"\n", a...) }
	say("Link       %s, turns %d to %d", c.Link, c.First, c.Last)
	say("Campaign   %s", dash(c.Campaign))
	say("Key        from %s to %s", c.Old, c.New)
	say("Outcome    %s", clean(strings.TrimSuffix(c.Outcome+": "+c.Reason, ": ")))
	say("\nASKED")
	for _, n := range c.Asked {
		say("  %s", entryOf(n))
	}
	for _, consent := range c.Consents {
		for _, s := range consent.Signatures {
			say("  approval %s signed by %s with %s", consent.ID, clean(s.By), s.Key)
		}
	}
	say("\nTIMELINE")
	for _, n := range c.Phases {
		say("  %d  %s  %s, turn %d%s", n.Seq, stamp(n.At), n.Verb, n.Turn, confirmers(n))
	}
	if len(c.Before) > 0 {
		say("\nCOUNTERS")
		say("  before   %s", counts(c.Before))
		say("  after    %s", counts(c.After))
	}
	say("\nDESTROYED")
	switch {
	case c.Gone == 0:
		say("  nothing: it is the first key of the link")
	case len(c.Receipts)+len(c.Missing) == 0:
		say("  nobody had epoch %d", c.Gone)
	}
	for _, n := range c.Receipts {
		say("  %d  %s  epoch %s at %s, by %s: device %s; memory %s; record %s", n.Seq, stamp(n.At), keychain.Ref{Epoch: n.Epoch, KCV: n.KCV}, n.Node,
			clean(n.By), clean(n.Details["device"]), clean(n.Details["memory"]), clean(n.Details["record"]))
	}
	for _, h := range c.Missing {
		say("  epoch %d at %s (site %s): no receipt yet", c.Gone, h.Node, h.Site)
	}
	if len(c.Trouble) > 0 {
		say("\nREFUSED AND PUT RIGHT")
	}
	for _, n := range c.Trouble {
		say("  %s", entryOf(n))
	}
}

func entryOf(n evidence.Numbered) string {
	return fmt.Sprintf("%d  %s  %s %s by %s: %s", n.Seq, stamp(n.At), n.Kind, clean(n.Verb), clean(n.By), clean(about(n.Record)))
}

// confirmers are who confirmed the phase before, in words.
func confirmers(n evidence.Numbered) string {
	var words []string
	if n.Verb == audit.NodesChanged {
		return ""
	}
	for _, said := range n.Entered.Confirmed {
		what := "accepts"
		if said.Sends {
			what = "sends with"
		}
		words = append(words, fmt.Sprintf("%s %s %s", said.Node, what, said.Key))
	}
	if len(words) == 0 {
		return ""
	}
	return "; confirmed by " + strings.Join(words, ", ")
}

func counts(all []evidence.Count) string {
	var words []string
	for _, one := range all {
		words = append(words, fmt.Sprintf("%s epoch %d: %d", one.Node, one.Epoch, one.Packets))
	}
	return strings.Join(words, ", ")
}
