package notify

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyorch/keyorch/topology"
)

// crowdsAre is how many conditions of a kind and a group are told one by one. A site that
// is away is one event, not one for each of its nodes; a campaign that holds a thousand
// links does not ring a thousand times.
func crowdsAre(kind string) int {
	if kind == AgentGone {
		return 1
	}
	return 10
}

// namedInCrowd is how many the words of a crowd name.
const namedInCrowd = 5

// crowded puts one condition in the place of many of the same kind and group. Those that
// were told by themselves stay, and so does a crowd that was told, until none of its
// members holds any more.
func crowded(conditions []Condition, told map[string]Told, now time.Time) []Condition {
	type group struct{ kind, name string }
	var out []Condition
	groups := map[group][]Condition{}
	for _, c := range conditions {
		if _, alone := told[c.Key]; c.Group == "" || alone {
			out = append(out, c)
			if !alone {
				continue
			}
		}
		if c.Group != "" {
			g := group{c.Kind, c.Group}
			groups[g] = append(groups[g], c)
		}
	}
	for g, members := range groups {
		key := crowdKey(g.kind, g.name)
		_, open := told[key]
		var due, rest []Condition
		alone := 0
		for _, c := range members {
			_, already := told[c.Key]
			switch {
			case already:
				alone++
			case !c.Due.After(now):
				due = append(due, c)
			default:
				rest = append(rest, c)
			}
		}
		switch {
		case open && len(due)+len(rest) > 0:
			out = append(out, crowd(key, g.name, append(due, rest...), now))
		case len(due) > 1 && alone+len(due) > crowdsAre(g.kind):
			out = append(append(out, crowd(key, g.name, due, now)), rest...)
		default:
			out = append(append(out, due...), rest...)
		}
	}
	return out
}

func crowdKey(kind, group string) string {
	return kind + "/many/" + strings.ReplaceAll(group, " ", "/")
}

// crowd is one condition for several.
func crowd(key, group string, members []Condition, now time.Time) Condition {
	slices.SortFunc(members, func(a, b Condition) int { return cmp.Compare(a.Key, b.Key) })
	first := members[0]
	c := Condition{Event: Event{Kind: first.Kind, Key: key, Subject: group, At: now, Severity: topology.Info}, Due: now}
	if name, ok := strings.CutPrefix(group, "campaign "); ok {
		c.Campaign, c.Command = name, "keyorch why "+name
	}
	same := true
	for _, m := range members {
		if m.Severity.AtLeast(c.Severity) {
			c.Severity = m.Severity
		}
		if m.At.Before(c.At) {
			c.At = m.At
		}
		same = same && m.Site == first.Site
	}
	if same && first.Site != "" {
		c.Site = first.Site
	}
	c.Command = cmp.Or(c.Command, first.Command)
	c.Say = func() string {
		var names []string
		for _, m := range members[:min(len(members), namedInCrowd)] {
			names = append(names, m.Subject)
		}
		list := strings.Join(names, ", ")
		if more := len(members) - len(names); more > 0 {
			list += fmt.Sprintf(" and %d more", more)
		}
		return fmt.Sprintf("%s: %s: %s", group, manyWords(first.Kind, len(members)), list)
	}
	return c
}

// manyWords says what is the matter with n of a kind.
func manyWords(kind string, n int) string {
	switch kind {
	case LinkHeld:
		return fmt.Sprintf("%d links are held too long", n)
	case KeyAging:
		return fmt.Sprintf("%d links have keys that come near their maximum age", n)
	case KeyOverdue:
		return fmt.Sprintf("%d links have keys beyond their maximum age", n)
	case DriftFound:
		return fmt.Sprintf("%d links differ from what is asked of them", n)
	case AgentGone:
		return fmt.Sprintf("no agent serves %d nodes", n)
	}
	return fmt.Sprintf("%d times %s", n, kind)
}
