package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/topology"
)

func campaigns(now time.Time, all []campaign.Record) *listed {
	l := &listed{header: []string{"CAMPAIGN", "KIND", "STATE", "WAVE", "LINKS", "ROTATED", "FAILED", "AGE", "REASON"}}
	for _, c := range all {
		running := "-"
		if c.Wave < len(c.Waves) {
			running = fmt.Sprintf("%s (%d of %d)", c.Waves[c.Wave].Name, c.Wave+1, len(c.Waves))
		}
		t := c.Tally
		l.add(c.Name, c, string(c.Kind), string(c.State), running, fmt.Sprint(t.Links), fmt.Sprint(t.Rotated), fmt.Sprint(t.Failed()),
			age(now, c.Begun), dash(c.Reason))
	}
	return l
}

// maintenance is what has not ended.
func maintenance(now time.Time, s topology.Standing) *listed {
	l := &listed{header: []string{"SITE", "UNTIL", "SINCE", "REASON"}}
	for _, m := range s.Maintenance {
		if now.Before(m.Until) {
			l.add(string(m.Site), m, stamp(m.Until), age(now, m.Since), dash(m.Reason))
		}
	}
	return l
}

func exclusions(now time.Time, s topology.Standing) *listed {
	l := &listed{header: []string{"EXCLUDED", "KIND", "SINCE", "EXPOSED", "CAMPAIGN", "REASON"}}
	for _, e := range s.Exclusions {
		kind := "node"
		if e.Site != "" {
			kind = "site"
		}
		name := cmp.Or(string(e.Site), string(e.Node))
		l.add(name, e, kind, age(now, e.Since), fmt.Sprintf("%d keys", len(e.Exposed)), dash(e.Campaign), dash(e.Reason))
	}
	return l
}

func policies(t topology.Topology) *listed {
	l := &listed{header: []string{"POLICY", "WAVES", "BUDGET", "WAIT", "DRAIN", "KEY AGE", "WINDOWS", "SCHEDULE"}, declared: true}
	for _, p := range t.Policies {
		l.add(p.Name, p, wavesInShort(p), budgetInShort(p.Budget), span(p.Wait), drainInShort(p), span(p.KeyAge.Max), windowsInShort(p), scheduleInShort(p))
	}
	return l
}

// rules are those that are declared, and those in force that are declared no more.
func rules(t topology.Topology, f approval.InForce) *listed {
	l := &listed{header: []string{"RULE", "VERBS", "APPROVALS", "APPROVERS", "HARDWARE", "DEADLINE", "IN FORCE"}, declared: true}
	waits := map[string]string{}
	for _, c := range t.ChangedRules(f.Rules) {
		waits[c.What] = "not yet"
		if c.Before != "" {
			waits[c.What] = "as it was before"
		}
		if c.After == "" {
			l.add(strings.TrimPrefix(c.What, topology.KindApprovalRule+" "), nil, "-", "-", "-", "-", "-", "yes, though it is declared no more")
		}
	}
	for _, r := range t.ApprovalRules {
		var verbs, people []string
		for _, v := range r.Verbs {
			verbs = append(verbs, string(v))
		}
		for _, a := range r.Approvers {
			people = append(people, a.Name)
		}
		hardware := "-"
		switch {
		case r.PIN:
			hardware = "PIN"
		case r.Touch:
			hardware = "touch"
		}
		l.add(r.Name, r, strings.Join(verbs, ","), fmt.Sprint(r.Approvals), strings.Join(people, ","), hardware, span(r.Deadline), cmp.Or(waits[r.What()], "yes"))
	}
	return l
}

// wavesInShort is as in "1, 10%, rest".
func wavesInShort(p topology.Policy) string {
	var said []string
	for i, w := range p.Waves {
		text := w.Size.String()
		switch {
		case i == len(p.Waves)-1:
			text = "rest"
		case w.Selector != "" && w.Size.IsZero():
			text = w.Selector
		case w.Selector != "":
			text += " of " + w.Selector
		}
		said = append(said, text)
	}
	return orNone(strings.Join(said, ", "))
}

func budgetInShort(b topology.Budget) string {
	text := fmt.Sprintf("%v of a wave, %v of all", b.Wave, b.Campaign)
	if b.Wave == b.Campaign {
		text = b.Wave.String()
	}
	return text + ", then " + string(b.OnSpent)
}

func drainInShort(p topology.Policy) string {
	text := "0s"
	if p.Drain > 0 {
		text = span(p.Drain)
	}
	if p.Quiet > 0 {
		text += ", quiet " + span(p.Quiet)
	}
	return text
}

func windowsInShort(p topology.Policy) string {
	var said []string
	for _, w := range p.Windows {
		said = append(said, w.String())
	}
	text := strings.Join(said, "; ")
	if n := len(p.Freezes); n > 0 {
		text = strings.Join(slices.DeleteFunc([]string{text, fmt.Sprintf("%d freezes", n)}, func(s string) bool { return s == "" }), ", ")
	}
	return zoned(p, text)
}

func scheduleInShort(p topology.Policy) string { return zoned(p, p.Schedule.Cron) }

// zoned is a text with the zone in which it is meant; "-" for none.
func zoned(p topology.Policy, text string) string {
	if text == "" {
		return "-"
	}
	return fmt.Sprintf("%s (%s)", text, cmp.Or(p.TimeZone, "UTC"))
}

// span is a duration as documents write it, without zeros behind it: 10m, 720h.
func span(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
