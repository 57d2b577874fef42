package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/store"
)

func printCampaignsPast(w io.Writer, now time.Time, shown []campaign.Record, all int) {
	var rows [][]string
	for _, c := range shown {
		t := c.Tally
		rows = append(rows, []string{
			c.Name, string(c.Kind), dash(c.By), string(c.State), fmt.Sprint(t.Links), fmt.Sprint(t.Rotated), fmt.Sprint(t.Held),
			fmt.Sprint(t.Aborted), fmt.Sprint(t.Refused), fmt.Sprint(t.Skipped), stamp(c.Begun), tookBetween(c.Begun, c.Ended), dash(c.Reason),
		})
	}
	table(w, []string{
		"NAME", "KIND", "BY", "STATE", "LINKS", "ROTATED", "HELD", "ABORTED", "REFUSED", "SKIPPED", "BEGAN", "TOOK", "REASON",
	}, rows)
	if n := all - len(shown); n > 0 {
		_, _ = fmt.Fprintf(w, "and %d older: see --limit\n", n)
	}
}

// mostNotRotated is how many links of a campaign are listed.
const mostNotRotated = 100

func printCampaignPast(w io.Writer, now time.Time, o campaignPast, waves []wave) {
	t := telling{w}
	t.say("Campaign", "%s (%s)", o.Name, o.Kind)
	t.say("By", "%s", o.By)
	t.say("Asked for", "%s", o.Asked)
	t.say("Policy", "%s", o.Policy)
	t.say("Links", "%v: %v", o.Selection, o.Tally)
	t.say("State", "%s since %s", o.State, stamp(o.Since))
	t.say("Reason", "%s", o.Reason)
	t.say("Began", "%s, %s", stamp(o.Begun), ago(now, o.Begun))
	if o.Ended.IsZero() {
		if !o.Expected.IsZero() {
			t.say("Expected end", "%s", stamp(o.Expected))
		}
	} else {
		t.say("Ended", "%s, after %s", stamp(o.Ended), tookBetween(o.Begun, o.Ended))
	}
	_, _ = fmt.Fprintln(w)
	printWaves(w, waves)
	if o.Untold {
		_, _ = fmt.Fprintln(w, "\nLater campaigns have taken up its links: see keyorch history LINK.")
	}
	if len(o.NotRotated) == 0 {
		return
	}
	_, _ = fmt.Fprintln(w)
	var rows [][]string
	for i, s := range o.NotRotated {
		if i == mostNotRotated {
			break
		}
		rows = append(rows, []string{string(s.Link), s.Outcome, s.Phase.String(), epoch(s.Epoch), dash(s.Reason)})
	}
	table(w, []string{"LINK", "OUTCOME", "PHASE NOW", "SENDS", "REASON"}, rows)
	if n := len(o.NotRotated) - mostNotRotated; n > 0 {
		_, _ = fmt.Fprintf(w, "and %d more: see -o json\n", n)
	}
}

func printLinkPast(w io.Writer, now time.Time, o linkPast) {
	t := telling{w}
	t.say("Link", "%s", o.Link)
	t.say("Last", "%s", attempted(now, o.Last))
	if o.Completed.Ended.IsZero() {
		t.say("Completed", "no rotation has ended with a new key in use")
	} else {
		t.say("Completed", "epoch %d at %s (%s)", o.Completed.Epoch, stamp(o.Completed.Ended), o.Completed.Campaign)
	}
	if len(o.Entries) == 0 {
		_, _ = fmt.Fprintln(w, "\nNothing has happened to it yet.")
		return
	}
	_, _ = fmt.Fprintln(w)
	var rows [][]string
	for i, e := range o.Entries {
		if i > 0 && e.Turn > o.Entries[i-1].Turn+1 {
			rows = append(rows, []string{"...", "", "", "", "", "", "turns that were passed at once"})
		}
		rows = append(rows, entryRow(o.Entries, i))
		if i+1 < len(o.Entries) {
			rows = append(rows, confirmations(e, o.Entries[i+1].Confirmed)...)
		}
	}
	table(w, []string{"TURN", "PHASE", "FROM", "TO", "AT", "TOOK", "WHAT"}, rows)
	if o.Entries[0].Turn > 1 {
		_, _ = fmt.Fprintf(w, "Of what was before, nothing is kept: a link's last %d turns are.\n", store.HistoryKept)
	}
}

// entryRow is the phase that entry i entered; it took until the next one.
func entryRow(entries []link.Entry, i int) []string {
	e := entries[i]
	lasted := "-"
	if i+1 < len(entries) && e.Phase != link.Steady {
		lasted = lasting(entries[i+1].At.Sub(e.At))
	}
	what := ""
	switch {
	case e.Outcome != "":
		what = string(e.Outcome) + " by " + orNone(e.Campaign)
	case i == 0 || entries[i-1].Phase == link.Steady:
		what = "begun by " + orNone(e.Campaign)
	case e.Campaign != entries[i-1].Campaign:
		what = "taken over by " + orNone(e.Campaign)
	}
	if e.Reason != "" {
		if what == "" {
			what = "goes back"
		}
		what += ": " + e.Reason
	}
	return []string{fmt.Sprint(e.Turn), e.Phase.String(), refOf(e.From), refOf(e.To), clock(e.At), lasted, dash(what)}
}

// confirmations are who ended a phase, each in a line below it.
func confirmations(e link.Entry, all []link.Confirmation) [][]string {
	var rows [][]string
	for _, c := range all {
		what := fmt.Sprintf("%s accepts %v", c.Node, c.Key)
		switch {
		case c.Sends && c.Key.IsZero():
			what = fmt.Sprintf("%s has lost it, and is silent", c.Node)
		case c.Sends:
			what = fmt.Sprintf("%s sends with %v", c.Node, c.Key)
		case e.Phase == link.Retiring:
			what = fmt.Sprintf("%s has forgotten %d, and accepts %v", c.Node, e.From.Epoch, c.Key)
		}
		lasted := "-"
		if !c.At.Before(e.At) {
			lasted = lasting(c.At.Sub(e.At))
		}
		rows = append(rows, []string{"", "", "", "", clock(c.At), lasted, what})
	}
	return rows
}

// lasting is how long a phase took: to the millisecond where it is short.
func lasting(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return took(d)
}

func refOf(r keychain.Ref) string {
	if r.IsZero() {
		return "-"
	}
	return r.String()
}

// clock is a moment with its milliseconds: the phases of a link are short.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }
