package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/link"
)

// telling prints what is known line by line, each with its name.
type telling struct{ w io.Writer }

func (t telling) say(name, format string, a ...any) {
	if text := fmt.Sprintf(format, a...); text != "" {
		_, _ = fmt.Fprintf(t.w, "%-12s %s\n", name, text)
	}
}

func (t telling) each(name string, texts []string) {
	for _, text := range texts {
		t.say(name, "%s", text)
	}
}

func printWhy(w io.Writer, now time.Time, o whyOutput) {
	t := telling{w}
	t.say("Link", "%s", o.Link)
	if o.Since.IsZero() {
		t.say("Phase", "%v, since ever (turn %d)", o.Why.Phase, o.Turn)
	} else {
		t.say("Phase", "%v, for %s (turn %d)", o.Why.Phase, age(now, o.Since), o.Turn)
	}
	t.say("Driven by", "%s", o.Owner)
	t.say("Why", "%s", o.Why.Summary)
	for _, wait := range o.Why.Awaiting {
		t.say("Awaited", "%s", waiting(now, wait))
	}
	if !o.Why.Gate.OK() {
		t.say("Gate", "%s", o.Why.Gate.Gate+": "+o.Why.Gate.Reason)
	}
	for _, d := range o.Denied {
		t.say("Not begun", "%v (%s)", d, ago(now, d.At))
	}
	for _, c := range o.Campaigns {
		t.say("Campaign", "%s", strings.TrimPrefix(c.Summary, "campaign "))
	}
	t.each("Maintenance", o.Maintenance)
	t.each("Excluded", o.Excluded)
	for _, q := range o.Quarantined {
		t.say("Left behind", "%s at epoch %d, %s: %s", q.Node, q.Epoch, ago(now, q.Since), q.Reason)
	}
	for _, n := range o.Joining {
		t.say("Joins", "%s, with the next rotation that ends", n)
	}
	for _, f := range o.Drift {
		t.say("Drift", "%s: %s", f.Kind, f.Message)
	}
	for _, r := range o.Repaired {
		t.say("Repaired", "%v, %s", r, ago(now, r.At))
	}
	if !o.KeySince.IsZero() {
		t.say("Key", "made %s", ago(now, o.KeySince))
	}
	t.say("Last", "%s", attempted(now, o.Last))
	if !o.Completed.Ended.IsZero() {
		t.say("Completed", "epoch %d, %s (%s)", o.Completed.Epoch, ago(now, o.Completed.Ended), o.Completed.Campaign)
	}
	t.say("Next", "%s", o.Why.Next)
	t.say("Unblock", "%s", o.Unblock)
}

// waiting says what is awaited of a node.
func waiting(now time.Time, wait link.Wait) string {
	text := fmt.Sprintf("%s %s", wait.Node, wait.For)
	switch {
	case wait.Fault != "":
		text += fmt.Sprintf(" (%s for %s: %s)", wait.Fault, age(now, wait.Since), wait.Message)
	case wait.Message != "":
		text += " (" + wait.Message + ")"
	}
	return text
}

// attempted says how an attempt stands or ended; empty for none.
func attempted(now time.Time, l link.Attempt) string {
	var text string
	switch {
	case l.Begun.IsZero() && l.Ended.IsZero():
		return ""
	case l.Ended.IsZero():
		text = fmt.Sprintf("under way, begun %s (%s)", ago(now, l.Begun), l.Campaign)
	default:
		text = fmt.Sprintf("%s, %s, on epoch %d (%s)", l.Outcome, ago(now, l.Ended), l.Epoch, l.Campaign)
	}
	if l.Reason != "" {
		text += ": " + l.Reason
	}
	return text
}

func printWhyCampaign(w io.Writer, now time.Time, x campaign.CampaignExplanation) {
	t := telling{w}
	t.say("Campaign", "%s", x.Campaign)
	t.say("State", "%s, for %s", x.State, age(now, x.Since))
	t.say("Wave", "%s", x.Wave)
	t.say("Why", "%s", x.Summary)
	t.say("Awaited", "%s", x.Awaiting)
	for _, g := range x.Troubles {
		t.say("Trouble", "%s", grouped(g))
	}
	t.ahead(x.Next, x.At)
	t.say("Unblock", "%s", x.Command)
	t.say("Look at", "%s", x.Look)
}

// grouped is links that are in the same trouble.
func grouped(g campaign.Trouble) string {
	text := counted(g.Count)
	if g.Outcome != "" {
		text += " " + g.Outcome
	}
	return fmt.Sprintf("%s: %s (%s)", text, cmp.Or(g.Reason, "without a reason"), firstOf(g.Links, g.Count, 3))
}

// counted counts links in words.
func counted(n int) string {
	if n == 1 {
		return "1 link"
	}
	return fmt.Sprintf("%d links", n)
}

// firstOf is the first of some names, of which there are more.
func firstOf[N ~string](names []N, all, most int) string {
	shown := names[:min(len(names), most)]
	text := listing(shown, most)
	if all > len(shown) {
		text += fmt.Sprintf(" and %d more", all-len(shown))
	}
	return text
}

// ahead says what happens next, and when where the text does not.
func (t telling) ahead(next string, at time.Time) {
	if next != "" && !at.IsZero() {
		next += " (at " + stamp(at) + ")"
	}
	t.say("Next", "%s", next)
}

// mostAwaited is how many links that wait for a node or a site are listed.
const mostAwaited = 20

func printWhyPlace(w io.Writer, now time.Time, p campaign.Place) {
	t := telling{w}
	if p.Node != "" {
		t.say("Node", "%s of site %s, part of %s", p.Node, p.Site, counted(p.Links))
	} else {
		nodes := fmt.Sprintf("%d nodes", p.Nodes)
		if p.Nodes == 1 {
			nodes = "1 node"
		}
		t.say("Site", "%s: %s, part of %s", p.Site, nodes, counted(p.Links))
	}
	t.say("Why", "%s", p.Summary)
	t.say("Excluded", "%s", p.Excluded)
	t.say("Maintenance", "%s", p.Maintenance)
	if len(p.Absent) > 0 {
		t.say("No agent", "%s", listing(p.Absent, 8))
	}
	for i, a := range p.Awaited {
		if i == mostAwaited {
			t.say("Awaited", "and %d more: see -o json", len(p.Awaited)-mostAwaited)
			break
		}
		t.say("Awaited", "%s (%v): %s", a.Link, a.Phase, waiting(now, a.Wait))
	}
	for _, g := range p.Troubles {
		t.say("Trouble", "%s", grouped(g))
	}
	if len(p.Quarantined) > 0 {
		t.say("Left behind", "by %s", listing(p.Quarantined, 8))
	}
	t.ahead(p.Next, time.Time{})
	t.say("Unblock", "%s", p.Command)
	t.say("Look at", "%s", p.Look)
}
