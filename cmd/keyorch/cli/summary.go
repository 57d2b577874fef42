package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/cmd/keyorch/tui"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// printStatus prints every link.
func printStatus(w io.Writer, now time.Time, o statusOutput) {
	printCampaigns(w, o, false)
	printLinks(w, now, o.Links)
}

func printLinks(w io.Writer, now time.Time, links []linkStatus) {
	var rows [][]string
	for _, l := range links {
		since := "-"
		if !l.Since.IsZero() {
			since = age(now, l.Since)
		}
		rows = append(rows, []string{
			string(l.Link), l.Phase.String(), epoch(l.Sends), epoch(l.Next), since, l.age.String(), orNone(l.Reason),
		})
	}
	table(w, []string{"LINK", "PHASE", "SENDS", "NEXT", "SINCE", "KEY AGE", "REASON"}, rows)
}

// String is the age for a table.
func (a keyAge) String() string {
	if a.is == 0 {
		return "-"
	}
	made := time.Unix(0, 0)
	return age(made.Add(a.is), made)
}

// printCampaigns says which campaigns run or are paused; with ended also the one
// that ended last.
func printCampaigns(w io.Writer, o statusOutput, ended bool) {
	told := false
	for _, c := range o.Campaigns {
		if c.State == campaign.Ended && !ended {
			continue
		}
		told = true
		_, _ = fmt.Fprintln(w, upperFirst(c.Summary))
		if c.Next != "" && c.State != campaign.Ended {
			_, _ = fmt.Fprintf(w, "  next: %s\n", c.Next)
		}
		if c.State == campaign.Paused && c.Command != "" {
			_, _ = fmt.Fprintf(w, "  unblock: %s\n", c.Command)
		}
	}
	if told {
		_, _ = fmt.Fprintln(w)
	}
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// wave is one line of a campaign's waves.
type wave struct {
	name, state string
	tally       campaign.Tally
}

// waves is how the waves of a campaign stand: counted now, where that can be told.
func (s *sight) waves(ctx context.Context, r *campaign.Record) ([]wave, error) {
	if r == nil {
		return nil, nil
	}
	standings, err := s.standings(ctx, *r)
	if err != nil {
		return nil, err
	}
	return wavesOf(*r, standings, s.now), nil
}

// wavesOf is the waves of a campaign by how its links stand; nil: as was written
// down.
func wavesOf(r campaign.Record, standings [][]campaign.Standing, now time.Time) []wave {
	out := make([]wave, 0, len(r.Waves))
	for i, w := range r.Waves {
		line := wave{name: w.Name, tally: w.Tally}
		if standings != nil {
			line.tally = campaign.Count(standings[i])
		}
		state, until := waveState(r, i, now)
		switch {
		case state == tui.Running && r.State != campaign.Running:
			line.state = string(r.State)
		case until.IsZero():
			line.state = string(state)
		default:
			line.state = fmt.Sprintf("%s until %s", state, stamp(until))
		}
		out = append(out, line)
	}
	return out
}

func printWaves(w io.Writer, waves []wave) {
	var rows [][]string
	for _, l := range waves {
		t := l.tally
		rows = append(rows, []string{
			l.name, fmt.Sprint(t.Links), fmt.Sprint(t.Rotated), fmt.Sprint(t.InFlight), fmt.Sprint(t.Held),
			fmt.Sprint(t.Aborted), fmt.Sprint(t.Refused), fmt.Sprint(t.Skipped + t.Superseded), l.state,
		})
	}
	table(w, []string{"WAVE", "LINKS", "ROTATED", "IN FLIGHT", "HELD", "ABORTED", "REFUSED", "SKIPPED", "STATE"}, rows)
}

// printSummary prints what many links amount to, and those that are not plainly
// Steady.
func printSummary(w io.Writer, now time.Time, o statusOutput, waves []wave) {
	printCampaigns(w, o, true)
	if len(waves) > 0 {
		printWaves(w, waves)
		_, _ = fmt.Fprintln(w)
	}
	_, _ = fmt.Fprintf(w, "%s\n", phasesOf(o.Links))
	if text := agesOf(o.Links); text != "" {
		_, _ = fmt.Fprintf(w, "%s\n", text)
	}
	shown := slices.DeleteFunc(slices.Clone(o.Links), linkStatus.plain)
	if len(shown) == 0 {
		_, _ = fmt.Fprintln(w, "Every link is Steady, and nothing is wrong with any of them.")
		return
	}
	if groups := alikes(shown); len(groups) > 0 {
		_, _ = fmt.Fprintln(w)
		var rows [][]string
		for _, g := range groups[:min(len(groups), mostReasons)] {
			rows = append(rows, []string{fmt.Sprint(g.count), g.phase, g.reason, firstOf(g.links, g.count, 3)})
		}
		table(w, []string{"COUNT", "PHASE", "REASON", "LINKS"}, rows)
		if n := len(groups) - mostReasons; n > 0 {
			_, _ = fmt.Fprintf(w, "and %d more reasons\n", n)
		}
	}
	slices.SortStableFunc(shown, func(a, b linkStatus) int { return cmp.Compare(a.rank(), b.rank()) })
	_, _ = fmt.Fprintln(w)
	printLinks(w, now, shown[:min(len(shown), mostLinks)])
	if n := len(shown) - mostLinks; n > 0 {
		_, _ = fmt.Fprintf(w, "and %d more: see --full, or -o json\n", n)
	}
}

const (
	// mostReasons and mostLinks are how many a summary shows.
	mostReasons = 20
	mostLinks   = 100
)

// rank orders the links of a summary: what is held with a reason, what is wrong at
// rest, then what is under way.
func (l linkStatus) rank() int {
	switch {
	case l.Phase != link.Steady && l.Reason != "":
		return 0
	case l.Phase == link.Steady && l.keyed:
		return 1
	case l.Phase != link.Steady:
		return 2
	}
	return 3
}

// phasesOf counts links by phase, and those without a key by themselves.
func phasesOf(links []linkStatus) string {
	count, keyless := map[link.Phase]int{}, 0
	for _, l := range links {
		if l.Phase == link.Steady && !l.keyed {
			keyless++
			continue
		}
		count[l.Phase]++
	}
	var parts []string
	for _, p := range link.Phases() {
		if n := count[p]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %v", n, p))
		}
	}
	if keyless > 0 {
		parts = append(parts, fmt.Sprintf("%d without a key", keyless))
	}
	return fmt.Sprintf("%s: %s", counted(len(links)), strings.Join(parts, ", "))
}

// agesOf says how old the keys are; empty where none is known.
func agesOf(links []linkStatus) string {
	var ages []time.Duration
	warn, over := 0, 0
	for _, l := range links {
		if l.age.is > 0 {
			ages = append(ages, l.age.is)
		}
		switch {
		case l.age.max:
			over++
		case l.age.warn:
			warn++
		}
	}
	if len(ages) == 0 {
		return ""
	}
	slices.Sort(ages)
	text := fmt.Sprintf("Keys: the newest %v old, half of them up to %v, the oldest %v",
		keyAge{is: ages[0]}, keyAge{is: ages[len(ages)/2]}, keyAge{is: ages[len(ages)-1]})
	if over > 0 {
		text += fmt.Sprintf("; %d over their maximum", over)
	}
	if warn > 0 {
		text += fmt.Sprintf("; %d over their warning", warn)
	}
	return text
}

// reasonGroup is links that stand where they stand for the same reason.
type reasonGroup struct {
	phase, reason string
	count         int
	links         []keychain.LinkID
}

// alikes groups links by phase and reason, the most frequent first. Reasons that
// differ in numbers alone are one.
func alikes(links []linkStatus) []reasonGroup {
	at := map[[2]string]int{}
	var groups []reasonGroup
	for _, l := range links {
		if l.Reason == "" {
			continue
		}
		key := [2]string{l.Phase.String(), alike(l)}
		i, ok := at[key]
		if !ok {
			i = len(groups)
			at[key] = i
			groups = append(groups, reasonGroup{phase: key[0], reason: unnamed(l)})
		}
		groups[i].count++
		if len(groups[i].links) < 3 {
			groups[i].links = append(groups[i].links, l.Link)
		}
	}
	slices.SortStableFunc(groups, func(a, b reasonGroup) int { return cmp.Compare(b.count, a.count) })
	return groups
}

// unnamed is the reason of a link without its name.
func unnamed(l linkStatus) string {
	words := strings.Split(l.Reason, " ")
	for i, w := range words {
		if w == string(l.Link) {
			words[i] = "LINK"
		}
	}
	return strings.Join(words, " ")
}

// alike is a reason without its link and the words that are numbers, or begin
// with one: epochs, KCVs, ages.
func alike(l linkStatus) string {
	words := strings.Fields(l.Reason)
	kept := words[:0]
	for _, w := range words {
		bare := strings.Trim(w, "(),;:.")
		if w == string(l.Link) {
			continue
		}
		if _, err := keychain.ParseKCV(bare); err == nil || bare != "" && bare[0] >= '0' && bare[0] <= '9' {
			continue
		}
		kept = append(kept, w)
	}
	return strings.Join(kept, " ")
}
