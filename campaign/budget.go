package campaign

import (
	"fmt"
	"strings"

	"github.com/keyorch/keyorch/topology"
)

// Spent reports whether more links have failed than the budget allows, in the
// wave or in the campaign, and says so for people: "3 of 20 links of the wave
// failed, and its budget is 10%". What equals the budget is inside of it, and a
// zero budget is spent by the first failure. Percent count of all links of the
// wave or the campaign, not of those that have ended.
func Spent(b topology.Budget, wave, all Tally) (reason string, spent bool) {
	if !b.Wave.Within(wave.Failed(), wave.Links) {
		reason = overspent(wave, "the wave", b.Wave)
	}
	if !b.Campaign.Within(all.Failed(), all.Links) {
		if reason != "" {
			reason += "; "
		}
		reason += overspent(all, "the campaign", b.Campaign)
	}
	return reason, reason != ""
}

func overspent(t Tally, of string, a topology.Amount) string {
	allowed := "its budget is " + a.String()
	if a.IsZero() {
		allowed = "its budget allows none"
	}
	return fmt.Sprintf("%d of %s of %s failed, and %s", t.Failed(), links(t.Links), of, allowed)
}

// The reasons of a state that an operator asked for begin with these.
const (
	pausedByOperator  = "paused by an operator"
	abortedByOperator = "aborted by an operator"
)

// StoppedByBudget reports whether the campaign is paused, or goes back, because its
// budget was spent, and not because an operator asked for it.
func (r Record) StoppedByBudget() bool {
	return (r.State == Paused && !strings.HasPrefix(r.Reason, pausedByOperator)) ||
		(r.State == Aborting && !strings.HasPrefix(r.Reason, abortedByOperator))
}

// links counts links in words.
func links(n int) string {
	if n == 1 {
		return "1 link"
	}
	return fmt.Sprintf("%d links", n)
}

// forgiving is t without n of its failures.
func (t Tally) forgiving(n int) Tally {
	for _, of := range []*int{&t.Held, &t.Aborted, &t.Refused} {
		less := min(n, *of)
		*of -= less
		n -= less
	}
	return t
}
