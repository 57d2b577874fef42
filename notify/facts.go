package notify

import (
	"fmt"
	"slices"
	"time"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/topology"
)

// Facts is what events are derived from, at one moment.
type Facts struct {
	Links     []LinkFact
	Absent    []Absence
	Campaigns []campaign.Record
}

// LinkFact is the little that is needed of one link.
type LinkFact struct {
	Link     keychain.LinkID
	Campaign string // that drives it, or drove it last
	Policy   string
	Phase    link.Phase
	Entered  time.Time // when the phase was
	// Patience is how long it may stand in its phase before it counts as held.
	Patience time.Duration
	// Made is when the key in use was; zero when that is not known.
	Made  time.Time
	Age   topology.KeyAge
	Drift []link.Finding
	// Drifting is since when there is Drift, as far as this worker has seen it.
	Drifting time.Time
}

// Absence is a node that no agent serves.
type Absence struct {
	Node  keychain.NodeID
	Site  keychain.SiteID
	Since time.Time // as far as this worker has seen it
}

const (
	// driftAfter is how long a difference must last: most are put right at once.
	driftAfter = time.Minute
	// goneAfter is how long a node must be without an agent: one that is restarted or
	// replaced is not gone.
	goneAfter = time.Minute
	// nearly is how much of the maximum age of a key is near it, in percent, for
	// policies that do not say when to warn.
	nearly = 90
)

// Conditions is what holds of facts. Those that are not due yet are among them. say
// gives the words about a link that is held.
func Conditions(f Facts, say func(keychain.LinkID) string) []Condition {
	var out []Condition
	for _, l := range f.Links {
		out = l.conditions(out, say)
	}
	for _, a := range f.Absent {
		out = append(out, Condition{
			Event: Event{Kind: AgentGone, Key: AgentGone + "/" + string(a.Node), Subject: fmt.Sprintf("node %s", a.Node),
				Severity: topology.Error, Node: a.Node, Site: a.Site, At: a.Since,
				Words:   fmt.Sprintf("no agent serves node %s of site %s", a.Node, a.Site),
				Command: fmt.Sprintf("keyorch why %s", a.Node)},
			Due: a.Since.Add(goneAfter), Group: fmt.Sprintf("site %s", a.Site),
		})
	}
	for _, c := range f.Campaigns {
		if got, ok := ofCampaign(c); ok {
			out = append(out, got)
		}
	}
	return out
}

func (l LinkFact) conditions(out []Condition, say func(keychain.LinkID) string) []Condition {
	about := func(kind string, s topology.Severity, at time.Time) Event {
		return Event{Kind: kind, Key: kind + "/" + string(l.Link), Subject: fmt.Sprintf("link %s", l.Link), Severity: s,
			Link: l.Link, At: at, Command: fmt.Sprintf("keyorch why %s", l.Link)}
	}
	if l.Phase != link.Steady && !l.Entered.IsZero() {
		e := about(LinkHeld, topology.Error, l.Entered)
		e.Campaign = l.Campaign
		group := ""
		if l.Campaign != "" {
			group = "campaign " + l.Campaign
		}
		out = append(out, Condition{Event: e, Due: l.Entered.Add(l.Patience), Group: group, Say: func() string { return say(l.Link) }})
	}
	if len(l.Drift) > 0 {
		e := about(DriftFound, topology.Warning, l.Drifting)
		worst := l.Drift[0]
		e.Node, e.Words = worst.Node, fmt.Sprintf("link %s differs from what is asked of it: %s", l.Link, worst.Message)
		if n := len(l.Drift) - 1; n > 0 {
			e.Words += fmt.Sprintf(" (and %d more)", n)
		}
		if slices.ContainsFunc(l.Drift, func(f link.Finding) bool { return !f.Repairable }) {
			e.Severity = topology.Error
		}
		e.Command = fmt.Sprintf("keyorch drift %s", l.Link)
		out = append(out, Condition{Event: e, Due: l.Drifting.Add(driftAfter), Group: "the fleet"})
	}
	return l.ages(out, about)
}

// ages tells of a key that is old.
func (l LinkFact) ages(out []Condition, about func(string, topology.Severity, time.Time) Event) []Condition {
	if l.Made.IsZero() {
		return out
	}
	group := "the default policy"
	if l.Policy != "" {
		group = "policy " + l.Policy
	}
	warn := l.Age.Warn
	if warn == 0 {
		warn = l.Age.Max / 100 * nearly
	}
	old := func(kind string, s topology.Severity, age time.Duration, words string) {
		e := about(kind, s, l.Made.Add(age))
		e.Words = fmt.Sprintf("link %s: its key, made %s, %s", l.Link, l.Made.UTC().Format(time.RFC3339), words)
		out = append(out, Condition{Event: e, Due: e.At, Group: group})
	}
	if warn > 0 {
		words := fmt.Sprintf("is older than %v", warn)
		if l.Age.Max > 0 {
			words = fmt.Sprintf("comes near its maximum age of %v", l.Age.Max)
		}
		old(KeyAging, topology.Warning, warn, words)
	}
	if l.Age.Max > 0 {
		old(KeyOverdue, topology.Error, l.Age.Max, fmt.Sprintf("is beyond its maximum age of %v", l.Age.Max))
	}
	return out
}

// ofCampaign is what there is to tell of a campaign.
func ofCampaign(r campaign.Record) (Condition, bool) {
	e := Event{Subject: "campaign " + r.Name, Campaign: r.Name, At: r.Since, Command: "keyorch why " + r.Name}
	switch {
	case r.State == campaign.Ended:
		e.Kind, e.Momentary, e.Severity, e.At = CampaignFinished, true, topology.Info, r.Ended
		e.Words = fmt.Sprintf("campaign %s has ended: %s", r.Name, r.Reason)
		if r.Tally.Failed() > 0 || r.Aborted {
			e.Severity = topology.Warning
		}
	case r.StoppedByBudget():
		e.Kind, e.Severity = BudgetSpent, topology.Error
		e.Words = fmt.Sprintf("campaign %s has spent its budget and is %s: %s", r.Name, r.State, r.Reason)
	case r.State == campaign.Paused:
		e.Kind, e.Severity = CampaignPaused, topology.Warning
		e.Words = fmt.Sprintf("campaign %s is %s", r.Name, r.Reason)
	default:
		return Condition{}, false
	}
	// A campaign can be paused several times: each is an event of its own.
	e.Key = fmt.Sprintf("%s/%s/%d", e.Kind, r.Name, e.At.Unix())
	return Condition{Event: e, Due: e.At}, true
}
