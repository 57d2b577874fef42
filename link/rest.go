package link

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/keychain"
)

// concern is what an operator should know of a link at rest, what comes of it by
// itself, and what helps. The zero concern is that all is well.
type concern struct{ reason, next, command string }

// atRest is the gravest concern about a link that is Steady.
func (s Snapshot) atRest(id keychain.LinkID) concern {
	st := s.State
	rotate := fmt.Sprintf("keyorch rotate %s", id)
	if st.NeedsEpoch() {
		return concern{
			reason:  fmt.Sprintf("%s lost the counter of epoch %d and sends nothing", st.losers(st.To), st.To.Epoch),
			next:    "the link gets a new epoch at once",
			command: rotate,
		}
	}
	if n := st.Bereft(s.Reports); n != "" {
		return concern{
			reason:  fmt.Sprintf("%s has lost epoch %d, and nobody can supply it any more", n, st.To.Epoch),
			next:    "the link gets a new epoch at once",
			command: rotate,
		}
	}
	if found := Drift(st, s.Reports); len(found) > 0 {
		return s.drifted(found, rotate)
	}
	if st.To.IsZero() {
		return concern{reason: "no key yet", command: rotate}
	}
	if age := s.keyAge(); s.MaxAge > 0 && age > s.MaxAge {
		return concern{reason: fmt.Sprintf("key is %s old, over its maximum of %s", inDays(age), inDays(s.MaxAge)), command: rotate}
	}
	if len(s.Quarantined) > 0 {
		return concern{
			reason:  s.leftBehind(),
			command: fmt.Sprintf("see that %s answers, then: %s", s.Quarantined[0].Node, rotate),
		}
	}
	if age := s.keyAge(); s.WarnAge > 0 && age > s.WarnAge {
		return concern{reason: fmt.Sprintf("key is %s old%s", inDays(age), s.limit()), command: rotate}
	}
	return concern{}
}

// drifted tells the gravest of found.
func (s Snapshot) drifted(found []Finding, rotate string) concern {
	f, more := found[0], ""
	if n := len(found) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	c := concern{reason: f.Message + more}
	absent := !slices.Contains(s.Present, f.Node)
	switch {
	case f.Kind == TurnWentBack:
		c.command = fmt.Sprintf("keyorch recover: until then %s keeps the keys that it has", f.Node)
	case f.Kind == LostCounter:
		c.next, c.command = "the link gets a new epoch at once", rotate
	case absent:
		c.command = fmt.Sprintf("start the agent of node %s", f.Node)
	case f.Kind == WrongKCV:
		c.command = fmt.Sprintf("find out which key %s unwrapped", f.Node)
	case f.Repairable:
		c.next = fmt.Sprintf("the agent of %s puts it right", f.Node)
		c.command = fmt.Sprintf("if it stays so, look at the device of %s", f.Node)
	default:
		c.command = fmt.Sprintf("look at the device of %s", f.Node)
	}
	return c
}

// keyAge is how old the key in use is; zero when nobody knows.
func (s Snapshot) keyAge() time.Duration {
	if s.KeySince.IsZero() {
		return 0
	}
	return s.Now.Sub(s.KeySince)
}

// limit says when the key reaches its greatest age, if it has one.
func (s Snapshot) limit() string {
	if s.MaxAge <= 0 {
		return ""
	}
	return fmt.Sprintf(", and reaches its maximum of %s at %s", inDays(s.MaxAge), s.KeySince.Add(s.MaxAge).Format(time.RFC3339))
}

// leftBehind names the quarantined nodes; empty for none.
func (s Snapshot) leftBehind() string {
	var told []string
	for _, q := range s.Quarantined {
		told = append(told, fmt.Sprintf("%s was left behind at epoch %d and is not counted on until the key is staged for it again", q.Node, q.Epoch))
	}
	return strings.Join(told, "; ")
}

// asides is what the summary tells beside where the link stands.
func (s Snapshot) asides(reason string) string {
	var told string
	if left := s.leftBehind(); left != "" && left != reason {
		told += "; " + left
	}
	if len(s.Maintained) > 0 {
		told += "; in maintenance: " + strings.Join(s.Maintained, "; ")
	}
	return told
}

// inDays writes the age of a key: days, below ten of them with hours.
func inDays(d time.Duration) string {
	const day = 24 * time.Hour
	days, hours := d/day, d%day/time.Hour
	switch {
	case d < time.Hour:
		return d.Round(time.Second).String()
	case days == 0:
		return fmt.Sprintf("%dh", hours)
	case days >= 10 || hours == 0:
		return fmt.Sprintf("%dd", days)
	}
	return fmt.Sprintf("%dd%dh", days, hours)
}
