package topology

import (
	"fmt"
	"slices"

	"github.com/keyorch/keyorch/keychain"
)

// quorums refuses a policy that asks more nodes of a link than it has. The
// document that is new says so: the policy, if it is here, else the link.
func (c *checker) quorums() {
	asks := map[string]Amount{}
	for _, p := range c.declared.Policies {
		asks[p.Name] = p.Quorum
	}
	links := map[keychain.LinkID]Link{}
	for _, l := range c.declared.Links {
		links[l.Name] = l
	}
	for _, d := range c.documents {
		switch o := d.object.(type) {
		case Policy:
			asks[o.Name] = o.Quorum
		case Link:
			links[o.Name] = o
		}
	}
	short := map[string][]keychain.LinkID{} // links with too few nodes, by policy
	for name, l := range links {
		if asks[l.Policy].Number > len(l.Downstream) {
			short[l.Policy] = append(short[l.Policy], name)
		}
	}
	if len(short) == 0 {
		return
	}
	for _, d := range c.documents {
		switch o := d.object.(type) {
		case Policy:
			if names := short[o.Name]; len(names) > 0 {
				slices.Sort(names)
				least := links[slices.MinFunc(names, func(a, b keychain.LinkID) int { return len(links[a].Downstream) - len(links[b].Downstream) })]
				c.say(d, path{"spec", "quorum"}, fmt.Sprintf("a quorum of %s asks for more than the downstream nodes of %s", o.Quorum, linkList(names)),
					fmt.Sprintf("write at most %d, or a percentage", len(least.Downstream)))
			}
		case Link:
			if slices.Contains(short[o.Policy], o.Name) && !c.inSource[KindPolicy+" "+o.Policy] {
				c.say(d, path{"spec", "policy"}, fmt.Sprintf("policy %q asks for a quorum of %s downstream nodes, and the link has %d", o.Policy, asks[o.Policy], len(o.Downstream)),
					"name another policy, or more downstream nodes")
			}
		}
	}
}
