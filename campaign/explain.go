package campaign

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// CampaignExplanation is the operator's answer to "why" about a campaign.
type CampaignExplanation struct {
	Campaign string `json:"campaign"`
	State    State  `json:"state"`
	// Summary is the whole answer in one sentence.
	Summary string `json:"summary"`
	// Wave is the wave that runs, or ran last, and its place: "tenth (2 of 3)".
	Wave  string    `json:"wave,omitempty"`
	Tally Tally     `json:"tally"`
	Since time.Time `json:"since,omitzero"` // when it came into this state
	// For is how long it has been in this state, in nanoseconds.
	For time.Duration `json:"for,omitempty"`
	// Awaiting is what it waits for; empty when it does not wait.
	Awaiting string `json:"awaiting,omitempty"`
	// Troubles are why links are not rotated, the most frequent first.
	Troubles []Trouble `json:"troubles,omitempty"`
	// Next is what happens next with nobody doing anything, and At when, if time
	// alone decides.
	Next string    `json:"next,omitempty"`
	At   time.Time `json:"at,omitzero"`
	// Command is what moves it on at once; Look is where to look first.
	Command string `json:"command,omitempty"`
	Look    string `json:"look,omitempty"`
}

// Trouble is one reason, and whom it concerns. Reasons that differ in their epochs
// alone are one.
type Trouble struct {
	Outcome string `json:"outcome,omitempty"` // a Standing's
	Reason  string `json:"reason"`            // as the first of the links gives it
	Count   int    `json:"count"`
	// Links are the first few of them, sorted.
	Links []keychain.LinkID `json:"links,omitempty"`
	// Since is when it began for the first of them, where that is known.
	Since time.Time `json:"since,omitzero"`
}

// namedLinks is how many links a Trouble names.
const namedLinks = 5

// lateAfter is how long a worker that is there takes at most to take a step.
const lateAfter = 15 * time.Second

// ExplainCampaign says why a campaign stands where it stands. standings are those
// of all its links, or none: then the tally of the record counts.
func ExplainCampaign(r Record, standings []Standing, now time.Time) CampaignExplanation {
	x := CampaignExplanation{Campaign: r.Name, State: r.State, Tally: r.Tally, Since: r.Since, For: max(0, now.Sub(r.Since)), Troubles: troubles(standings)}
	if len(standings) > 0 {
		x.Tally = Count(standings)
	}
	if r.Wave < len(r.Waves) {
		x.Wave = fmt.Sprintf("%s (%d of %d)", r.Waves[r.Wave].Name, r.Wave+1, len(r.Waves))
	}
	d := Next(r, now, Asks{})
	x.Next, x.At = d.Next, d.Wake
	late := r.State != Ended && Next(r, now.Add(-lateAfter), Asks{}).Changed
	x.Awaiting = r.awaiting(x.Tally, now)
	if late {
		x.Awaiting = "a worker: the next step is due, and nobody takes it"
	}
	x.Look = look(standings)
	x.Command = r.command(x.Tally, late)
	x.Summary = r.summary(x)
	return x
}

// awaiting is what a campaign waits for.
func (r Record) awaiting(t Tally, now time.Time) string {
	switch {
	case r.State == Paused:
		return "an operator who resumes it"
	case r.State == Aborting:
		return fmt.Sprintf("%s that go back", links(t.InFlight+t.Held))
	case r.State == Ended && t.Held+t.InFlight > 0:
		return fmt.Sprintf("the nodes of %s, which go on by themselves", links(t.Held+t.InFlight))
	case r.State == Ended || r.Wave >= len(r.Waves):
		return ""
	}
	w := r.Waves[r.Wave]
	if until := w.Ended.Add(w.Soak); !w.Ended.IsZero() && now.Before(until) {
		return fmt.Sprintf("the soak of wave %s, until %s", w.Name, stamp(until))
	}
	return fmt.Sprintf("%s of wave %s", links(w.Tally.Links-w.Tally.Done()), w.Name)
}

// command is the exact command that moves a campaign on.
func (r Record) command(t Tally, late bool) string {
	switch {
	case late:
		return "keyorch worker"
	case r.State == Paused:
		return "keyorch resume " + r.Name
	case r.State == Running && r.CanPromote() == nil:
		return "keyorch promote " + r.Name
	case r.State == Ended && t.Failed() > 0:
		return "keyorch retry " + r.Name
	}
	return ""
}

// look is the command that explains the first link in trouble, the held ones
// first.
func look(standings []Standing) string {
	for _, o := range []string{string(link.Held), string(link.Aborted), string(link.Denied), InFlight} {
		for _, s := range standings {
			if s.Outcome == o {
				return fmt.Sprintf("keyorch why %s", s.Link)
			}
		}
	}
	return ""
}

// summary is the state, why, and what has become of the links.
func (r Record) summary(x CampaignExplanation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "campaign %s ", r.Name)
	switch r.State {
	case Running:
		fmt.Fprintf(&b, "is in wave %s", x.Wave)
	case Ended:
		b.WriteString("has ended")
	case Aborting:
		b.WriteString("is being aborted")
	case Paused:
		fmt.Fprintf(&b, "is paused in wave %s", x.Wave)
	}
	if r.State != Ended {
		b.WriteString(because(r.Reason))
		fmt.Fprintf(&b, "; %v", x.Tally)
	} else {
		fmt.Fprintf(&b, ": %v", x.Tally)
		if _, why, ok := strings.Cut(r.Reason, "; "); ok {
			b.WriteString("; " + why)
		}
	}
	if len(x.Troubles) > 0 {
		t := x.Troubles[0]
		fmt.Fprintf(&b, "; %d %s", t.Count, t.Outcome)
		b.WriteString(because(t.Reason))
	}
	return b.String()
}

// troubles groups the links that are not rotated by why.
func troubles(standings []Standing) []Trouble {
	var g groups
	for _, s := range standings {
		switch s.Outcome {
		case string(link.Held), string(link.Aborted), string(link.Denied), Skipped, Superseded:
			g.add(s.Outcome, s.Reason, s.Link, time.Time{})
		}
	}
	return g.sorted()
}

// groups collects troubles.
type groups struct {
	list []Trouble
	at   map[[2]string]int
}

// add counts one link under a reason, once when it comes again at once.
func (g *groups) add(outcome, reason string, id keychain.LinkID, since time.Time) {
	if g.at == nil {
		g.at = map[[2]string]int{}
	}
	key := [2]string{outcome, alike(reason)}
	i, ok := g.at[key]
	if !ok {
		i = len(g.list)
		g.at[key] = i
		g.list = append(g.list, Trouble{Outcome: outcome, Reason: reason, Since: since})
	}
	t := &g.list[i]
	if n := len(t.Links); n == 0 || t.Links[n-1] != id { // several nodes of one link
		t.Count++
		t.Links = append(t.Links, id)
	}
	if !since.IsZero() && since.Before(t.Since) {
		t.Since = since
	}
}

// sorted is the troubles, the most frequent first.
func (g *groups) sorted() []Trouble {
	for i := range g.list {
		t := &g.list[i]
		slices.Sort(t.Links)
		t.Links = slices.Clip(t.Links[:min(len(t.Links), namedLinks)])
	}
	slices.SortStableFunc(g.list, func(a, b Trouble) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Reason, b.Reason))
	})
	return g.list
}

// alike is reason without the numbers of epochs, which differ from link to link:
// whatever follows the word, as in "epoch 4 (a1b2c3d4e5)" and "epochs 3 and 4".
func alike(reason string) string {
	words := strings.Fields(reason)
	out := words[:0]
	inEpoch := false
	for _, w := range words {
		bare := strings.Trim(w, "(),;:.")
		digits := bare != "" && strings.Trim(bare, "0123456789") == ""
		_, err := keychain.ParseKCV(bare)
		switch {
		case bare == "epoch" || bare == "epochs":
			inEpoch = true
		case inEpoch && (digits || err == nil || w == "and"):
			continue
		default:
			inEpoch = false
		}
		out = append(out, w)
	}
	return strings.Join(out, " ")
}
