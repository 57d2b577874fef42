package topology

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	"github.com/keyorch/keyorch/approval"
	"github.com/keyorch/keyorch/keychain"
)

// Pinned are the policies that hold, and which policy each link has, whatever is
// declared: another one counts when it has been approved.
type Pinned struct {
	Policies []Policy
	// Links are those of each policy, by its name; of no policy under the empty one.
	Links map[string][]keychain.LinkID
}

// of is the policy that each link has.
func (p Pinned) of() map[keychain.LinkID]string {
	of := make(map[keychain.LinkID]string)
	for policy, links := range p.Links {
		for _, l := range links {
			of[l] = policy
		}
	}
	return of
}

// Under is t with the policies as p has them: those that p has not count as declared.
func (t Topology) Under(p Pinned) Topology {
	of := p.of()
	t.Policies = merge(t.Policies, p.Policies, func(p Policy) string { return p.Name })
	t.Links = slices.Clone(t.Links)
	for i, l := range t.Links {
		if policy, ok := of[l.Name]; ok {
			t.Links[i].Policy = policy
		}
	}
	return t
}

// Pin is p with the policies and links of t that it does not have yet, and whether there
// were any. What is not declared any more stays: declared again, it is what it was.
func (t Topology) Pin(p Pinned) (Pinned, bool) {
	of, more := p.of(), false
	known := make(map[string]bool, len(p.Policies))
	for _, o := range p.Policies {
		known[o.Name] = true
	}
	next := Pinned{Policies: slices.Clone(p.Policies), Links: maps.Clone(p.Links)}
	if next.Links == nil {
		next.Links = map[string][]keychain.LinkID{}
	}
	for _, o := range t.Policies {
		if !known[o.Name] {
			next.Policies, more = append(next.Policies, o), true
		}
	}
	slices.SortFunc(next.Policies, func(a, b Policy) int { return cmp.Compare(a.Name, b.Name) })
	for _, l := range t.Links {
		if _, ok := of[l.Name]; !ok {
			next.Links[l.Policy] = append(slices.Clone(next.Links[l.Policy]), l.Name)
			more = true
		}
	}
	return next, more
}

// ChangedPolicies is how t differs from what is pinned, sorted.
func (t Topology) ChangedPolicies(p Pinned) []approval.Change {
	var changes []approval.Change
	for _, old := range p.Policies {
		now, ok := find(t.Policies, old.Name, func(p Policy) string { return p.Name })
		if before, after := inOneLine(old), inOneLine(now); ok && before != after {
			changes = append(changes, approval.Change{What: whatPolicy(old.Name), Before: before, After: after})
		}
	}
	of := p.of()
	for _, l := range t.Links {
		if before, ok := of[l.Name]; ok && before != l.Policy {
			changes = append(changes, approval.Change{What: whatLink(l.Name), Before: named(before), After: named(l.Policy)})
		}
	}
	slices.SortFunc(changes, func(a, b approval.Change) int { return cmp.Compare(a.What, b.What) })
	return changes
}

// Changed is p after those of the changes that lead from p to what t declares now, and
// whether all of them did.
func (t Topology) Changed(p Pinned, changes []approval.Change) (Pinned, bool) {
	open := t.ChangedPolicies(p)
	next := Pinned{Policies: slices.Clone(p.Policies), Links: map[string][]keychain.LinkID{}}
	of := p.of()
	for _, c := range changes {
		if !slices.Contains(open, c) {
			return p, false
		}
		for i, o := range next.Policies {
			if whatPolicy(o.Name) == c.What {
				next.Policies[i], _ = find(t.Policies, o.Name, func(p Policy) string { return p.Name })
			}
		}
		for _, l := range t.Links {
			if whatLink(l.Name) == c.What {
				of[l.Name] = l.Policy
			}
		}
	}
	for _, l := range slices.Sorted(maps.Keys(of)) {
		next.Links[of[l]] = append(next.Links[of[l]], l)
	}
	return next, true
}

func whatPolicy(name string) string { return KindPolicy + " " + name }

func whatLink(name keychain.LinkID) string { return "the policy of " + KindLink + " " + string(name) }

// named is the name of a policy as a document.
func named(policy string) string {
	b, err := json.Marshal(policy)
	if err != nil {
		return ""
	}
	return string(b)
}

// inOneLine is an object as JSON in one line.
func inOneLine(o json.Marshaler) string {
	b, err := o.MarshalJSON()
	if err != nil {
		return "it cannot be written: " + err.Error()
	}
	return string(b)
}

// ChangedRules is how the declared rules differ from those in force, sorted. One that is
// in force and declared no more is a change to nothing.
func (t Topology) ChangedRules(inForce []approval.Rule) []approval.Change {
	var changes []approval.Change
	for _, old := range inForce {
		c := approval.Change{What: old.What(), Before: ruleLine(old)}
		if now, ok := find(t.ApprovalRules, old.Name, func(r ApprovalRule) string { return r.Name }); ok {
			c.After = ruleLine(now.Rule)
		}
		if c.Before != c.After {
			changes = append(changes, c)
		}
	}
	for _, now := range t.ApprovalRules {
		if !slices.ContainsFunc(inForce, func(r approval.Rule) bool { return r.Name == now.Name }) {
			changes = append(changes, approval.Change{What: now.What(), After: ruleLine(now.Rule)})
		}
	}
	slices.SortFunc(changes, func(a, b approval.Change) int { return cmp.Compare(a.What, b.What) })
	return changes
}

// RulesAfter is the rules in force after those changes, and whether all of them lead from
// them to what t declares now.
func (t Topology) RulesAfter(inForce []approval.Rule, changes []approval.Change) ([]approval.Rule, bool) {
	open := t.ChangedRules(inForce)
	next := slices.Clone(inForce)
	for _, c := range changes {
		if !slices.Contains(open, c) {
			return inForce, false
		}
		next = slices.DeleteFunc(next, func(r approval.Rule) bool { return r.What() == c.What })
		for _, r := range t.ApprovalRules {
			if r.What() == c.What && c.After != "" {
				next = append(next, r.Rule)
			}
		}
	}
	slices.SortFunc(next, func(a, b approval.Rule) int { return cmp.Compare(a.Name, b.Name) })
	return next, true
}

// ruleLine is a rule as JSON in one line: labels do not count.
func ruleLine(r approval.Rule) string { return inOneLine(ApprovalRule{Rule: r}) }
