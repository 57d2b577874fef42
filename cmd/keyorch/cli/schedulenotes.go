package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/cmd/keyorch/wiring"
	"github.com/keyorch/keyorch/topology"
	"github.com/keyorch/keyorch/workflows"
)

// nextRun is a time at which a schedule fires.
type nextRun struct {
	At    time.Time `json:"at"`
	Notes []string  `json:"notes,omitempty"`
}

// upcoming is the next n times at which a schedule fires, each with what would keep
// links from taking part.
func (w *world) upcoming(is wiring.ScheduleState, n int) []nextRun {
	t := w.view.Topology()
	links, _ := is.Request.Selection.Resolve(t) // scheduleNotes says what is wrong
	count := map[string]int{}
	for _, id := range links {
		l, _ := t.Link(id)
		count[l.Policy]++
	}
	zone, next := zoneOf(is), []nextRun{}
	for _, at := range is.Next[:min(n, len(is.Next))] {
		run := nextRun{At: at.In(zone)}
		for _, p := range t.Policies {
			if c := p.Closed(at); count[p.Name] > 0 && !c.Open() {
				run.Notes = append(run.Notes, fmt.Sprintf("%d of %d links would be skipped: policy %s is %s", count[p.Name], len(links), p.Name, c.Reason))
			}
		}
		next = append(next, run)
	}
	return next
}

// scheduleNotes is what an operator should know about a schedule before its next
// run, with what to do.
func (w *world) scheduleNotes(is wiring.ScheduleState) []string {
	var notes []string
	if is.Paused {
		notes = append(notes, "it is paused: no run begins until keyorch schedule resume "+is.Name)
	}
	if is.Altered {
		notes = append(notes, "somebody changed it in Temporal itself: keyorch schedule set puts it right")
	}
	for _, id := range is.Running {
		notes = append(notes, w.runNote(id))
	}
	t := w.view.Topology()
	if _, err := is.Request.Selection.Resolve(t); err != nil {
		notes = append(notes, strings.ReplaceAll(err.Error(), "\n", "; ")+": a run would end at once")
	}
	return append(notes, policyNotes(t, is)...)
}

// runNote is what a run that is going on means for the next one.
func (w *world) runNote(workflow string) string {
	name := workflows.CampaignName(workflow)
	c, ok := w.view.Campaign(name)
	switch {
	case !ok:
		return fmt.Sprintf("%s waits for a worker: the next run is skipped while it does", name)
	case c.State == campaign.Paused:
		return fmt.Sprintf("the next run is skipped while %s is paused (%s): keyorch resume %s", name, c.Reason, name)
	}
	return fmt.Sprintf("the next run is skipped if %s still runs by then", name)
}

// policyNotes compares a schedule, which was copied, with its policy.
func policyNotes(t topology.Topology, is wiring.ScheduleState) []string {
	name := is.Request.Policy
	if name == "" {
		return nil
	}
	at := slices.IndexFunc(t.Policies, func(p topology.Policy) bool { return p.Name == name })
	if at < 0 {
		return []string{fmt.Sprintf("policy %s is not declared any more, and the schedule goes on by the default policy: "+
			"keyorch schedule set %s with another one, or keyorch schedule delete %s", name, is.Name, is.Name)}
	}
	p := t.Policies[at]
	same := p.Schedule == is.When && cmp.Or(p.TimeZone, "UTC") == cmp.Or(is.TimeZone, "UTC")
	again := fmt.Sprintf("keyorch schedule set %s%s --policy %s", is.Name, selectionArgs(is.Request.Selection, name), name)
	switch {
	case same:
		return nil
	case p.Schedule.Cron != "":
		return []string{fmt.Sprintf("policy %s says %s: %s", name, whenWords(p.Schedule, p.TimeZone), again)}
	case is.OfPolicy:
		return []string{fmt.Sprintf("policy %s has no schedule any more: keyorch schedule delete %s", name, is.Name)}
	}
	return nil
}

// whenWords is a schedule in a sentence.
func whenWords(s topology.Schedule, zone string) string {
	words := fmt.Sprintf("%s (%s)", s.Cron, cmp.Or(zone, "UTC"))
	if s.Jitter > 0 {
		words += fmt.Sprintf(" with a jitter of %v", s.Jitter)
	}
	return words
}

// selectionArgs selects the same links again, beside --policy.
func selectionArgs(s campaign.Selection, policy string) string {
	var b strings.Builder
	for _, id := range s.Links {
		b.WriteString(" " + string(id))
	}
	alone := len(s.Links) == 0 && !s.All && s.Site == "" && s.Node == "" && s.Selector == "" && s.NodeSelector == "" && s.SiteSelector == ""
	if s.Policy == policy && alone {
		return "" // the default
	}
	for _, f := range []struct{ flag, value string }{
		{"--of-policy", s.Policy}, {"--site", string(s.Site)}, {"--node", string(s.Node)},
		{"-l", s.Selector}, {"--node-selector", s.NodeSelector}, {"--site-selector", s.SiteSelector},
	} {
		if f.value != "" {
			b.WriteString(" " + f.flag + " '" + strings.ReplaceAll(f.value, "'", `'\''`) + "'")
		}
	}
	if s.All {
		b.WriteString(" --all")
	}
	return b.String()
}
